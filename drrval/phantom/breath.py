"""How the organs move with the diaphragm when the patient breathes in less deeply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.shapes import Vector

_MM_PER_INSPIRATION = 160.0  # rise of the domes for a whole lung volume less air (about 300 cm2 of domes)
_STILL_MM, _FOLLOWING_MM = 110.0, -80.0  # reference heights: the apex stays, what lies at the domes moves with them


@dataclass(frozen=True)
class Breath:
    """Upward shift of the organs, growing from the lung apex to the domes of the diaphragm.

    Attributes:
        lift_mm: rise of the domes over those of the reference adult at full inspiration.
        still_mm, following_mm: heights at which nothing moves, and from which down all moves with the domes.
    """

    lift_mm: float
    still_mm: float
    following_mm: float

    @classmethod
    def of(cls, anatomy: Anatomy, inspiration: float = 1.0) -> Breath:
        """The breath of a patient; ``inspiration`` is the fraction 0..1 of the lung volume at full inspiration."""
        height = float(anatomy.scale[2])
        lift = anatomy.dome_lift_mm + (1.0 - inspiration) * _MM_PER_INSPIRATION * height
        return cls(lift, _STILL_MM * height, _FOLLOWING_MM * height)

    def points(self, points_mm: npt.ArrayLike) -> Vector:
        """Points ``(..., [x, y, z])`` of the reference breath after the shift, mm."""
        out = np.array(points_mm, dtype=float)
        out[..., 2] = self._shifted(out[..., 2])
        return out

    def back(self, points_mm: npt.ArrayLike) -> Vector:
        """Points of this breath as they lie in the reference breath, mm: the inverse of :meth:`points`."""
        out = np.array(points_mm, dtype=float)
        z = np.linspace(self.following_mm - 300.0, self.still_mm + 300.0, 2000)
        out[..., 2] = np.interp(out[..., 2], self._shifted(z), z)
        return out

    def _shifted(self, z: Vector) -> Vector:
        share = np.clip((self.still_mm - z) / (self.still_mm - self.following_mm), 0.0, 1.0)
        return np.asarray(z + self.lift_mm * share**1.5)
