"""Places in the lungs, soft shapes and smooth random fields for findings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.disease.confounders.confounded import HU, Box, Labels, Mask, axes_mm
from drrval.disease.texture import smooth_noise
from drrval.volume import Grid

Vector = npt.NDArray[np.float64]

_COARSE_MM = 3.0


def one_each(count: int | None, drawn: tuple[int, int], rng: np.random.Generator) -> Iterator[np.random.Generator]:
    """A generator of its own for each finding: ``count`` of them, or as many as ``rng`` draws between two numbers."""
    by_chance = int(rng.integers(drawn[0], drawn[1] + 1))
    for _ in range(by_chance if count is None else count):
        yield np.random.default_rng(rng.integers(2**31))


def lung_point(lungs: Labels, label: int, height: float, depth: float, angle: float, grid: Grid) -> Vector:
    """A place (x, y, z), about the same on any grid of the patient: array index times spacing, mm.

    Args:
        lungs: uint8 ``[z, y, x]``.
        label: of the lung.
        height: share 0..1 of the lung's volume that lies below.
        depth: distance to the border of the lung within the slice over the largest there, 0..1.
        angle: direction from the middle of the slice, 0 to the patient's left, pi / 2 to the back.
        grid: grid of the map.
    """
    below = np.cumsum((lungs == label).sum(axis=(1, 2)))
    z = int(np.searchsorted(below, max(height * below[-1], 1.0)))
    lung = lungs[z] == label
    inside = ndimage.distance_transform_edt(lung, sampling=grid.spacing_mm[1::-1])
    wanted = depth * inside.max()
    off = np.where(lung, np.abs(inside - wanted), np.inf)
    rows, columns = np.nonzero(off <= max(float(off.min()), max(grid.spacing_mm[:2])))
    middle = np.argwhere(lung).mean(axis=0) * grid.spacing_mm[1::-1]
    bearing = np.arctan2(rows * grid.spacing_mm[1] - middle[0], columns * grid.spacing_mm[0] - middle[1])
    pick = int(np.argmax(np.cos(bearing - angle)))
    return np.array([columns[pick], rows[pick], z]) * np.asarray(grid.spacing_mm)


def ball_box(centre_mm: Vector, reach_mm: float, grid: Grid) -> Box:
    """Index slices ``[z, y, x]`` of a cube around a point, cut by the volume."""
    x, y, z = (
        slice(max(int((c - reach_mm) / s), 0), min(int((c + reach_mm) / s) + 2, n))
        for c, s, n in zip(centre_mm, grid.spacing_mm, grid.shape[::-1], strict=True)
    )
    return z, y, x


def rough(box: Box, centre_mm: Vector, scale_mm: float, rng: np.random.Generator, grid: Grid) -> HU:
    """Gaussian noise ``[z, y, x]`` of unit variance that varies over ``scale_mm``, tied to the centre on any grid."""
    x, y, z = (a.ravel() - np.float32(c) for a, c in zip(axes_mm(box, grid), centre_mm, strict=True))
    return smooth_noise((z, y, x), scale_mm, (int(rng.integers(2**31)),))


def distance_inside(mask: Mask, grid: Grid, smooth_mm: float) -> HU:
    """Distance to the border of a mask from inside, mm, smoothed; computed about every 3 mm, linear in between."""
    steps = [max(1, round(_COARSE_MM / s)) for s in reversed(grid.spacing_mm)]
    spacing = [s * n for s, n in zip(reversed(grid.spacing_mm), steps, strict=True)]
    padded = np.pad(mask, [(0, n) for n in steps], mode="edge")[tuple(slice(None, None, n) for n in steps)]
    field = ndimage.distance_transform_edt(padded, sampling=spacing).astype(np.float32)
    field = ndimage.gaussian_filter(field, [smooth_mm / s for s in spacing])
    for axis, (step, count) in enumerate(zip(steps, mask.shape, strict=True)):
        index, share = np.divmod(np.arange(count), step)
        share = (share / np.float32(step)).reshape([-1 if k == axis else 1 for k in range(3)]).astype(np.float32)
        after = np.minimum(index + 1, field.shape[axis] - 1)
        field = np.take(field, index, axis=axis) * (1 - share) + np.take(field, after, axis=axis) * share
    return field


def noise_of(hu: HU, clean: HU, where: Mask, noise_hu: float) -> HU:
    """The scan's own noise ``[z, y, x]``, HU, to go with what is put into it.

    It is the difference to the denoised copy, brought to the standard deviation of the noise and the mean 0 over
    ``where``: in lung that difference holds fine structure besides.
    """
    detail = hu - clean
    if noise_hu <= 0.0 or not where.any():
        return np.zeros_like(detail)
    spread = 1.4826 * float(np.median(np.abs(detail[where])))
    noise = np.clip(detail * np.float32(min(1.0, noise_hu / max(spread, 1e-6))), -3.0 * noise_hu, 3.0 * noise_hu)
    return np.asarray(noise - noise[where].mean(dtype=np.float64), dtype=np.float32)


def soft_cover(distance_mm: HU, grid: Grid) -> HU:
    """Covered share 0..1 of voxels at a signed distance from a surface (negative inside), blurred by one voxel."""
    edge = np.float32(np.mean(grid.spacing_mm))
    return np.asarray(np.clip(np.float32(0.5) - distance_mm / edge, 0.0, 1.0), dtype=np.float32)
