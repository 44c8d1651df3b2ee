"""Where the organs lie that tubes run through, from the lungs and the air of the trachea."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.disease.confounders.confounded import HU, SIDES, Labels
from drrval.volume import Grid

_AIR_HU = -700.0
_TRACHEA_MM2 = (50.0, 700.0)
_CARINA = 0.62  # height over that of the lungs where no trachea is found: the fifth thoracic vertebra
_STEP_MM = 10.0  # farthest that the trachea's centre moves from slice to slice


@dataclass(frozen=True)
class Landmarks:
    """Coordinates are array index times spacing, mm; x to the patient's left, y to the back, z to the head.

    Attributes:
        lungs: the lung map.
        grid: its grid.
        base_mm, apex_mm: height of the lowest and highest slice with lung.
        trachea: (n, 3) centres of the trachea, head to carina.
    """

    lungs: Labels
    grid: Grid
    base_mm: float
    apex_mm: float
    trachea: npt.NDArray[np.float64]

    def height(self, share: float) -> float:
        """Height at a share of that of the lungs, mm: 0 their base, 1 their apex."""
        return self.base_mm + share * (self.apex_mm - self.base_mm)

    @property
    def carina(self) -> npt.NDArray[np.float64]:
        """Lower end of the trachea (x, y, z), mm."""
        return np.asarray(self.trachea[-1])

    @property
    def top_mm(self) -> float:
        """Height of the last slice, mm."""
        return (self.grid.shape[0] - 1) * self.grid.spacing_mm[2]

    def filled_height(self, share: float) -> float:
        """Height below which this share of the lungs' volume lies, mm: 0.15 is about that of the domes."""
        below = np.cumsum((self.lungs > 0).sum(axis=(1, 2)))
        return float(np.searchsorted(below, share * below[-1])) * self.grid.spacing_mm[2]

    def trachea_at(self, height_mm: float) -> npt.NDArray[np.float64]:
        """Centre (x, y) of the trachea at a height; beyond its ends that of the end, mm."""
        heights = self.trachea[::-1, 2]
        return np.array([np.interp(height_mm, heights, self.trachea[::-1, axis]) for axis in (0, 1)])

    def depths(self, height_mm: float) -> tuple[float, float]:
        """Front and back (y) of the lungs at a height, mm."""
        rows = np.flatnonzero((self._slice(height_mm) > 0).any(axis=1)) * self.grid.spacing_mm[1]
        return float(rows[0]), float(rows[-1])

    def gap(self, height_mm: float, depth: float) -> tuple[float, float]:
        """Inner borders (x) of the right and the left lung at a share 0..1 from front to back, mm.

        Where a lung has no voxel at that depth, its border nearest to it counts.
        """
        front, back = self.depths(height_mm)
        row = front + depth * (back - front)
        return tuple(self._border(self._slice(height_mm) == SIDES[side], row, side) for side in ("right", "left"))  # type: ignore[return-value]

    def outer(self, side: str, height_mm: float, row_mm: float) -> float:
        """Outer border (x) of a lung at a height and depth, mm."""
        columns = np.flatnonzero(self._nearest_row(self._slice(height_mm) == SIDES[side], row_mm))
        return float(columns[0 if side == "right" else -1]) * self.grid.spacing_mm[0]

    def _border(self, lung: npt.NDArray[np.bool_], row_mm: float, side: str) -> float:
        columns = np.flatnonzero(self._nearest_row(lung, row_mm))
        return float(columns[-1 if side == "right" else 0]) * self.grid.spacing_mm[0]

    def _nearest_row(self, lung: npt.NDArray[np.bool_], row_mm: float) -> npt.NDArray[np.bool_]:
        rows = np.flatnonzero(lung.any(axis=1))
        return np.asarray(lung[rows[np.argmin(np.abs(rows * self.grid.spacing_mm[1] - row_mm))]])

    def _slice(self, height_mm: float) -> Labels:
        """Slice at a height, or the nearest one with both lungs."""
        both = np.flatnonzero((self.lungs == 1).any(axis=(1, 2)) & (self.lungs == 2).any(axis=(1, 2)))
        return self.lungs[both[np.argmin(np.abs(both * self.grid.spacing_mm[2] - height_mm))]]


def find_landmarks(hu: HU, grid: Grid, lungs: Labels) -> Landmarks:
    """Find the lungs' extent and the trachea; without a visible trachea its usual place is taken."""
    heights = np.flatnonzero((lungs > 0).any(axis=(1, 2))) * grid.spacing_mm[2]
    marks = Landmarks(lungs, grid, float(heights[0]), float(heights[-1]), np.zeros((1, 3)))
    trachea = _trachea(hu, marks)
    return Landmarks(lungs, grid, marks.base_mm, marks.apex_mm, trachea)


def _trachea(hu: HU, marks: Landmarks) -> npt.NDArray[np.float64]:
    """Follow the round air column from the apex of the lungs down to where it widens, and up to the last slice."""
    grid = marks.grid
    right, left = marks.gap(marks.height(0.9), 0.5)
    front, back = marks.depths(marks.height(0.9))
    middle = np.array([(right + left) / 2.0, front + 0.4 * (back - front)])
    for share in (0.9, 0.84, 0.96, 0.78):
        apex = round(marks.height(share) / grid.spacing_mm[2])
        start = _air_near(hu, marks, apex, middle, reach_mm=35.0)
        if start is not None:
            break
    else:
        heights = [marks.top_mm, marks.height(_CARINA)]
        return np.array([[*middle, height] for height in heights])
    below, above = (_follow(hu, marks, apex, start, step) for step in (-1, 1))
    path = [*above[::-1], (apex, start), *below]
    return np.array([[*centre, k * grid.spacing_mm[2]] for k, centre in path])


def _follow(
    hu: HU, marks: Landmarks, k: int, centre: npt.NDArray[np.float64], step: int
) -> list[tuple[int, npt.NDArray[np.float64]]]:
    path: list[tuple[int, npt.NDArray[np.float64]]] = []
    lowest = round(marks.height(0.45) / marks.grid.spacing_mm[2])
    while lowest < k + step < hu.shape[0]:
        k += step
        found = _air_near(hu, marks, k, centre, reach_mm=_STEP_MM)
        if found is None:
            break
        centre = found
        path.append((k, centre))
    return path


def _air_near(
    hu: HU, marks: Landmarks, k: int, centre: npt.NDArray[np.float64], reach_mm: float
) -> npt.NDArray[np.float64] | None:
    """Centre (x, y) of the air column of tracheal size nearest to a place in slice k, or None."""
    sx, sy = marks.grid.spacing_mm[:2]
    window = 50.0
    rows, columns = (
        slice(max(int((c - window) / s), 0), int((c + window) / s) + 1) for c, s in ((centre[1], sy), (centre[0], sx))
    )
    air = (hu[k, rows, columns] < _AIR_HU) & (marks.lungs[k, rows, columns] == 0)
    labels, count = ndimage.label(air)
    best, closest = None, reach_mm
    for label in range(1, count + 1):
        y, x = np.nonzero(labels == label)
        area = len(x) * sx * sy
        place = np.array([(x.mean() + columns.start) * sx, (y.mean() + rows.start) * sy])
        away = float(np.linalg.norm(place - centre))
        if _TRACHEA_MM2[0] <= area <= _TRACHEA_MM2[1] and np.ptp(x) * sx < 32.0 and away < closest:
            best, closest = place, away
    return best
