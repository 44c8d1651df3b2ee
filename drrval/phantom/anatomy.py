"""The parameters of one adult thorax, and the reference tables that they scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml

from drrval.errors import StudyError
from drrval.phantom.shapes import Loft, Vector

# Adult ranges, between which every draw of random_anatomy lies.
LIMITS: dict[str, tuple[float, float]] = {
    "age": (18, 100),
    "chest_width_mm": (215, 320),
    "chest_depth_mm": (150, 260),
    "lung_height_mm": (205, 320),
    "heart_width_mm": (90, 175),
    "fat_mm": (4, 45),
    "breast_mm": (0, 65),
    "muscle": (0.6, 1.4),
    "dome_lift_mm": (-25, 35),
    "rib_fall": (0.7, 1.2),
    "kyphosis": (0.6, 1.7),
    "scoliosis_mm": (-30, 30),
    "aorta_factor": (0.8, 1.45),
    "unfolding": (0, 1),
    "bone_hu": (60, 320),
    "lung_hu": (-905, -770),
    "stomach_gas": (0, 1.5),
    "colon_gas": (0, 1),
}


def check_seed(seed: int) -> None:
    """Refuse a seed that no random numbers follow from.

    Raises:
        StudyError: it is negative.
    """
    if seed < 0:
        raise StudyError(f"seed={seed!r} is negative. Choose an integer of 0 or above.")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise StudyError unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise StudyError(f"{name}={value!r} is outside {low:g}..{high:g}. Choose a value in this range.")


@dataclass(frozen=True)
class Anatomy:
    """Physical parameters of one adult.

    Attributes:
        female: sex.
        age: years.
        chest_width_mm, chest_depth_mm: largest inner width and depth of the rib cage.
        lung_height_mm: lung apex to posterior costophrenic angle at full inspiration.
        heart_width_mm: transverse width of the heart shadow.
        fat_mm: subcutaneous fat.
        breast_mm: thickness of each breast, 0 for none.
        muscle: thickness of the muscles, relative to the reference adult.
        dome_lift_mm: height of the diaphragm relative to the reference adult.
        rib_fall: slope of the ribs from back to front, relative to the reference adult.
        kyphosis: curvature of the thoracic spine, relative to the reference adult.
        scoliosis_mm: how far the thoracic spine bends to the left (negative: to the right) at its apex.
        aorta_factor: calibre of the great vessels, relative to the reference adult.
        unfolding: of the aortic arch, 0 (young) to 1 (long and wide).
        bone_hu: Hounsfield units of cancellous bone (falls with age; 100..300 HU, Pickhardt et al. Ann Intern Med
            2013, 10.7326/0003-4819-158-8-201304160-00003).
        lung_hu: mean Hounsfield units of lung at full inspiration.
        stomach_gas: size of the gas bubble, relative to the reference adult.
        colon_gas: size of gas in the left colic flexure, 0 for none.
        arms: ``up`` beside the head or ``down`` along the body.
        seed: of the fine structure (vessel and bronchial branching).

    Raises:
        StudyError: a parameter outside the adult range.
    """

    female: bool = False
    age: float = 50.0
    chest_width_mm: float = 266.0
    chest_depth_mm: float = 207.0
    lung_height_mm: float = 270.0
    heart_width_mm: float = 120.0
    fat_mm: float = 12.0
    breast_mm: float = 0.0
    muscle: float = 1.0
    dome_lift_mm: float = 0.0
    rib_fall: float = 1.0
    kyphosis: float = 1.0
    scoliosis_mm: float = 0.0
    aorta_factor: float = 1.0
    unfolding: float = 0.2
    bone_hu: float = 190.0
    lung_hu: float = -855.0
    stomach_gas: float = 1.0
    colon_gas: float = 0.0
    arms: Literal["up", "down"] = "up"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise StudyError(f"Anatomy {name}={value!r} is outside the adult range {low:g}..{high:g}.")
        if self.arms not in ("up", "down"):
            raise StudyError(f"Anatomy arms={self.arms!r}. Expected one of: 'up', 'down'.")

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
        """A loft of the reference tables (``cage``, ``mediastinum`` or ``paraspinal``) at this anatomy's size."""
        entry = reference()["lofts"][name]
        sx, sy, sz = self.scale
        table = np.asarray(entry["rows"], dtype=float) * [sz, sx, sy, sy]
        sideways = self.spine_x(table[:, 0]) if entry.get("with_spine") else None
        return Loft(table, float(entry["exponent"]), sideways)

    def spine_y(self, z_mm: npt.ArrayLike) -> Vector:
        """y of the middle of the vertebral bodies at heights z, mm."""
        z, y = np.array(reference()["spine"]["front_to_back"], dtype=float).T
        curve = y.mean() + (y - y.mean()) * self.kyphosis
        return np.interp(np.asarray(z_mm) / self.scale[2], z, curve) * self.scale[1]

    def spine_x(self, z_mm: npt.ArrayLike) -> Vector:
        """x of the middle of the vertebral bodies at heights z, mm: one bend with a small counter-bend below it."""
        t = np.asarray(z_mm, dtype=float) / self.lung_height_mm
        return np.asarray(self.scoliosis_mm * (np.exp(-((t / 0.28) ** 2)) - 0.35 * np.exp(-(((t + 0.62) / 0.25) ** 2))))


@cache
def reference() -> dict[str, Any]:
    """The tables of the reference adult (``reference.yaml``)."""
    return _table("reference.yaml")


@cache
def tissue_hu() -> dict[str, float]:
    """Hounsfield units of the tissues (``tissue.yaml``)."""
    return {name: float(entry["hu"]) for name, entry in _table("tissue.yaml").items()}


def _table(name: str) -> dict[str, Any]:
    tables: dict[str, Any] = yaml.safe_load(files("drrval.phantom").joinpath(name).read_text(encoding="utf-8"))
    return tables


def random_anatomy(seed: int) -> Anatomy:
    """Draw an adult: sex, age, body size, habitus, heart, aorta, spine and diaphragm vary together as in a clinic.

    Stocky people have wider and shorter chests, higher domes and a wider heart; age brings kyphosis, a deeper chest,
    a wider and longer aorta, emptier bones and a wider heart. The spread of the lung volume and of the
    cardiothoracic ratio is checked against published ranges in ``tests/test_phantom_anatomy.py``.

    Args:
        seed: any non-negative integer; the same seed gives the same adult.

    Raises:
        StudyError: a negative seed.
    """
    check_seed(seed)
    rng = np.random.default_rng([seed, 0xA7])
    female = bool(rng.random() < 0.5)
    age = float(rng.uniform(20.0, 88.0))
    old = (age - 55.0) / 10.0
    size = rng.normal(0.945 if female else 1.02, 0.035)
    stocky = rng.normal(0.0, 1.0)  # habitus, in standard deviations: thin below 0, obese above
    width = 262.0 * size * (1.0 + 0.02 * stocky + 0.045 * rng.normal())
    wide_heart = 0.445 + 0.012 * stocky + 0.007 * old + 0.028 * rng.normal() + (0.06 if rng.random() < 0.08 else 0.0)
    drawn = {
        "age": age,
        "chest_width_mm": width,
        "chest_depth_mm": 197.0 * size * (1.0 + 0.04 * stocky + 0.06 * rng.normal()) + 1.5 * old,
        "lung_height_mm": 270.0 * size * (1.0 - 0.02 * stocky + 0.05 * rng.normal()),
        "heart_width_mm": width * wide_heart,
        "fat_mm": (12.0 if female else 9.5) * np.exp(0.38 * stocky + 0.15 * rng.normal()),
        "breast_mm": 22.0 * np.exp(0.25 * stocky + 0.25 * rng.normal()) if female else 0.0,
        "muscle": (0.85 if female else 1.05) - 0.03 * max(old, 0.0) + 0.1 * rng.normal(),
        "dome_lift_mm": 3.0 * stocky + 7.0 * rng.normal(),
        "rib_fall": 0.97 - 0.02 * stocky + 0.06 * rng.normal(),
        "kyphosis": 1.0 + 0.05 * old + 0.12 * rng.normal(),
        "scoliosis_mm": 3.0 * rng.normal() + (rng.normal(0.0, 12.0) if rng.random() < 0.12 else 0.0),
        "aorta_factor": (0.95 if female else 1.02) + 0.045 * old + 0.05 * rng.normal(),
        "unfolding": 0.28 + 0.13 * old + 0.12 * rng.normal(),
        "bone_hu": 200.0 - 20.0 * old + 22.0 * rng.normal(),
        "lung_hu": -848.0 - 3.0 * old + 6.0 * stocky + 20.0 * rng.normal(),
        "stomach_gas": rng.uniform(0.4, 1.3),
        "colon_gas": rng.uniform(0.5, 1.0) if rng.random() < 0.4 else 0.0,
    }
    values: dict[str, Any] = {name: float(np.clip(drawn[name], *LIMITS[name])) for name in LIMITS}
    return Anatomy(female=female, **values, seed=int(rng.integers(2**31)))
