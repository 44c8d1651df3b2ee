"""The parameters of one adult thorax, and the reference tables that they scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from drrval.errors import StudyError
from drrval.phantom.legacy.shapes import Capsule, Ellipsoid, Loft, Vector, tube

# Adult ranges, between which every draw of random_anatomy lies.
LIMITS: dict[str, tuple[float, float]] = {
    "chest_width_mm": (220, 310),
    "chest_depth_mm": (165, 250),
    "lung_height_mm": (220, 310),
    "heart_width_mm": (95, 160),
    "fat_mm": (4, 40),
    "breast_mm": (0, 60),
    "dome_lift_mm": (-20, 30),
    "rib_fall": (0.7, 1.2),
    "kyphosis": (0.6, 1.6),
    "aorta_factor": (0.8, 1.4),
    "bone_hu": (90, 320),
    "lung_hu": (-900, -780),
}


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise StudyError unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise StudyError(f"{name}={value!r} is outside {low:g}..{high:g}. Choose a value in this range.")


@dataclass(frozen=True)
class Anatomy:
    """Physical parameters of one adult, arms raised out of the field.

    Attributes:
        chest_width_mm, chest_depth_mm: largest inner width and depth of the rib cage.
        lung_height_mm: lung apex to posterior costophrenic angle at full inspiration.
        heart_width_mm: transverse width of the heart shadow.
        fat_mm: subcutaneous fat.
        breast_mm: thickness of each breast, 0 for none.
        dome_lift_mm: height of the diaphragm relative to the reference adult.
        rib_fall: slope of the ribs from back to front, relative to the reference adult.
        kyphosis: curvature of the thoracic spine, relative to the reference adult.
        aorta_factor: calibre of the great vessels, relative to the reference adult.
        bone_hu: Hounsfield units of cancellous bone (falls with age; 100..300 HU, Pickhardt et al. Ann Intern Med
            2013, 10.7326/0003-4819-158-8-201304160-00003).
        lung_hu: mean Hounsfield units of lung at full inspiration.
        seed: of the fine structure (vessel and bronchial branching).

    Raises:
        StudyError: a parameter outside the adult range.
    """

    chest_width_mm: float = 266.0
    chest_depth_mm: float = 207.0
    lung_height_mm: float = 270.0
    heart_width_mm: float = 120.0
    fat_mm: float = 12.0
    breast_mm: float = 0.0
    dome_lift_mm: float = 0.0
    rib_fall: float = 1.0
    kyphosis: float = 1.0
    aorta_factor: float = 1.0
    bone_hu: float = 190.0
    lung_hu: float = -855.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise StudyError(f"Anatomy {name}={value!r} is outside the adult range {low:g}..{high:g}.")

    @property
    def scale(self) -> Vector:
        """Factors (x, y, z) from the reference adult to this one."""
        size = reference()["size"]
        return np.array(
            [
                self.chest_width_mm / size["chest_width_mm"],
                self.chest_depth_mm / size["chest_depth_mm"],
                self.lung_height_mm / size["lung_height_mm"],
            ]
        )

    def points(self, points_mm: npt.ArrayLike) -> Vector:
        """Map reference points ``(..., [x, y, z])`` to this anatomy, mm."""
        return np.asarray(points_mm, dtype=float) * self.scale

    def loft(self, name: str) -> Loft:
        """A loft of the reference tables (``cage``, ``lean`` or ``mediastinum``) at this anatomy's size."""
        entry = reference()["lofts"][name]
        sx, sy, sz = self.scale
        return Loft(np.asarray(entry["rows"], dtype=float) * [sz, sx, sy, sy], float(entry["exponent"]))

    def ellipsoid(
        self, entry: dict[str, Any], *, size: float = 1.0, shift: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> Ellipsoid:
        """An ellipsoid of the reference tables at this anatomy's size, radii times ``size``, moved by ``shift``."""
        centre = self.points(entry["centre"]) + np.asarray(shift)
        radii = np.asarray(entry["radii"]) * self.scale * size
        return Ellipsoid(centre, radii, entry.get("tilt_deg", (0.0, 0.0, 0.0)))

    def tube(self, entry: dict[str, Any], *, size: float = 1.0, extra_mm: float = 0.0) -> list[Capsule]:
        """A tube of the reference tables, its radii times ``size`` plus ``extra_mm``."""
        radii = np.asarray(entry["radii"], dtype=float) * size + extra_mm
        return tube(self.points(entry["points"]), radii)

    def spine_y(self, z_mm: npt.ArrayLike) -> Vector:
        """y of the middle of the vertebral bodies at heights z, mm."""
        z, y = np.array(reference()["spine"]["front_to_back"], dtype=float).T
        curve = y.mean() + (y - y.mean()) * self.kyphosis
        return np.interp(np.asarray(z_mm) / self.scale[2], z, curve) * self.scale[1]


@cache
def reference() -> dict[str, Any]:
    """The tables of the reference adult (``reference.yaml``)."""
    text = files("drrval.phantom.legacy").joinpath("reference.yaml").read_text(encoding="utf-8")
    tables: dict[str, Any] = yaml.safe_load(text)
    return tables


def random_anatomy(seed: int) -> Anatomy:
    """Draw an adult: body size, habitus, sex, heart and diaphragm vary together as they do in a clinic.

    Args:
        seed: any non-negative integer; the same seed gives the same adult.
    """
    rng = np.random.default_rng([seed, 0xA7])
    female = bool(rng.random() < 0.5)
    size = rng.normal(0.965 if female else 1.02, 0.03)
    age = rng.uniform(25.0, 85.0)
    width = 266.0 * size * rng.normal(1.0, 0.03)
    drawn = {
        "chest_width_mm": width,
        "chest_depth_mm": 200.0 * size * rng.normal(1.0, 0.06) + 0.12 * (age - 55.0),
        "lung_height_mm": 268.0 * size * rng.normal(1.0, 0.03),
        "heart_width_mm": width * (0.43 + 0.0006 * (age - 55.0) + rng.normal(0.0, 0.025)),
        "fat_mm": (14.0 if female else 11.0) * rng.lognormal(0.0, 0.35),
        "breast_mm": rng.uniform(16.0, 40.0) if female else 0.0,
        "dome_lift_mm": rng.normal(0.0, 6.0),
        "rib_fall": rng.normal(0.97, 0.07),
        "kyphosis": rng.normal(1.0 + 0.004 * (age - 55.0), 0.12),
        "aorta_factor": rng.normal(1.0 + 0.004 * (age - 55.0), 0.05),
        "bone_hu": rng.normal(215.0 - 1.6 * (age - 55.0), 20.0),
        "lung_hu": rng.normal(-855.0, 12.0),
    }
    values = {name: float(np.clip(drawn[name], *LIMITS[name])) for name in LIMITS}
    return Anatomy(**values, seed=int(rng.integers(2**31)))
