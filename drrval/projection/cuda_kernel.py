"""The GPU kernel of the plane-driven projector: one thread per ray, neighbouring threads on neighbouring columns.

A thread walks through the voxel planes of its ray's driving axis, as :mod:`drrval.projection.rays` does. It is given a
slab of slices and adds what the voxels of that slab contribute: a voxel outside the slab has weight zero, exactly as
one outside the volume. The slabs of a volume therefore sum to the whole without overlap, whichever axis drives a ray.

Where a ray enters is computed in double precision; from there it steps in single precision, in which consumer cards
are up to 64 times faster. Written for Numba's CUDA target, and compiled for the card and the voxel type on first use.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numba.cuda
import numpy as np

cuda: Any = numba.cuda  # its annotations describe the host's side, not device code
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@lru_cache(maxsize=16)
def projection_kernel(n_materials: int) -> Any:
    """The kernel for a number of materials, which must be known to the compiler so that the sums stay in registers.

    It is launched over (columns, rows, views) and takes:

    * ``voxels``: the values of the slab, flat, in the order ``[z, y, x]``;
    * ``begin``, ``end``: the slab holds the slices ``begin`` to ``end - 1`` of the volume; the one that begins at 0
      must come first, because it overwrites the image;
    * ``shape``: shape of the volume;
    * ``poses``: float64 ``[view, 5, 3]``: source, corner, row step, column step (array indices), spacing (cm);
    * ``bounds``, ``lines``: ``DensityModel.kernel_tables``;
    * ``image``: float32 ``[view, material, row, col]``, to which the slab is added.
    """

    @cuda.jit
    def project(voxels: Any, begin: int, end: int, shape: Any, poses: Any, bounds: Any, lines: Any, image: Any) -> None:
        column, row = cuda.grid(2)
        view = cuda.blockIdx.z
        if row >= image.shape[2] or column >= image.shape[3]:
            return
        ray = cuda.local.array(3, np.float64)
        total = cuda.local.array(n_materials, np.float32)
        for m in range(n_materials):
            total[m] = _ZERO
        driving, centimetres = _aim(poses[view], row, column, ray)
        _march(voxels, begin, end, shape, poses[view, 0], ray, driving, bounds, lines, total, n_materials)
        for m in range(n_materials):
            before = image[view, m, row, column] if begin > 0 else _ZERO
            image[view, m, row, column] = before + total[m] * centimetres

    return project


@cuda.jit(device=True, inline="always")
def _aim(pose: Any, row: int, column: int, ray: Any) -> Any:
    """Direction of a ray in array indices, its driving axis, and its length from plane to plane in cm."""
    square, longest, driving = 0.0, 0.0, 0
    for i in range(3):
        ray[i] = pose[1, i] - pose[0, i] + row * pose[2, i] + column * pose[3, i]
        reach = abs(ray[i]) * pose[4, i]
        square += reach * reach
        if reach > longest:
            longest = reach
            driving = i
    return driving, np.float32(math.sqrt(square) / abs(ray[driving]))


@cuda.jit(device=True, inline="always")
def _march(
    voxels: Any,
    begin: int,
    end: int,
    shape: Any,
    source: Any,
    ray: Any,
    driving: int,
    bounds: Any,
    lines: Any,
    total: Any,
    n_materials: int,
) -> None:
    """Add the density of every material on each plane of the driving axis to ``total``."""
    a, b = (driving + 1) % 3, (driving + 2) % 3
    low = begin if driving == 0 else 0
    low_a, high_a = begin if a == 0 else 0, end if a == 0 else shape[a]
    low_b, high_b = begin if b == 0 else 0, end if b == 0 else shape[b]
    stride, stride_a, stride_b = _stride(driving, shape), _stride(a, shape), _stride(b, shape)

    first, last = float(low), float(end if driving == 0 else shape[driving])
    if ray[driving] > 0.0:
        first = _larger(first, math.floor(source[driving]) + 1.0)
    else:
        last = _smaller(last, math.ceil(source[driving]))
    slope_a, slope_b = ray[a] / ray[driving], ray[b] / ray[driving]
    first, last = _within(source[a] - source[driving] * slope_a, slope_a, low_a, high_a, first, last)
    first, last = _within(source[b] - source[driving] * slope_b, slope_b, low_b, high_b, first, last)

    # Cells are counted from where the ray enters, so that single precision resolves a millionth of a voxel there.
    start_a, low_a, high_a = _from_entry(source[a] + (first - source[driving]) * slope_a, low_a, high_a)
    start_b, low_b, high_b = _from_entry(source[b] + (first - source[driving]) * slope_b, low_b, high_b)
    step_a, step_b = np.float32(slope_a), np.float32(slope_b)
    plane = (int(first) - low) * stride
    travelled = _ZERO
    for _ in range(int(last) - int(first)):
        cell_a0, cell_a1, weight_a0, weight_a1 = _neighbours(start_a + travelled * step_a, low_a, high_a)
        cell_b0, cell_b1, weight_b0, weight_b1 = _neighbours(start_b + travelled * step_b, low_b, high_b)
        row_0, row_1 = plane + cell_a0 * stride_a, plane + cell_a1 * stride_a
        column_0, column_1 = cell_b0 * stride_b, cell_b1 * stride_b
        _add(voxels, row_0 + column_0, weight_a0 * weight_b0, bounds, lines, total, n_materials)
        _add(voxels, row_0 + column_1, weight_a0 * weight_b1, bounds, lines, total, n_materials)
        _add(voxels, row_1 + column_0, weight_a1 * weight_b0, bounds, lines, total, n_materials)
        _add(voxels, row_1 + column_1, weight_a1 * weight_b1, bounds, lines, total, n_materials)
        plane += stride
        travelled += _ONE


@cuda.jit(device=True, inline="always")
def _stride(axis: int, shape: Any) -> int:
    """Voxels from one index to the next along an axis of a contiguous array."""
    if axis == 0:
        return shape[1] * shape[2]
    return shape[2] if axis == 1 else 1


@cuda.jit(device=True, inline="always")
def _within(offset: float, slope: float, low: int, high: int, first: float, last: float) -> Any:
    """Narrow the planes from ``first`` to ``last - 1`` to those where low - 1 < offset + plane * slope < high.

    One plane more at either end does no harm: its weights are zero.
    """
    if abs(slope) < 1e-12:
        if offset <= low - 1.0 or offset >= high:
            return first, first
        return first, last
    enters, leaves = (low - 1.0 - offset) / slope, (high - offset) / slope
    if enters > leaves:
        enters, leaves = leaves, enters
    first = _larger(first, math.floor(enters))
    return first, _larger(first, _smaller(last, math.ceil(leaves) + 1.0))


@cuda.jit(device=True, inline="always")
def _from_entry(position: float, low: int, high: int) -> Any:
    """A position, and the bounds of its axis, counted from the cell below the position."""
    cell = int(math.floor(position))  # noqa: RUF046 - on the GPU floor gives a float
    return np.float32(position - cell), low - cell, high - cell


@cuda.jit(device=True, inline="always")
def _neighbours(position: float, low: int, high: int) -> Any:
    """Both cells beside a position, counted from ``low``, and their weights: zero for a cell outside low..high-1."""
    below = np.float32(math.floor(position))
    cell = np.int32(below)
    weight_1 = position - below
    weight_0 = _ONE - weight_1
    if cell < low or cell >= high:
        weight_0 = _ZERO
    if cell < low - 1 or cell >= high - 1:
        weight_1 = _ZERO
    top = high - 1 - low
    cell_0, cell_1 = _smaller(_larger(cell - low, 0), top), _smaller(_larger(cell + 1 - low, 0), top)
    return cell_0, cell_1, weight_0, weight_1


@cuda.jit(device=True, inline="always")
def _add(voxels: Any, index: int, weight: float, bounds: Any, lines: Any, total: Any, n_materials: int) -> None:
    """Add the weighted density of one voxel to the sum of its material."""
    h = np.float32(voxels[np.uint64(index)])  # an unsigned index spares the check for a negative one
    density = _larger(_smaller(lines[0] * h + lines[1], lines[2] * h + lines[3]), _ZERO) * weight
    for m in range(n_materials):
        total[m] += density if (h > bounds[np.uint64(m)]) & (h <= bounds[np.uint64(m + 1)]) else _ZERO


@cuda.jit(device=True, inline="always")
def _larger(one: Any, other: Any) -> Any:
    """The larger of two numbers; Numba's built-in CUDA target (0.68) cannot compile ``max``."""
    return one if one > other else other


@cuda.jit(device=True, inline="always")
def _smaller(one: Any, other: Any) -> Any:
    """The smaller of two numbers."""
    return one if one < other else other
