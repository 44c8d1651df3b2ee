"""Wires, tubes and other devices painted into a CT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from drrval.disease.confounders.confounded import HU, Box
from drrval.volume import Grid

Points = npt.NDArray[np.float64]


def smooth_path(points_mm: npt.ArrayLike, step_mm: float) -> Points:
    """Points (n, 3) along a smooth curve through knots (m, 3), m >= 2, about ``step_mm`` apart; it never overshoots."""
    knots = np.asarray(points_mm, dtype=float)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    keep = np.concatenate([[True], np.diff(arc) > 1e-6])
    fine = np.linspace(0.0, arc[-1], max(int(np.ceil(arc[-1] / step_mm)), 1) + 1)
    return np.asarray(PchipInterpolator(arc[keep], knots[keep])(fine))


def tube_cover(points_mm: npt.ArrayLike, diameter_mm: float, grid: Grid) -> tuple[Box, HU]:
    """Share of each voxel that a round tube covers.

    The shares add up to the tube's volume even where it is thinner than a voxel.

    Args:
        points_mm: knots (m, 3) of its axis, x, y, z, array index times spacing; what lies outside the CT is left out.
        diameter_mm: its diameter.
        grid: grid of the CT.

    Returns:
        index slices ``[z, y, x]`` of a box, and shares 0..1 in it.
    """
    spacing = np.asarray(grid.spacing_mm)
    step = 0.5 * float(spacing.min())
    path = smooth_path(points_mm, step)
    index = np.rint(path / spacing)[:, ::-1].astype(int)
    inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
    if not inside.any():
        return (slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=np.float32)
    path, index = path[inside], index[inside]
    radius, edge = diameter_mm / 2.0, float(np.cbrt(spacing.prod()))
    margin = np.ceil((radius + edge) / spacing[::-1]).astype(int) + 1
    low = np.maximum(index.min(axis=0) - margin, 0)
    high = np.minimum(index.max(axis=0) + margin + 1, grid.shape)
    near = np.zeros(high - low, dtype=bool)
    near[tuple((index - low).T)] = True
    for axis, reach in enumerate(margin):
        near = binary_dilation(near, np.ones([3 if k == axis else 1 for k in range(3)], bool), iterations=int(reach))
    voxels = np.argwhere(near)
    away, _ = cKDTree(path).query((voxels + low)[:, ::-1] * spacing)
    share = np.clip((radius - away) / edge + 0.5, 0.0, 1.0)
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    volume = np.pi * radius**2 * lengths[lengths < 2.0 * step].sum()  # longer: where it left the CT and came back
    if radius < 2.0 * edge and share.sum() > 0.0:
        share = np.minimum(share * volume / (share.sum() * spacing.prod()), 1.0)
    cover = np.zeros(near.shape, dtype=np.float32)
    cover[near] = share
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (z, y, x), cover
