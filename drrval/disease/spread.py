"""Bring drawn lesions to a wanted share of given lungs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drrval.disease.envelope import LungSpace
from drrval.disease.lesion import Lesion
from drrval.errors import StudyError
from drrval.volume import Grid

_COARSE_MM = 3.0
_LARGEST_FACTOR = 1000.0  # on the lesions' volumes, up or down
_LARGEST_STEP = 8.0
_STEPS = 25
TOLERANCE = 0.02  # of the wanted extent
TOLERANCE_PERCENT = 0.05  # of the lungs, where the extent is small


def extent_percent(
    lesions: Sequence[Lesion],
    grid: Grid,
    lungs: npt.NDArray[np.uint8],
    *,
    lobes: npt.NDArray[np.uint8] | None = None,
) -> float:
    """100 x volume of all lesions / volume of both lungs, as their masks in an aerated lung give it.

    Args:
        lesions, grid, lungs, lobes: as :func:`drrval.disease.insert_disease`.
    """
    return _extent(LungSpace(grid, lungs, lobes), lesions)


def fit_extent(
    lesions: Sequence[Lesion],
    grid: Grid,
    lungs: npt.NDArray[np.uint8],
    wanted_percent: float,
    *,
    lobes: npt.NDArray[np.uint8] | None = None,
) -> tuple[Lesion, ...]:
    """Scale all lesions by one factor until they take up the wanted share of the lungs.

    The result lies within 2 percent of the wanted extent, or 0.05 percent of the lungs if that is more.

    Args:
        lesions: as drawn.
        grid, lungs, lobes: as :func:`drrval.disease.insert_disease`.
        wanted_percent: lesion volume over the volume of both lungs, above 0, percent.

    Returns:
        the scaled lesions.

    Raises:
        StudyError: lesions that cannot reach the extent, because they are confined to a lobe or a lung, or too many
            to be that small.
    """
    tolerance = max(TOLERANCE * wanted_percent, TOLERANCE_PERCENT)
    coarse, _ = _approach(_coarse(grid, lungs, lobes), lesions, 1.0, wanted_percent, tolerance)
    factor, found = _approach(LungSpace(grid, lungs, lobes), lesions, coarse, wanted_percent, tolerance)
    if abs(found - wanted_percent) > tolerance:
        raise StudyError(
            f"extent={wanted_percent:g} percent is out of reach: these {len(lesions)} lesions come to {found:.3g} "
            "percent of these lungs. Ask for another extent, or for another pattern or seed, or give other lesions."
        )
    return _scaled(lesions, factor)


def _approach(
    space: LungSpace, lesions: Sequence[Lesion], factor: float, wanted: float, tolerance: float
) -> tuple[float, float]:
    """Factor on the lesions' volumes, and the extent that it gives, after a few proportional steps."""
    for _ in range(_STEPS):
        found = _extent(space, _scaled(lesions, factor))
        if abs(found - wanted) <= tolerance or not 1.0 / _LARGEST_FACTOR < factor < _LARGEST_FACTOR:
            break
        factor *= min(max(wanted / max(found, 1e-6), 1.0 / _LARGEST_STEP), _LARGEST_STEP)
    return factor, found


def _scaled(lesions: Sequence[Lesion], factor: float) -> tuple[Lesion, ...]:
    return tuple(lesion.scaled(factor) for lesion in lesions)


def _extent(space: LungSpace, lesions: Sequence[Lesion]) -> float:
    inside = np.zeros(space.lungs.shape, dtype=bool)
    for lesion in lesions:
        envelope = space.envelope(lesion)
        if envelope is not None:
            inside[envelope.box] |= envelope.lesion
    return 100.0 * np.count_nonzero(inside) / np.count_nonzero(space.lungs)


def _coarse(grid: Grid, lungs: npt.NDArray[np.uint8], lobes: npt.NDArray[np.uint8] | None) -> LungSpace:
    """Every n-th voxel, about 3 mm apart."""
    steps = [max(1, int(_COARSE_MM / spacing)) for spacing in grid.spacing_mm[::-1]]
    thin = tuple(slice(None, None, step) for step in steps)
    small = np.ascontiguousarray(lungs[thin])
    sz, sy, sx = (float(s * n) for s, n in zip(grid.spacing_mm[::-1], steps, strict=True))
    coarse = Grid((small.shape[0], small.shape[1], small.shape[2]), (sx, sy, sz), grid.origin_mm, grid.direction)
    return LungSpace(coarse, small, None if lobes is None else np.ascontiguousarray(lobes[thin]))
