"""How the patient lies on the table: a rigid motion of the whole body."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from drrval.errors import StudyError

Vector = npt.NDArray[np.float64]
_LIMIT_DEG = 30.0
_LIMIT_MM = 150.0


@dataclass(frozen=True)
class Motion:
    """A rigid motion from the patient's frame to the scanner's, ``rotation @ p + shift``, LPS mm."""

    rotation: Vector = field(default_factory=lambda: np.eye(3))
    shift: Vector = field(default_factory=lambda: np.zeros(3))

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self.is_upright and not np.any(self.shift)

    @property
    def is_upright(self) -> bool:
        """Whether nothing is turned."""
        return bool(np.array_equal(self.rotation, np.eye(3)))

    def after(self, first: Motion) -> Motion:
        """This motion done after another one."""
        return Motion(self.rotation @ first.rotation, self.points(first.shift))

    def points(self, points_mm: npt.ArrayLike) -> Vector:
        """Move points ``(..., [x, y, z])``, mm."""
        return np.asarray(points_mm, dtype=float) @ self.rotation.T + self.shift

    def vectors(self, vectors: npt.ArrayLike) -> Vector:
        """Turn directions ``(..., [x, y, z])``."""
        return np.asarray(vectors, dtype=float) @ self.rotation.T

    def to_patient(self) -> Vector:
        """(3, 4) matrix from scanner coordinates ``(x, y, z, 1)`` back to the patient's frame, mm."""
        back = self.rotation.T
        return np.column_stack([back, -back @ self.shift])


@dataclass(frozen=True)
class Pose:
    """Position of the patient in the scanner.

    Attributes:
        rotation_deg: about x (nodding), y (leaning to a side) and z (turned on the table), in this order, about the
            middle of the lungs, degrees, up to 30 either way.
        shift_mm: of the patient alone (left, back, head), mm, up to 150 either way.
        table_height_mm: how much higher table and patient lie together than in the scanner's middle, mm, up to 150.

    Raises:
        StudyError: a value outside its range.
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    table_height_mm: float = 0.0

    def __post_init__(self) -> None:
        limits = (
            ("rotation_deg", self.rotation_deg, _LIMIT_DEG),
            ("shift_mm", self.shift_mm, _LIMIT_MM),
            ("table_height_mm", (self.table_height_mm,), _LIMIT_MM),
        )
        for name, values, limit in limits:
            if not all(abs(value) <= limit for value in values):
                raise StudyError(f"Pose {name}={getattr(self, name)!r}: each value must lie within ±{limit:g}.")

    def motion(self) -> Motion:
        """The rigid motion of the patient; the table's height moves the patient to the front (up)."""
        shift = np.asarray(self.shift_mm, dtype=float) - [0.0, self.table_height_mm, 0.0]
        if not any(self.rotation_deg):
            return Motion(shift=shift)
        return Motion(np.asarray(Rotation.from_euler("xyz", self.rotation_deg, degrees=True).as_matrix()), shift)
