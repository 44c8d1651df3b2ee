"""What a user may set about a set of labelled radiographs: units, defaults, allowed ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from drrval.settings import MaterialSettings, Settings
from drrval.study.cohort_settings import CohortSettings
from drrval.study.config import ScorerSpec, View

SPLITS = ("train", "val", "test")
Format = Literal["png8", "png16", "nifti"]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"range {list(value)} must be [low, high] with low <= high")
    return value


def _weights(value: dict[View, float]) -> dict[View, float]:
    if not value or any(weight < 0 for weight in value.values()) or sum(value.values()) <= 0:
        raise ValueError("needs weights of 0 or more, one of them above 0")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Share = Annotated[float, Field(ge=0, le=1)]


class LabelledTable(Settings):
    """A table of CTs with label maps on the CT's own grid."""

    table: str = Field(
        description="CSV or TSV with columns subject, path, lungs (0, 1 right, 2 left), lesions (0, or 1 + kind) and "
        "optionally session, date, organs (drrval.phantom.Label); paths relative to the data root"
    )


class SourceSettings(CohortSettings):
    """Where scans come from: a study's cohort section, or ``labelled``, CTs that bring their label maps as files."""

    labelled: LabelledTable | None = None

    @model_validator(mode="after")
    def _one_source(self) -> SourceSettings:
        given = [n for n in type(self).model_fields if n != "instructions" and getattr(self, n) is not None]
        if len(given) != 1:
            kinds = ", ".join(n for n in type(self).model_fields if n != "instructions")
            raise ValueError(f"needs exactly one of {kinds}; got {', '.join(given) or 'none'}")
        return self


class LabelSettings(Settings):
    """When a ray counts as crossing an organ, and what is a box."""

    min_lung_cm: float = Field(1.0, gt=0, le=10, description="least lung on a ray of the lung's shadow, cm")
    min_lesion_cm: float = Field(1.0, gt=0, le=10, description="least lesion on a ray of the lesion's shadow, cm")
    min_organ_cm: float = Field(0.3, gt=0, le=10, description="least bone or heart on a ray of its shadow, cm")
    silhouette_cm: float = Field(
        4.0,
        gt=0,
        le=20,
        description="mediastinum or abdomen on a ray, cm, that hides the lung: the visible lung field ends there. At "
        "4 cm lung fields of six real CTs fill 0.36 to 0.53 of their box, those drawn in OpenIST 0.44 to 0.56",
    )
    box_min_cm2: float = Field(
        2.0, ge=0, description="least area of a lesion's shadow that gets a box, cm2 on the panel"
    )
    box_merge_mm: float = Field(5.0, ge=0, le=50, description="gap on the panel, mm, across which shadows share a box")


class BeamChoice(Settings):
    """A tube and the receptor that goes with it."""

    views: tuple[View, ...] = ("PA", "LL")
    kvp: float = Field(120.0, ge=40, le=150)
    filtration_mm_al: float = Field(4.3, ge=0.5, le=50)
    csi_mg_cm2: float = Field(200.0, gt=0, le=1000, description="caesium iodide of the receptor, mg/cm2")


# High-voltage technique at the wall stand, lower voltage at the bedside: EUR 16260 (100 to 150 kV for PA chests) and
# the ACR-SPR-STR practice parameters for chest radiography (fixed and portable). A computed spectrum takes a second, so
# tubes are chosen from a list and not from a range.
_BEAMS = (
    BeamChoice(kvp=110.0, filtration_mm_al=3.0, csi_mg_cm2=160.0),
    BeamChoice(kvp=125.0, filtration_mm_al=4.3, csi_mg_cm2=200.0),
    BeamChoice(kvp=140.0, filtration_mm_al=5.0, csi_mg_cm2=200.0),
    BeamChoice(views=("AP",), kvp=80.0, filtration_mm_al=2.5, csi_mg_cm2=120.0),
    BeamChoice(views=("AP",), kvp=95.0, filtration_mm_al=3.0, csi_mg_cm2=160.0),
    BeamChoice(views=("AP",), kvp=110.0, filtration_mm_al=3.0, csi_mg_cm2=160.0),
)


class AcquisitionRanges(Settings):
    """How the radiographs of a set differ in position and exposure. Ranges are drawn from evenly unless stated."""

    sid_mm: dict[View, Range] = Field(
        {"PA": (1500.0, 2000.0), "AP": (900.0, 1400.0), "LL": (1500.0, 2000.0)},
        description="source to panel, mm",
    )
    body_to_panel_mm: Range = Field((130.0, 230.0), description="middle of the chest to the panel, mm")
    rotation_deg: tuple[float, float, float] = Field(
        (10.0, 10.0, 10.0),
        description="largest turn of the beam about the patient's left-right, front-back and long axis, degrees; most "
        "turns are small (symmetric beta distribution with both parameters 3)",
    )
    shift_mm: float = Field(
        25.0, ge=0, le=100, description="largest distance of the central ray from the chest's centre"
    )
    margin_mm: Range = Field(
        (2.0, 60.0), description="field beyond the lungs at each of the four sides, mm in the body"
    )
    largest_field_mm: float = Field(430.0, gt=100, le=600, description="side of the largest panel, mm")
    beams: tuple[BeamChoice, ...] = Field(_BEAMS, min_length=1, description="tubes and receptors to choose from")
    air_kerma_ugy: Range = Field((8.0, 80.0), description="exposure of the panel in the open beam, uGy (logarithmic)")
    electronic_noise_photons: Range = Field((0.0, 20.0), description="rms electronic noise, photons per pixel")
    mtf50_per_mm: Range = Field((0.5, 2.5), description="frequency at which the receptor's MTF is one half, 1/mm")
    grid_share: dict[View, Share] = Field({"PA": 0.95, "AP": 0.3, "LL": 1.0}, description="share of images with a grid")
    grid_ratio: Range = Field((6.0, 14.0), description="ratio of the anti-scatter grid")


class ProcessingRanges(Settings):
    """How the displays of different makers differ.

    The ranges were chosen by eye beside images of NIH ChestX-ray14; nothing was fitted.
    """

    style: dict[Literal["plain", "unsharp", "multi-frequency", "clahe"], float] = Field(
        {"plain": 0.25, "unsharp": 0.25, "multi-frequency": 0.35, "clahe": 0.15},
        description="share of images with each kind of enhancement",
    )
    black_percentile: Range = Field((0.2, 5.0), description="share of the body, %, shown black")
    white_percentile: Range = Field((96.0, 99.9), description="share of the body, %, below white")
    gamma: Range = Field((0.45, 1.05), description="exponent of the brightness")
    sigmoid: Range = Field((0.5, 4.0), description="steepness of the contrast curve; 0 is straight, 5 strongly curved")
    detail_gain: Range = Field((0.3, 2.0), description="gain of fine detail (unsharp and multi-frequency)")
    detail_mm: Range = Field((1.0, 6.0), description="scale of unsharp masking, mm")
    latitude: Range = Field((0.5, 1.0), description="what remains of differences beyond 25 mm (multi-frequency)")
    clahe_clip: Range = Field((0.003, 0.015), description="clip limit of CLAHE")
    top: Range = Field((0.8, 0.98), description="brightness of white, 0-1")
    bottom: Range = Field((0.0, 0.06), description="brightness of black, 0-1")


class OverlayRanges(Settings):
    """What else is in a radiograph: markers, writing, borders, lines, compression. All are shares of the images."""

    marker: Share = Field(0.85, description="an R or L marker, on the patient's right or left")
    lead_marker: Share = Field(0.5, description="of the markers: laid on the panel as lead; the others are burnt in")
    text: dict[View, Share] = Field({"PA": 0.15, "AP": 0.5, "LL": 0.1}, description="writing such as PORTABLE or ERECT")
    collimation: Share = Field(0.4, description="black borders of the collimator")
    leads: dict[View, Share] = Field({"PA": 0.03, "AP": 0.45, "LL": 0.0}, description="ECG electrodes with leads")
    tubes: dict[View, Share] = Field(
        {"PA": 0.02, "AP": 0.3, "LL": 0.0}, description="tracheal or gastric tube, central line"
    )
    jpeg: Share = Field(0.5, description="8-bit images that went through JPEG")
    jpeg_quality: Range = Field((45.0, 95.0), description="quality of these")
    inverted: Share = Field(0.0, description="images stored with bone dark; the table says which")


class SplitSettings(Settings):
    """Shares of the patients; all images of a patient fall into one part."""

    train: Share = 0.7
    val: Share = 0.15
    test: Share = 0.15
    twin_correlation: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="chests of different patients that correlate by more are taken for the same chest, and may not "
        "fall into different parts (real CTs: different patients up to 0.78, a scan and its noisy or cropped copy "
        "0.986 to 1, a copy turned by 2 degrees and resampled to other voxels 0.91 to 0.98). Chests drawn from a seed "
        "are known by it and not compared; they correlate by up to 0.96, so raise this for CTs of them read from files",
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitSettings:
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + val + test is {total:g}; it must be 1")
        return self


class SynthesisSettings(Settings):
    """A whole set of labelled radiographs."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(0, ge=0)
    cohorts: tuple[SourceSettings, ...] = Field(min_length=1)
    views: Annotated[dict[View, float], AfterValidator(_weights)] = Field(
        {"PA": 0.6, "AP": 0.4}, description="share of the images with each view"
    )
    views_per_scan: int = Field(4, ge=1, le=999, description="radiographs of each scan")
    size: int = Field(512, ge=64, le=4096, description="pixels of the longer side")
    formats: tuple[Format, ...] = Field(("png8",), min_length=1, description="png8, png16, nifti (16 bit)")
    lesion_maps: bool = Field(True, description="write lesion thickness and density maps")
    labeller: ScorerSpec = Field(
        ScorerSpec(use="opacity"), description="CT scorer that finds lungs and lesions where a cohort has no labels"
    )
    materials: MaterialSettings = MaterialSettings()
    labels: LabelSettings = LabelSettings()
    acquisition: AcquisitionRanges = AcquisitionRanges()
    processing: ProcessingRanges = ProcessingRanges()
    overlays: OverlayRanges = OverlayRanges()
    split: SplitSettings = SplitSettings()

    @model_validator(mode="after")
    def _every_view_has_a_beam(self) -> SynthesisSettings:
        for view, weight in self.views.items():
            if weight > 0 and not any(view in beam.views for beam in self.acquisition.beams):
                raise ValueError(f"acquisition.beams has no tube for view {view}; add one with views: [{view}]")
            if weight > 0 and view not in self.acquisition.sid_mm:
                raise ValueError(f"acquisition.sid_mm has no range for view {view}; add {view}: [low, high]")
        return self
