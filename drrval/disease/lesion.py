"""One place of disease in a lung."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from drrval.errors import StudyError

Kind = Literal["ggo", "consolidation", "crazy_paving"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # a lesion map holds 1 + the index of the kind; 0 is no disease

LARGEST_RADIUS_MM = 150.0


@dataclass(frozen=True)
class Lesion:
    """One opacity, placed relative to the lung so that it stays where it is when the patient breathes or moves.

    Attributes:
        side: ``right`` or ``left`` lung.
        centre: fractions 0..1 (medial to lateral, front to back, base to apex) within that lung.
        radii_mm: half axes along x, y and z before the lung's border cuts the lesion, mm.
        kind: ``ggo`` (ground-glass opacity), ``consolidation`` or ``crazy_paving`` (ground glass with thick septa).
        hu: mean Hounsfield units of the lesion between the vessels, -800..100.
        seed: of the border and the texture, so that a lesion keeps its look from scan to scan.
        lobe: 0, or 1 to 5 to confine it to a lobe (right upper, middle, lower, left upper, lower).

    Raises:
        StudyError: a value outside its range.
    """

    side: Literal["right", "left"]
    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    kind: Kind = "ggo"
    hu: float = -560.0
    seed: int = 0
    lobe: int = 0

    def __post_init__(self) -> None:
        if self.side not in ("right", "left"):
            raise StudyError(f"Lesion side={self.side!r}. Expected one of: 'right', 'left'.")
        if self.kind not in KINDS:
            raise StudyError(f"Lesion kind={self.kind!r}. Expected one of: {', '.join(KINDS)}.")
        if not all(0.0 <= c <= 1.0 for c in self.centre):
            raise StudyError(f"Lesion centre={self.centre!r}. Give three fractions of the lung between 0 and 1.")
        if not all(0.0 < r <= LARGEST_RADIUS_MM for r in self.radii_mm):
            raise StudyError(
                f"Lesion radii_mm={self.radii_mm!r}. Give three half axes above 0 and up to {LARGEST_RADIUS_MM:g} mm."
            )
        if not -800.0 <= self.hu <= 100.0:
            raise StudyError(f"Lesion hu={self.hu!r} is outside -800..100 HU.")
        if self.lobe not in range(6):
            raise StudyError(f"Lesion lobe={self.lobe!r}. Give 0 for any, or 1 to 5.")

    def scaled(self, fraction: float) -> Lesion:
        """The same lesion with this fraction of its volume; centre, texture and the look of the border stay.

        Args:
            fraction: above 0; radii grow with its cube root and stop at 150 mm.

        Raises:
            StudyError: a fraction of 0 or below.
        """
        if not fraction > 0.0:
            raise StudyError(f"fraction={fraction!r}. Give a share above 0 of the lesion's volume, or leave it out.")
        factor = float(np.cbrt(fraction))
        x, y, z = (min(radius * factor, LARGEST_RADIUS_MM) for radius in self.radii_mm)
        return replace(self, radii_mm=(x, y, z))
