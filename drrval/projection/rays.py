"""Plane-driven projection for any pose: every ray steps from plane to plane of its own driving axis.

The discrete model is that of :mod:`drrval.projection.separable`. Rays that share a detector row and a driving axis are
taken together, and each step (locate, gather, weigh, add) is one loop over them that compiles to vector code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from drrval.projection.frame import IndexFrame
from drrval.projection.sampling import FAST, density, typed_voxels

_TILE = (16, 256)  # detector rows and columns of one task: its voxels stay in the cache from row to row


def project_rays(
    values: npt.NDArray[Any],
    frame: IndexFrame,
    bounds: npt.NDArray[np.float32],
    lines: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Area density of every material, float32 ``[material, row, col]``, in density unit x cm.

    Args:
        values: C-contiguous ``[z, y, x]`` voxel values.
        frame: the view in the indices of ``values``.
        bounds, lines: ``DensityModel.kernel_tables``.
    """
    image = np.zeros((len(bounds) - 1, *frame.detector_shape), dtype=np.float32)
    pose = (frame.source, frame.corner, frame.row_step, frame.column_step, frame.spacing_cm)
    _project(typed_voxels(values.reshape(-1)), values.shape, pose, bounds, lines, _TILE, image)
    return image


@njit(cache=True, parallel=True, nogil=True)
def _project(voxels: Any, shape: Any, pose: Any, bounds: Any, lines: Any, tile: Any, image: Any) -> None:
    n_tiles_across = -(-image.shape[2] // tile[1])
    n_tiles = -(-image.shape[1] // tile[0]) * n_tiles_across
    for t in prange(n_tiles):
        row, column = t // n_tiles_across * tile[0], t % n_tiles_across * tile[1]
        end = min(column + tile[1], image.shape[2])
        work = np.empty((12, tile[1]), np.float32)
        cells = np.empty(tile[1], np.uint32)
        for r in range(row, min(row + tile[0], image.shape[1])):
            _project_row(voxels, shape, pose, r, column, bounds, lines, work, cells, image[:, r, column:end])


@njit(cache=True, nogil=True)
def _project_row(
    voxels: Any, shape: Any, pose: Any, row: int, column: int, bounds: Any, lines: Any, work: Any, cells: Any, out: Any
) -> None:
    source, corner, row_step, column_step, spacing = pose
    n = out.shape[1]
    rays = np.empty((n, 3))
    axes = np.empty(n, np.int64)  # driving axis of each ray, less 3 where the ray runs down that axis
    lengths = np.empty(n)  # cm from plane to plane
    for c in range(n):
        square, longest = 0.0, 0.0
        for i in range(3):
            rays[c, i] = corner[i] - source[i] + row * row_step[i] + (column + c) * column_step[i]
            reach = abs(rays[c, i]) * spacing[i]
            square += reach**2
            if reach > longest:
                longest = reach
                axes[c] = i if rays[c, i] > 0 else i - 3
        lengths[c] = math.sqrt(square) / abs(rays[c, axes[c]])
    first = 0
    while first < n:
        last = first + 1
        while last < n and axes[last] == axes[first]:
            last += 1
        total = np.zeros((out.shape[0], last - first), np.float32)
        _march(voxels, shape, source, rays[first:last], axes[first], bounds, lines, work, cells, total)
        for c in range(first, last):
            for m in range(out.shape[0]):
                out[m, c] = total[m, c - first] * lengths[c]
        first = last


@njit(cache=True, nogil=True)
def _march(
    voxels: Any,
    shape: Any,
    source: Any,
    rays: Any,
    axis: int,
    bounds: Any,
    lines: Any,
    work: Any,
    cells: Any,
    total: Any,
) -> None:
    forward = axis >= 0
    driving = axis % 3
    a, b = (driving + 1) % 3, (driving + 2) % 3
    strides = (shape[1] * shape[2], shape[2], 1)
    slope_a, slope_b = rays[:, a] / rays[:, driving], rays[:, b] / rays[:, driving]
    start = max(0, math.floor(source[driving]) + 1) if forward else 0
    stop = shape[driving] if forward else min(shape[driving], math.ceil(source[driving]))
    for k in range(start, stop):
        depth = k - source[driving]
        low, high = 0, slope_a.size
        while low < high and _misses(source, a, b, depth, slope_a[low], slope_b[low], shape):
            low += 1
        while high > low and _misses(source, a, b, depth, slope_a[high - 1], slope_b[high - 1], shape):
            high -= 1
        if low == high:
            continue
        span = high - low
        _locate(source[a], depth, slope_a[low:high], shape[a], strides[a], True, work[0], work[1], cells)
        _locate(source[b], depth, slope_b[low:high], shape[b], strides[b], False, work[2], work[3], cells)
        _read(voxels, k * strides[driving], cells, strides[a], strides[b], span, work)
        _weigh(work, span, lines)
        for m in range(total.shape[0]):
            _add(work, span, bounds[m], bounds[m + 1], total[m, low:high])


@njit(cache=True, nogil=True)
def _misses(source: Any, a: int, b: int, depth: float, slope_a: float, slope_b: float, shape: Any) -> bool:
    at_a, at_b = source[a] + depth * slope_a, source[b] + depth * slope_b
    return at_a <= -1.0 or at_a >= shape[a] or at_b <= -1.0 or at_b >= shape[b]


@njit(cache=True, nogil=True, fastmath=FAST)
def _locate(
    origin: float,
    depth: float,
    slopes: Any,
    size: int,
    stride: int,
    fresh: bool,
    weight0: Any,
    weight1: Any,
    cells: Any,
) -> None:
    for c in range(slopes.size):
        position = origin + depth * slopes[c]
        cell = min(max(math.floor(position), 0), size - 2)
        weight0[c] = max(0.0, 1.0 - abs(position - cell))
        weight1[c] = max(0.0, 1.0 - abs(position - cell - 1.0))
        cells[c] = cell * stride if fresh else cells[c] + cell * stride


@njit(cache=True, nogil=True)
def _read(voxels: Any, start: int, cells: Any, step_a: int, step_b: int, n: int, work: Any) -> None:
    int16, uint8, float32 = voxels
    for corner in range(4):
        at = start + (corner & 1) * step_a + (corner >> 1) * step_b
        if int16.size:
            _gather(int16[at:], cells, work[4 + corner, :n])
        elif uint8.size:
            _gather(uint8[at:], cells, work[4 + corner, :n])
        else:
            _gather(float32[at:], cells, work[4 + corner, :n])


@njit(cache=True, nogil=True)
def _gather(values: Any, cells: Any, out: Any) -> None:
    for c in range(out.size):
        out[c] = values[cells[c]]


@njit(cache=True, nogil=True, fastmath=FAST)
def _weigh(work: Any, n: int, lines: Any) -> None:
    line = (lines[0], lines[1], lines[2], lines[3])
    for corner in range(4):
        weight_a, weight_b, h, d = work[corner & 1], work[2 + (corner >> 1)], work[4 + corner], work[8 + corner]
        for c in range(n):
            d[c] = weight_a[c] * weight_b[c] * density(h[c], line)


@njit(cache=True, nogil=True, fastmath=FAST)
def _add(work: Any, n: int, low: Any, high: Any, out: Any) -> None:
    h0, h1, h2, h3 = work[4], work[5], work[6], work[7]
    d0, d1, d2, d3 = work[8], work[9], work[10], work[11]
    none = np.float32(0.0)
    for c in range(n):
        s0 = d0[c] if (h0[c] > low) & (h0[c] <= high) else none
        s1 = d1[c] if (h1[c] > low) & (h1[c] <= high) else none
        s2 = d2[c] if (h2[c] > low) & (h2[c] <= high) else none
        s3 = d3[c] if (h3[c] > low) & (h3[c] <= high) else none
        out[c] += (s0 + s1) + (s2 + s3)
