"""Methods text of a study, from its resolved settings alone, with numbered references."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from drrval.geometry import presets
from drrval.report.text import count, plain

_SCORERS = {
    "corona": (
        "corona (right and left lung by a U-Net [{unet}]; axial slices classified by a convolutional network and the "
        "positive ones localised by Grad-CAM [{gradcam}], refined to voxels by their Hounsfield values; the volume of "
        "voxels above a threshold is the Corona Score [{gozes}], in percent of lung volume the pneumonia ratio; "
        "weights trained for drrval, networks {networks})"
    ),
    "dlnet": (
        "dlnet (the method of [{amer}]: DLNet, a ResNet50 [{resnet}], detects pneumonia and gives a localisation map; "
        "LSNet, a U-Net [{unet}] with a VGG16 encoder, segments the lung fields without the heart shadow; the ratio is "
        "the percentage of lung pixels above a threshold of the map, 0 where no pneumonia is detected; weights trained "
        "for drrval)"
    ),
    "dlnet-light": (
        "dlnet-light (the method of [{amer}] with EfficientNet-Lite0 [{efficientnet}] in the place of both encoders: "
        "detection with a localisation map, and lung fields without the heart shadow by a U-Net [{unet}]; the ratio is "
        "the percentage of lung pixels above a threshold of the map, 0 where no pneumonia is detected; weights trained "
        "for drrval)"
    ),
    "opacity": (
        "opacity (lungs by thresholds and morphology; opacified lung volume by Hounsfield values, in percent of lung "
        "volume)"
    ),
    "projected-area": (
        "projected-area (the CT's lesion and lung masks projected with the geometry of the view; lesion area in "
        "percent of lung area: what a perfect reader of the image plane would score, not an image reader)"
    ),
    "projected-thickness": (
        "projected-thickness (as projected-area, each pixel weighted by the path length through lesion and lung)"
    ),
}
_CORONA_NETWORKS = {
    "ct-slices-light": "with EfficientNet-Lite0 [{efficientnet}] encoders",
    "ct-slices": "ResNet50 [{resnet}] for slices and an EfficientNet-Lite0 [{efficientnet}] encoder for lungs",
}
_DISPLAY = {
    "fixed": "the logarithm of the signal between two fixed values per view, the same for all images",
    "minmax": "the logarithm of the signal scaled to the extremes of each image",
    "paper": "the inverted signal scaled to the extremes of each image, with the gamma rule of [{amer}]: "
    "gamma {gamma:g} for images of a mean above {gamma_above_mean:g} behind the patient",
}


@dataclass(frozen=True)
class Reference:
    """A reference as it stands in the list: its number, its text and its DOI (or an empty string)."""

    number: int
    text: str
    doi: str


@dataclass(frozen=True)
class MethodsText:
    """Paragraphs of plain text (the page escapes them) and the references they cite, in order."""

    paragraphs: list[str]
    references: list[Reference]


@dataclass
class _Citations:
    order: list[str] = field(default_factory=list)

    def __getitem__(self, key: str) -> int:
        if key not in self.order:
            self.order.append(key)
        return self.order.index(key) + 1


def methods_text(study: dict[str, Any]) -> MethodsText:
    """Describe rendering, scoring and statistics of a study.

    Args:
        study: the resolved study, as ``logs/study.json`` holds it.

    Returns:
        Paragraphs and references; a citation stands as ``[1]``.
    """
    cite = _Citations()
    paragraphs = [
        _design(study, cite),
        _geometry(study),
        " ".join([_materials(study, cite), _spectrum(study, cite), _detector(study, cite), _display(study, cite)]),
        _scoring(study["scorers"], cite),
        _statistics(study, cite),
    ]
    if study["detector"]["noise"]:
        paragraphs.append(f"Random draws derive from the study seed {study['seed']}, the scan and the view.")
    references = [Reference(place, **_works()[key]) for place, key in enumerate(cite.order, start=1)]
    return MethodsText(paragraphs, references)


def _design(study: dict[str, Any], cite: _Citations) -> str:
    text = (
        f"The radiograph scores were validated against chest CT by CT-to-radiograph duality [{cite['amer']}]: each CT "
        "was rendered as a digitally reconstructed radiograph (DRR), the DRR was scored, and the score was compared "
        f"with the disease measured in the same CT. Views: {plain(study['views'])}."
    )
    cohort = study["cohort"]
    if simulated := cohort["simulate"]:
        text += (
            f" The CTs were generated: {count(simulated['patients'], 'procedural thorax phantom')} with a pneumonia "
            f"that grows and resolves, {_scans(simulated['timepoints'])} each, "
            f"{_voxels(simulated['spacing_mm'])} mm voxels, seed {simulated['seed']}."
        )
    elif inserted := cohort["insert"]:
        text += (
            " Each CT served as the chest of a virtual patient: a pneumonia of known extent that grows and resolves "
            f"was put into it, {_scans(inserted['timepoints'])} each, seed {inserted['seed']}."
        )
    return text


def _scans(timepoints: dict[str, int]) -> str:
    low, high = timepoints["min"], timepoints["max"]
    return count(low, "scan") if low == high else f"{low} to {count(high, 'scan')}"


def _voxels(spacing_mm: list[float]) -> str:
    return " x ".join(plain(side) for side in (spacing_mm[:1] if len(set(spacing_mm)) == 1 else spacing_mm))


def _geometry(study: dict[str, Any]) -> str:
    views = []
    for view, name in study["geometry"].items():
        preset = presets()[name]
        grid = (
            f", {'with' if preset.grid else 'without'} anti-scatter grid" if study["scatter"]["model"] != "none" else ""
        )
        views.append(
            f"{view}: preset {name} (source-detector distance {preset.sid_mm:g} mm, isocentre "
            f"{preset.isocentre_to_detector_mm:g} mm in front of the detector, {preset.rows} x {preset.columns} pixels "
            f"of {preset.pixel_mm:g} mm{grid})."
        )
    return (
        f"Geometry. {' '.join(views)} The isocentre was put at the centre of the chest and the beam collimated to the "
        "scanned range."
    )


def _materials(study: dict[str, Any], cite: _Citations) -> str:
    air, soft = (plain(float(study["materials"][key])) for key in ("air_max_hu", "soft_tissue_max_hu"))
    return (
        f"Image formation followed the stages of DeepDRR [{cite['deepdrr']}]: the body was isolated from the table, "
        f"voxels were labelled air, soft tissue or bone (air up to {air} HU, soft tissue up to {soft} HU, bone above), "
        "and area densities of each material were integrated along every ray."
    )


def _spectrum(study: dict[str, Any], cite: _Citations) -> str:
    tube = study["spectrum"]
    return (
        f"Spectrum: tungsten anode, {plain(tube['kvp'])} kV, {plain(tube['filtration_mm_al'])} mm aluminium (SpekPy "
        f"[{cite['spekpy1']}, {cite['spekpy2']}]); attenuation by the Beer-Lambert law over the whole spectrum, "
        f"coefficients from the tables of Elam et al. [{cite['elam']}] through XrayDB, tissue compositions from "
        f"ICRU-44 [{cite['icru']}]."
    )


def _detector(study: dict[str, Any], cite: _Citations) -> str:
    detector, scatter = study["detector"], study["scatter"]
    facts = [f"{detector['response']} response"]
    if detector["csi_mg_cm2"]:
        facts.append(f"photons absorbed by {detector['csi_mg_cm2']:g} mg/cm2 of caesium iodide")
    if detector["noise"]:
        facts.append(f"quantum noise of {_exposure(detector)} in the unattenuated beam")
        if detector["electronic_noise_photons"]:
            facts.append(f"electronic noise of {detector['electronic_noise_photons']:g} photons (rms)")
    else:
        facts.append("no noise")
    if detector["mtf50_per_mm"]:
        facts.append(
            f"blur by the pixel aperture and a Gaussian scintillator MTF of one half at {detector['mtf50_per_mm']:g} "
            "cycles/mm"
        )
    if scatter["model"] == "none":
        facts.append("no scatter")
    else:
        grid = f"{scatter['grid_ratio']:g}:1"
        if scatter["grid_selectivity"] is not None:
            grid = f"of measured selectivity {scatter['grid_selectivity']:g}"
        facts.append(
            f"scatter estimated by kernels that depend on the thickness [{cite['ohnesorge']}, {cite['sunstarlack']}], "
            f"fitted to Monte-Carlo photon transport (where a view has an anti-scatter grid: {grid})"
        )
    return f"Detector: {'; '.join(facts)}."


def _exposure(detector: dict[str, Any]) -> str:
    if detector["air_kerma_ugy"] is not None:
        return f"{detector['air_kerma_ugy']:g} uGy air kerma"
    return f"{detector['photons_per_pixel']:g} photons per pixel"


def _display(study: dict[str, Any], cite: _Citations) -> str:
    rule = study["display"]["rule"]
    explained = _DISPLAY[rule]
    if "{amer}" in explained:
        explained = explained.format(amer=cite["amer"], **study["display"])
    return f"Display: 8 bit, rule {rule} ({explained})."


def _scoring(scorers: dict[str, Any], cite: _Citations) -> str:
    text = "Scores."
    for key, title in (("ct", "CT"), ("cxr", "Radiograph")):
        if scorers[key]:
            text += f" {title}: {'; '.join(_scorer(spec, cite) for spec in scorers[key])}."
    return f"{text} The reference was the CT scorer {scorers['reference']}."


def _scorer(spec: dict[str, Any], cite: _Citations) -> str:
    options = f", with {plain(spec['options'])}" if spec["options"] else ""
    named = f"{spec['name']}: " if spec["name"] else ""
    if spec["use"] not in _SCORERS:
        return named + spec["use"] + options
    networks = _CORONA_NETWORKS.get(spec["options"].get("variant", "ct-slices-light"), "of another kind")
    explained = _SCORERS[spec["use"]].replace("{networks}", networks)
    return named + _cited(explained, cite) + options


def _cited(text: str, cite: _Citations) -> str:
    """A text with numbers in the place of its ``[{keys}]``, in order of appearance."""
    return re.sub(r"\{(\w+)\}", lambda found: str(cite[found[1]]), text)


def _statistics(study: dict[str, Any], cite: _Citations) -> str:
    flags = study["statistics"]["exclude_flags"]
    left_out = f", as were measurements flagged {plain(flags)}" if flags else ""
    text = (
        "Statistics. Per view and radiograph scorer, the radiograph's pneumonia ratio was regressed on the CT's by "
        f"ordinary least squares (statsmodels [{cite['statsmodels']}]) and correlated with it (Pearson); the p-value "
        "takes all scans as independent. For each interval between successive scans of a patient, either modality was "
        "labelled 1 if current / previous > 1 and 0 otherwise (previous = 0: 1 if current > 0); trend accuracy is the "
        f"share of intervals with equal labels [{cite['amer']}]. Scans were ordered by date where all scans of the "
        f"patient had one, otherwise by session label. Scans that failed were left out{left_out}. "
    )
    if len(study["scorers"]["ct"]) > 1:
        text += (
            "The other CT scorers were compared with the reference in the same way, scan by scan; scans on which their "
            f"ratios differ by more than {plain(study['statistics']['ct_disagreement_points'])} percentage points are "
            "flagged. "
        )
    return text + _intervals(study, cite)


def _intervals(study: dict[str, Any], cite: _Citations) -> str:
    chosen = study["statistics"]
    seed = study["seed"] if chosen["seed"] is None else chosen["seed"]
    zone = max(chosen["ct_zone_points"], chosen["cxr_zone_points"] or 0.0)
    left_out = f" (left out where both are within {zone:g} points)" if zone else ""
    text = (
        f"Intervals ({100 * chosen['level']:g} %) are bias-corrected and accelerated bootstrap intervals "
        f"[{cite['efron']}] from {chosen['n_resamples']} resamples that draw patients with all their scans (seed "
        f"{seed}). Beside least squares, lines were fitted by Deming regression (error-variance ratio "
        f"{chosen['error_ratio']:g}) [{cite['linnet']}], Passing-Bablok regression [{cite['passing']}] and a linear "
        f"mixed model with random effects of the patient [{cite['laird']}]. Agreement: limits of agreement for "
        f"repeated measures [{cite['bland']}], concordance correlation [{cite['lin']}], intraclass correlation "
        f"[{cite['shrout']}], repeated measures correlation [{cite['bakdash']}] and total deviation index "
        f"[{cite['lin_tdi']}]. Trends: kappa [{cite['cohen']}], AC1 [{cite['gwet']}], a permutation test within "
        f"patients, and four-quadrant concordance of the changes{left_out} [{cite['critchley']}]."
    )
    if study["acceptance"]:
        text += f" Acceptance criteria stated in the study file: {len(study['acceptance'])}."
    return text


@cache
def _works() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = yaml.safe_load(
        files("drrval.report").joinpath("references.yaml").read_text(encoding="utf-8")
    )
    return table
