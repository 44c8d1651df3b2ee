"""What a sensitivity sweep changes: one factor of image formation at a time, and the repeats of one condition.

All defaults are in :class:`SensitivitySettings`. They are round numbers for what one may doubt about an acquisition or
its model, not measurements of a hospital: replace them by what your site varies by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, field_validator

from drrval.errors import StudyError
from drrval.geometry import Geometry, presets, view_geometry
from drrval.settings import DetectorSettings, MaterialSettings, ScatterSettings, Settings, SpectrumSettings
from drrval.settings_file import read_mapping, validated
from drrval.stats.error_budget import NOMINAL
from drrval.study.config import Study
from drrval.study.fingerprint import noise_seed

SETUP = "setup"
"""Factor of the repeats with a new pose, exposure and noise; they are for the precision, not the budget."""
NOISE = "noise"

FACTORS = {
    NOMINAL: "The study's own settings and seed: the value of the study itself.",
    "kvp": "Tube voltage changed; the number of photons (or the air kerma) and the filtration stay.",
    "sid": "Source-to-image distance changed; the patient's distance from the panel stays.",
    "rotation_x": "Patient turned about the left-right axis (x to the left; right-hand rule) through the chest centre.",
    "rotation_y": "Patient turned about the front-back axis (y to the back).",
    "rotation_z": "Patient turned about the body's long axis (z to the head).",
    "shift_x": "Patient moved to their left (+) or right (-).",
    "shift_y": "Patient moved to their back (+) or front (-).",
    "shift_z": "Patient moved to their head (+) or feet (-).",
    "exposure": "Photons per pixel, or air kerma, multiplied.",
    "scatter": "Scatter left out.",
    "grid_ratio": "Another anti-scatter grid; only views with a grid whose selectivity the study does not state.",
    "air_threshold": "Highest Hounsfield value labelled air changed; the body mask stays.",
    "soft_tissue_threshold": "Highest Hounsfield value labelled soft tissue changed; the body mask stays.",
    NOISE: "Nothing changed but the seed of the noise.",
    SETUP: "Patient positioned and exposed anew, with new noise: normal rotation and shift, log-normal exposure. "
    "For the precision, not part of the budget.",
}
_AXES = "xyz"
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Model = TypeVar("_Model", bound=Settings)


class SensitivitySettings(Settings):
    """The levels of each factor, as changes from the study's settings. An empty list leaves the factor out."""

    kvp_change: tuple[_Number, ...] = Field((-10.0, 10.0), description="tube voltage, kV")
    sid_change_percent: tuple[Annotated[_Number, Field(gt=-50, le=100)], ...] = Field(
        (-5.0, 5.0), description="source-to-image distance, percent"
    )
    rotation_deg: tuple[Annotated[_Number, Field(ge=-45, le=45)], ...] = Field(
        (-5.0, -3.0, 3.0, 5.0), description="rotation of the patient about each axis, degrees"
    )
    shift_mm: tuple[Annotated[_Number, Field(ge=-100, le=100)], ...] = Field(
        (-10.0, 10.0), description="shift of the patient along each axis, mm"
    )
    exposure_factor: tuple[Annotated[_Number, Field(gt=0)], ...] = Field(
        (0.5, 2.0), description="factor on the photons per pixel or the air kerma"
    )
    without_scatter: bool = Field(True, description="whether scatter is left out as one level")
    grid_ratio: tuple[_Number, ...] = Field((8.0, 10.0), description="grid ratios in place of the study's")
    air_threshold_change_hu: tuple[_Number, ...] = Field((-50.0, 50.0), description="air threshold, HU")
    soft_tissue_threshold_change_hu: tuple[_Number, ...] = Field((-50.0, 50.0), description="soft tissue threshold, HU")
    noise_repeats: int = Field(5, ge=1, le=1000, description="renders that differ in noise only, the nominal included")
    setup_repeats: int = Field(5, ge=0, le=1000, description="renders with a new pose, exposure and noise")
    setup_rotation_sd_deg: float = Field(2.0, ge=0, le=15, description="SD of the rotation about each axis, degrees")
    setup_shift_sd_mm: float = Field(5.0, ge=0, le=50, description="SD of the shift along each axis, mm")
    setup_exposure_cv_percent: float = Field(20.0, ge=0, le=100, description="coefficient of variation, percent")

    @field_validator("*")
    @classmethod
    def _levels_once(cls, value: Any) -> Any:
        if isinstance(value, tuple) and len(set(value)) != len(value):
            raise ValueError(f"lists a level twice: {list(value)}")
        return value


@dataclass(frozen=True)
class Condition:
    """How one radiograph is taken.

    Attributes:
        factor, level: what was changed, and to what.
        spectrum, scatter, detector, materials: settings.
        seed: of the noise.
        sid_factor: multiplies the preset's source-to-image distance.
        rotation_deg: rotation vector of the patient about the centre of the chest, LPS (x, y, z): its direction is the
            axis, its length the angle in degrees (right-hand rule).
        shift_mm: shift of the patient after the rotation, LPS mm (x, y, z).
    """

    factor: str
    level: str
    spectrum: SpectrumSettings
    scatter: ScatterSettings
    detector: DetectorSettings
    materials: MaterialSettings
    seed: int
    sid_factor: float = 1.0
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def moves(self) -> bool:
        """Whether source, panel and patient stand otherwise than nominally."""
        return self.sid_factor != 1.0 or any(self.rotation_deg) or any(self.shift_mm)

    def geometry(self, view: str, preset: str, centre_mm: npt.NDArray[np.float64]) -> Geometry:
        """The view about the chest's centre, LPS mm, for a patient who moves: source and panel move the other way.

        Raises:
            GeometryError: the source would stand in or near the patient.
        """
        shifted = np.asarray(centre_mm) - np.asarray(self.shift_mm)
        sid_mm = presets()[preset].sid_mm * self.sid_factor
        geometry = view_geometry(view, isocentre_mm=shifted, preset=preset, sid_mm=sid_mm)
        if not self.moves:
            return geometry
        angle = float(np.linalg.norm(self.rotation_deg))
        if angle > 0:
            geometry = geometry.rotated(self.rotation_deg, -angle, centre_mm)
        to_panel = (np.asarray(geometry.detector_centre_mm) - centre_mm) @ geometry.normal
        return replace(geometry, isocentre_to_detector_mm=float(to_panel))


def load_sweep(path: Path | None) -> SensitivitySettings:
    """Read a sweep file: a YAML mapping with keys of :class:`SensitivitySettings`; without a file, the defaults.

    Raises:
        StudyError: the file cannot be read or breaks a rule; names the key, the value and the rule.
    """
    if path is None:
        return SensitivitySettings()
    values = read_mapping(path, "sweep file", "kvp_change: [-10, 10]")
    return validated(SensitivitySettings, values, path)


def conditions(study: Study, sweep: SensitivitySettings, scan_id: str, view: str) -> list[Condition]:
    """Every condition that one view of a scan is rendered under, the nominal one first.

    All one-factor levels have the seed of the nominal image, so that a shift is the factor's and not new noise. A level
    that is the study's own setting is left out.

    Raises:
        StudyError: a level leaves the range of its setting.
    """
    seed = noise_seed(study.seed, scan_id, view)
    nominal = Condition(NOMINAL, NOMINAL, study.spectrum, study.scatter, study.detector, study.materials, seed)
    swept = [
        *_beam_levels(nominal, study, sweep, view),
        *_pose_levels(nominal, sweep),
        *_material_levels(nominal, sweep),
    ]
    changed = [c for c in swept if replace(c, factor=NOMINAL, level=NOMINAL) != nominal]
    return [nominal, *changed, *_repeats(nominal, sweep, study.seed, scan_id, view)]


def _beam_levels(nominal: Condition, study: Study, sweep: SensitivitySettings, view: str) -> Iterator[Condition]:
    for change in sweep.kvp_change:
        level = f"{change:+g} kV"
        spectrum = _changed(study.spectrum, f"kvp {level}", kvp=study.spectrum.kvp + change)
        yield replace(nominal, factor="kvp", level=level, spectrum=spectrum)
    for factor in sweep.exposure_factor:
        level = f"x{factor:g}"
        yield replace(nominal, factor="exposure", level=level, detector=_exposed(study.detector, factor, level))
    if sweep.without_scatter:
        scatter = _changed(study.scatter, "scatter none", model="none")
        yield replace(nominal, factor="scatter", level="none", scatter=scatter)
    has_grid = presets()[study.preset(view)].grid and study.scatter.model != "none"
    for ratio in sweep.grid_ratio if has_grid and study.scatter.grid_selectivity is None else ():
        scatter = _changed(study.scatter, f"grid_ratio {ratio:g}", grid_ratio=ratio)
        yield replace(nominal, factor="grid_ratio", level=f"{ratio:g}:1", scatter=scatter)


def _pose_levels(nominal: Condition, sweep: SensitivitySettings) -> Iterator[Condition]:
    for percent in sweep.sid_change_percent:
        yield replace(nominal, factor="sid", level=f"{percent:+g} %", sid_factor=1 + percent / 100)
    for axis, name in enumerate(_AXES):
        for degrees in sweep.rotation_deg:
            turned = _along(axis, degrees)
            yield replace(nominal, factor=f"rotation_{name}", level=f"{degrees:+g} deg", rotation_deg=turned)
    for axis, name in enumerate(_AXES):
        for mm in sweep.shift_mm:
            yield replace(nominal, factor=f"shift_{name}", level=f"{mm:+g} mm", shift_mm=_along(axis, mm))


def _material_levels(nominal: Condition, sweep: SensitivitySettings) -> Iterator[Condition]:
    thresholds = (
        ("air_threshold", "air_max_hu", sweep.air_threshold_change_hu),
        ("soft_tissue_threshold", "soft_tissue_max_hu", sweep.soft_tissue_threshold_change_hu),
    )
    for factor, field, changes in thresholds:
        for change in changes:
            level = f"{change:+g} HU"
            value = getattr(nominal.materials, field) + change
            materials = _changed(nominal.materials, f"{factor} {level}", **{field: value})
            yield replace(nominal, factor=factor, level=level, materials=materials)


def _repeats(
    nominal: Condition, sweep: SensitivitySettings, study_seed: int, scan_id: str, view: str
) -> Iterator[Condition]:
    for number in range(2, sweep.noise_repeats + 1):  # the nominal image is the first
        seed = noise_seed(study_seed, scan_id, f"{view}|{NOISE} {number}")
        yield replace(nominal, factor=NOISE, level=f"repeat {number}", seed=seed)
    spread = math.sqrt(math.log1p((sweep.setup_exposure_cv_percent / 100) ** 2))  # SD of the logarithm
    for number in range(1, sweep.setup_repeats + 1):
        seed = noise_seed(study_seed, scan_id, f"{view}|{SETUP} {number}")
        drawn = np.random.default_rng([seed, 1]).standard_normal(7)  # not the stream that the noise is drawn from
        level = f"repeat {number}"
        yield replace(
            nominal,
            factor=SETUP,
            level=level,
            seed=seed,
            rotation_deg=_triple(sweep.setup_rotation_sd_deg * drawn[:3]),
            shift_mm=_triple(sweep.setup_shift_sd_mm * drawn[3:6]),
            detector=_exposed(nominal.detector, math.exp(spread * drawn[6]), f"setup {level}"),
        )


def _exposed(detector: DetectorSettings, factor: float, what: str) -> DetectorSettings:
    name = "photons_per_pixel" if detector.photons_per_pixel is not None else "air_kerma_ugy"
    return _changed(detector, f"exposure {what}", **{name: getattr(detector, name) * factor})


def _changed(settings: _Model, what: str, **values: Any) -> _Model:
    """Settings with other values, checked like those of a study file."""
    try:
        return type(settings).model_validate({**settings.model_dump(), **values})
    except ValidationError as error:
        problems = "; ".join(f"{p['loc'][0]} {p['input']:g}: {p['msg']}" for p in error.errors())
        raise StudyError(f"Level {what} of the sweep: {problems}. Give other levels in the sweep file.") from None


def _along(axis: int, size: float) -> tuple[float, float, float]:
    return _triple(size * np.eye(3)[axis])


def _triple(vector: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z
