"""Airways that stay open in consolidated lung."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.disease.texture import Array, Axes

# Lengths and calibres shrink from one generation of bronchi to the next; a segmental bronchus has a lumen of about 5 mm
# (Weibel, Morphometry of the Human Lung, 1963).
_GENERATIONS = 7
_FIRST_LENGTH_MM, _LENGTH_RATIO = 20.0, 0.85
_FIRST_RADIUS_MM, _RADIUS_RATIO = 2.3, 0.84
_BEND_DEG = (14.0, 38.0)
_START = 0.8  # of the way from the lesion's centre to the hilum

_Vector = npt.NDArray[np.float64]


def air_bronchograms(axes: Axes, to_hilum_mm: tuple[float, float, float], seed: tuple[int, ...]) -> Array:
    """Share of each voxel that lies in the lumen of a bronchus.

    A tree that forks in two, from near the hilum towards and past the lesion's centre. It is fixed to the centre, so
    a growing lesion uncovers more of the same tree.

    Args:
        axes: positions along z, y, x relative to the lesion's centre, mm.
        to_hilum_mm: from the centre to the hilum, z, y, x, mm.
        seed: of the tree.

    Returns:
        float32 ``[z, y, x]``, 0..1.
    """
    lumen = np.zeros([axis.size for axis in axes], dtype=np.float32)
    hilum = np.asarray(to_hilum_mm, dtype=np.float64)
    direction = -hilum / max(float(np.linalg.norm(hilum)), 1.0)
    _grow(lumen, axes, np.random.default_rng(seed), _START * hilum, direction, 0)
    return lumen


def _grow(lumen: Array, axes: Axes, rng: np.random.Generator, start: _Vector, direction: _Vector, number: int) -> None:
    length = _FIRST_LENGTH_MM * _LENGTH_RATIO**number * float(rng.uniform(0.7, 1.3))
    radius = _FIRST_RADIUS_MM * _RADIUS_RATIO**number * float(rng.uniform(0.85, 1.1))
    end = start + length * direction
    _draw_tube(lumen, axes, start, end, radius)
    if number + 1 == _GENERATIONS:
        return
    across = _unit(np.cross(direction, rng.standard_normal(3)))
    for sign in (-1.0, 1.0):
        bend = np.deg2rad(rng.uniform(*_BEND_DEG))
        _grow(lumen, axes, rng, end, np.cos(bend) * direction + sign * np.sin(bend) * across, number + 1)


def _draw_tube(lumen: Array, axes: Axes, start: _Vector, end: _Vector, radius: float) -> None:
    """Add a capsule, soft over a voxel; one thinner than a voxel is as faint as its share of it."""
    steps = [float(axis[1] - axis[0]) if axis.size > 1 else 1.0 for axis in axes]
    blur = float(np.mean(steps))
    margin = radius + blur
    box = tuple(
        slice(*np.searchsorted(axis, (min(a, b) - margin, max(a, b) + margin)))
        for axis, a, b in zip(axes, start, end, strict=True)
    )
    z, y, x = (axis[part].astype(np.float64) - a for axis, part, a in zip(axes, box, start, strict=True))
    if not (z.size and y.size and x.size):
        return
    along = end - start
    share = z[:, None, None] * along[0] + y[:, None] * along[1] + x * along[2]
    share = np.clip(share / float(along @ along), 0.0, 1.0)
    away = np.sqrt(
        (z[:, None, None] - share * along[0]) ** 2 + (y[:, None] - share * along[1]) ** 2 + (x - share * along[2]) ** 2
    )
    faint = min(1.0, 2.0 * radius / blur) ** 2
    tube = faint * np.clip((radius - away) / blur + 0.5, 0.0, 1.0)
    lumen[box] = np.maximum(lumen[box], tube.astype(np.float32))


def _unit(vector: _Vector) -> _Vector:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
