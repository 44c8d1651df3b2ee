"""Methods text of a study, from its resolved settings alone, with numbered references."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from drrval.geometry import presets
from drrval.report.text import plain

_SCORERS = {
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
_DISPLAY = {
    "fixed": "the logarithm of the signal between two fixed values, the same for all images",
    "minmax": "the logarithm of the signal scaled to the extremes of each image",
    "paper": "the inverted signal scaled to the extremes of each image, with the gamma rule of [{amer}]",
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
        study: the resolved study (``logs/study.json``). Keys that are absent are not spoken of.

    Returns:
        Paragraphs and references; a citation stands as ``[1]``.
    """
    cite = _Citations()
    parts = [
        _design(study, cite),
        _geometry(study),
        _image_formation(study, cite),
        _scoring(study),
        _statistics(study, cite),
        _seed(study),
    ]
    references = [Reference(place, **_works()[key]) for place, key in enumerate(cite.order, start=1)]
    return MethodsText([part for part in parts if part], references)


def _design(study: dict[str, Any], cite: _Citations) -> str:
    text = (
        f"The radiograph scores were validated against chest CT by CT-to-radiograph duality [{cite['amer']}]: each CT "
        "was rendered as a digitally reconstructed radiograph (DRR), the DRR was scored, and the score was compared "
        "with the disease measured in the same CT."
    )
    if study.get("views"):
        text += f" Views: {plain(study['views'])}."
    return text


def _geometry(study: dict[str, Any]) -> str:
    chosen = study.get("geometry")
    if not isinstance(chosen, dict) or not chosen:
        return ""
    return "Geometry. " + " ".join(f"{view}: {_preset_text(value)}." for view, value in chosen.items())


def _preset_text(value: Any) -> str:
    changes = {key: item for key, item in value.items() if key != "preset"} if isinstance(value, dict) else {}
    name = value.get("preset", "custom") if isinstance(value, dict) else str(value)
    text = f"preset {name}"
    if name in presets():
        preset = presets()[name]
        text += (
            f" (source-detector distance {preset.sid_mm:g} mm, isocentre {preset.isocentre_to_detector_mm:g} mm in "
            f"front of the detector, {preset.rows} x {preset.columns} pixels of {preset.pixel_mm:g} mm, "
            f"{'with' if preset.grid else 'without'} anti-scatter grid)"
        )
    return text + (f", changed: {plain(changes)}" if changes else "")


def _image_formation(study: dict[str, Any], cite: _Citations) -> str:
    text = (
        f"Image formation followed the stages of DeepDRR [{cite['deepdrr']}]: the body was isolated from the table, "
        "voxels were labelled air, soft tissue or bone"
    )
    air, soft = _setting(study, "air_max_hu"), _setting(study, "soft_tissue_max_hu")
    if air is not None and soft is not None:
        text += f" (air up to {plain(float(air))} HU, soft tissue up to {plain(float(soft))} HU, bone above)"
    text += ", and area densities of each material were integrated along every ray."
    kvp, filtration = _setting(study, "kvp"), _setting(study, "filtration_mm_al")
    if kvp is not None:
        filtered = f", {plain(filtration)} mm aluminium" if filtration is not None else ""
        text += (
            f" Spectrum: tungsten anode, {plain(kvp)} kV{filtered} (SpekPy [{cite['spekpy1']}, {cite['spekpy2']}]); "
            f"attenuation by the Beer-Lambert law over the whole spectrum, coefficients from the tables of Elam et "
            f"al. [{cite['elam']}] through XrayDB, tissue compositions from ICRU-44 [{cite['icru']}]."
        )
    return text + _detector(study) + _display(study, cite)


def _detector(study: dict[str, Any]) -> str:
    facts = []
    if (response := _setting(study, "response")) is not None:
        facts.append(f"{plain(response)} response")
    if (photons := _setting(study, "photons_per_pixel")) is not None:
        facts.append(f"{float(photons):g} photons per pixel in the unattenuated beam")
    if (noise := _setting(study, "noise")) is not None:
        facts.append("quantum noise added" if noise else "no noise")
    scatter = study.get("scatter") or _setting(study, "scatter")
    model = scatter.get("model") if isinstance(scatter, dict) else scatter
    if model is not None:
        facts.append("no scatter" if model in ("none", False) else f"scatter model: {plain(model)}")
    return f" Detector: {'; '.join(facts)}." if facts else ""


def _display(study: dict[str, Any], cite: _Citations) -> str:
    display = study.get("display")
    rule = display.get("rule") if isinstance(display, dict) else display
    if rule is None:
        return ""
    explained = _DISPLAY.get(str(rule), "")
    if "{amer}" in explained:
        explained = explained.format(amer=cite["amer"])
    return f" Display: 8 bit, rule {rule}{f' ({explained})' if explained else ''}."


def _scoring(study: dict[str, Any]) -> str:
    scorers = study.get("scorers")
    if not isinstance(scorers, dict):
        return ""
    text = "Scores."
    for key, title in (("ct", "CT"), ("cxr", "Radiograph")):
        named = [_scorer_text(scorer) for scorer in scorers.get(key) or []]
        if named:
            text += f" {title}: {'; '.join(named)}."
    if scorers.get("reference"):
        text += f" The reference was the CT scorer {plain(scorers['reference'])}."
    return text


def _scorer_text(scorer: Any) -> str:
    name = scorer.get("name", "unnamed") if isinstance(scorer, dict) else str(scorer)
    return _SCORERS.get(name, name)


def _statistics(study: dict[str, Any], cite: _Citations) -> str:
    return (
        "Statistics. Per view and radiograph scorer, the radiograph's pneumonia ratio was regressed on the CT's by "
        f"ordinary least squares (statsmodels [{cite['statsmodels']}]) and correlated with it (Pearson); the p-value "
        "takes all scans as independent. For each interval between successive scans of a patient, either modality was "
        "labelled 1 if current / previous > 1 and 0 otherwise (previous = 0: 1 if current > 0); trend accuracy is the "
        f"share of intervals with equal labels [{cite['amer']}]. Scans were ordered by date where all scans of the "
        "patient had one, otherwise by session label. Scans that failed were left out."
    )


def _seed(study: dict[str, Any]) -> str:
    if study.get("seed") is None:
        return ""
    return f"Random draws derive from the study seed {plain(study['seed'])}, the scan and the view."


def _setting(study: dict[str, Any], key: str) -> Any:
    """A setting by name, wherever in the resolved study it stands (at the top or one section below)."""
    sections = [study, *(value for value in study.values() if isinstance(value, dict))]
    return next((section[key] for section in sections if section.get(key) is not None), None)


@cache
def _works() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = yaml.safe_load(
        files("drrval.report").joinpath("references.yaml").read_text(encoding="utf-8")
    )
    return table
