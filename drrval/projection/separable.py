"""Plane-driven projection for a panel that is parallel to two volume axes.

On every voxel plane along the driving axis the cone beam is then a pure scaling and shift, so bilinear sampling splits
into columns (once per voxel row) and rows (once per detector row). The detector is cut into tiles, one task each. A
tile walks through the planes in groups: the voxel rows it needs are read, decomposed into materials and resampled to
its columns in a small buffer; the buffer is then added, row by row, to the tile.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from drrval.projection.frame import IndexFrame
from drrval.projection.sampling import FAST, density, typed_voxels

_TILE = (128, 512)  # detector rows and columns of one task: its buffers fit the second-level cache
_PAD = 16  # keeps neighbouring lines of a buffer from falling into the same set of the first-level cache
_GROUP = 8  # planes added to a tile in one go; _add_rows is written for this number
_FAST_AXIS = (2, 2, 1)  # driving axis -> array axis that is resampled first: x, which is contiguous, where it can be


def project_separable(
    values: npt.NDArray[Any],
    frame: IndexFrame,
    axes: tuple[int, int],
    bounds: npt.NDArray[np.float32],
    lines: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Area density of every material, float32 ``[material, row, col]``, in density unit x cm.

    Args:
        values: C-contiguous ``[z, y, x]`` voxel values.
        frame: the view in the indices of ``values``.
        axes: array axes of increasing row and increasing column (``IndexFrame.separable_axes``).
        bounds, lines: ``DensityModel.kernel_tables``.
    """
    driving, fast = frame.driving_axis, _FAST_AXIS[frame.driving_axis]
    slow = 3 - driving - fast
    swapped = axes[1] != fast  # the panel's rows run along the fast axis: make the transposed image
    steps = (frame.column_step, frame.row_step) if swapped else (frame.row_step, frame.column_step)
    shape = frame.detector_shape[::-1] if swapped else frame.detector_shape
    planes = np.arange(frame.shape[driving], dtype=float)
    depth = (planes - frame.source[driving]) / (frame.corner[driving] - frame.source[driving])
    start = frame.source + depth[:, None] * (frame.corner - frame.source)
    image = np.empty((len(bounds) - 1, *shape), dtype=np.float32)
    row_map = (start[:, slow], depth * steps[0][slow])
    column_map = (start[:, fast], depth * steps[1][fast])
    row_square = frame.slope_squared(slow, steps[0][slow], shape[0])
    column_square = frame.slope_squared(fast, steps[1][fast], shape[1])
    lengths = (float(frame.spacing_cm[driving]), row_square, column_square)
    _project(typed_voxels(values), values.shape, driving, row_map, column_map, bounds, lines, lengths, _TILE, image)
    return np.ascontiguousarray(image.swapaxes(1, 2)) if swapped else image


@njit(cache=True, parallel=True, nogil=True)
def _project(
    voxels: Any,
    shape: Any,
    driving: int,
    row_map: Any,
    column_map: Any,
    bounds: Any,
    lines: Any,
    lengths: Any,
    tile: Any,
    image: Any,
) -> None:
    """One task per tile of the detector; every pixel is written by one task, so threads cannot change a bit."""
    n_tiles_across = -(-image.shape[2] // tile[1])
    n_tiles = -(-image.shape[1] // tile[0]) * n_tiles_across
    for t in prange(n_tiles):
        row, column = t // n_tiles_across * tile[0], t % n_tiles_across * tile[1]
        part = image[:, row : row + tile[0], column : column + tile[1]]
        _project_tile(voxels, shape, driving, row_map, column_map, row, column, bounds, lines, lengths, part)


@njit(cache=True, nogil=True, fastmath=FAST)
def _project_tile(
    voxels: Any,
    shape: Any,
    driving: int,
    row_map: Any,
    column_map: Any,
    row: int,
    column: int,
    bounds: Any,
    lines: Any,
    lengths: Any,
    part: Any,
) -> None:
    """Walk through the planes in groups: resample the voxel rows that the tile sees, then add them to its rows."""
    n_materials, n_rows, n_columns = part.shape
    gap, row_square, column_square = lengths
    fast = 1 if driving == 2 else 2
    n_planes, n_fast, n_slow = shape[driving], shape[fast], shape[3 - driving - fast]
    total = np.zeros((n_materials, n_rows, n_columns), np.float32)  # contiguous, which the vector code needs
    rows, row_weights = np.zeros((_GROUP, n_rows), np.uint32), np.zeros((2, _GROUP, n_rows), np.float32)
    columns, column_weights = np.zeros((_GROUP, n_columns), np.uint32), np.zeros((2, _GROUP, n_columns), np.float32)
    staged = np.empty((_GROUP, 4, n_fast), np.float32)
    quads, picked = np.empty(4 * n_fast, np.float32), np.empty((2, 4 * n_columns), np.float32)
    scratch = np.empty((4, 4, n_columns), np.float32)
    resampled = np.zeros((4, _GROUP, n_materials, n_columns + _PAD), np.float32)
    for first in range(0, n_planes, _GROUP):
        n = min(_GROUP, n_planes - first)
        low_row, high_row = _place(row_map, first, n, row, n_slow, rows, row_weights)
        low, high = _place(column_map, first, n, column, n_fast, columns, column_weights)
        if high_row < 0 or high < 0:
            continue
        height = high_row - low_row + 1
        if height + 3 > resampled.shape[0]:
            resampled = np.zeros((height + 5, _GROUP, n_materials, n_columns + _PAD), np.float32)
        for j in range(0, height, 4):
            for k in range(4):
                slow = min(low_row + j + k, high_row)
                _stage(voxels, driving, first, n, slow, low, high, lines, n_materials == 1, k, staged)
            for p in range(n):
                _pick(staged[p], high - low + 1, quads, columns[p], picked)
                if n_materials == 1:
                    _mix(picked, column_weights[0, p], column_weights[1, p], j, p, resampled)
                    continue
                _weigh(picked, column_weights[0, p], column_weights[1, p], lines, scratch)
                for k in range(4):
                    for m in range(n_materials):
                        _select(scratch, k, bounds[m], bounds[m + 1], resampled[j + k, p, m, :n_columns])
        for m in range(n_materials):
            _add_rows(resampled, m, rows, row_weights, total[m])
    for m in range(n_materials):
        for r in range(n_rows):
            _scale(total[m, r], gap, row_square[row + r], column_square[column : column + n_columns], part[m, r])


@njit(cache=True, nogil=True, fastmath=FAST)
def _place(mapping: Any, first: int, n: int, offset: int, size: int, index: Any, weights: Any) -> Any:
    """Cell and weights of every detector row (or column) on each plane of a group, and the range of cells used."""
    starts, steps = mapping
    count = index.shape[1]
    low, high = size, -1
    for p in range(n):
        step = steps[first + p]
        start = starts[first + p] + step * offset
        cells, weight0, weight1 = index[p], weights[0, p], weights[1, p]
        for i in range(count):
            position = start + step * i
            cell = min(max(math.floor(position), 0), size - 2)
            cells[i] = cell
            weight0[i] = max(0.0, 1.0 - abs(position - cell))
            weight1[i] = max(0.0, 1.0 - abs(position - cell - 1.0))
        last = start + step * (count - 1)
        if max(start, last) > -1.0 and min(start, last) < size:
            low = min(low, min(cells[0], cells[count - 1]))
            high = max(high, max(cells[0], cells[count - 1]) + 1)
    weights[:, n:] = np.float32(0.0)
    index[n:] = 0
    for p in range(n):
        for i in range(count):
            index[p, i] = min(max(index[p, i], low), high - 1) - low
    return low, high


@njit(cache=True, nogil=True)
def _stage(
    voxels: Any,
    driving: int,
    first: int,
    n: int,
    slow: int,
    low: int,
    high: int,
    lines: Any,
    decompose: bool,
    k: int,
    staged: Any,
) -> None:
    int16, uint8, float32 = voxels
    for p in range(n):
        target = staged[p, k, : high - low + 1]
        if int16.size:
            _read(int16, driving, first + p, slow, low, lines, decompose, target)
        elif uint8.size:
            _read(uint8, driving, first + p, slow, low, lines, decompose, target)
        else:
            _read(float32, driving, first + p, slow, low, lines, decompose, target)


@njit(cache=True, nogil=True)
def _read(values: Any, driving: int, plane: int, slow: int, low: int, lines: Any, decompose: bool, out: Any) -> None:
    """Fetch one voxel row along the fast axis, whichever axes drive."""
    if driving == 2:
        _convert(values[slow, low : low + out.size, plane], lines, decompose, out)
    elif driving == 1:
        _convert(values[slow, plane, low : low + out.size], lines, decompose, out)
    else:
        _convert(values[plane, slow, low : low + out.size], lines, decompose, out)


@njit(cache=True, nogil=True, fastmath=FAST)
def _convert(row: Any, lines: Any, decompose: bool, out: Any) -> None:
    """Voxel values to float32; to densities where there is one material."""
    if not decompose:
        for i in range(out.size):
            out[i] = row[i]
        return
    line = (lines[0], lines[1], lines[2], lines[3])
    for i in range(out.size):
        out[i] = density(np.float32(row[i]), line)


@njit(cache=True, nogil=True, fastmath=FAST)
def _scale(line: Any, gap: float, row_square: float, column_square: Any, out: Any) -> None:
    """Times the length of each ray from plane to plane."""
    for c in range(out.size):
        out[c] = line[c] * np.float32(gap * math.sqrt(1.0 + row_square + column_square[c]))


@njit(cache=True, nogil=True, fastmath=FAST)
def _pick(staged: Any, n: int, quads: Any, cells: Any, picked: Any) -> None:
    """Fetch both neighbours of each column: four voxel rows are interleaved, so that one 16-byte load gets all four."""
    r0, r1, r2, r3 = staged[0], staged[1], staged[2], staged[3]
    for i in range(n):
        quads[4 * i] = r0[i]
        quads[4 * i + 1] = r1[i]
        quads[4 * i + 2] = r2[i]
        quads[4 * i + 3] = r3[i]
    source, left, right = quads.view(np.complex128), picked[0].view(np.complex128), picked[1].view(np.complex128)
    for c in range(cells.size):
        left[c] = source[cells[c]]
    for c in range(cells.size):
        right[c] = source[cells[c] + np.uint32(1)]


@njit(cache=True, nogil=True, fastmath=FAST)
def _split(quads: Any, out: Any) -> None:
    """Undo the interleaving of four voxel rows."""
    o0, o1, o2, o3 = out[0], out[1], out[2], out[3]
    for c in range(o0.size):
        o0[c] = quads[4 * c]
        o1[c] = quads[4 * c + 1]
        o2[c] = quads[4 * c + 2]
        o3[c] = quads[4 * c + 3]


@njit(cache=True, nogil=True, fastmath=FAST)
def _mix(picked: Any, weight0: Any, weight1: Any, j: int, p: int, out: Any) -> None:
    """One material: interpolate four interleaved voxel rows of densities along the columns."""
    left, right = picked[0], picked[1]
    o0, o1, o2, o3 = out[j, p, 0], out[j + 1, p, 0], out[j + 2, p, 0], out[j + 3, p, 0]
    for c in range(weight0.size):
        o0[c] = weight0[c] * left[4 * c] + weight1[c] * right[4 * c]
        o1[c] = weight0[c] * left[4 * c + 1] + weight1[c] * right[4 * c + 1]
        o2[c] = weight0[c] * left[4 * c + 2] + weight1[c] * right[4 * c + 2]
        o3[c] = weight0[c] * left[4 * c + 3] + weight1[c] * right[4 * c + 3]


@njit(cache=True, nogil=True, fastmath=FAST)
def _weigh(picked: Any, weight0: Any, weight1: Any, lines: Any, scratch: Any) -> None:
    """Several materials: value, and density times weight, of both neighbours of each column."""
    line = (lines[0], lines[1], lines[2], lines[3])
    for side in range(2):
        weight = weight1 if side else weight0
        _split(picked[side], scratch[side])
        for k in range(4):
            h, d = scratch[side, k], scratch[2 + side, k]
            for c in range(weight.size):
                d[c] = weight[c] * density(h[c], line)


@njit(cache=True, nogil=True, fastmath=FAST)
def _select(scratch: Any, k: int, low: Any, high: Any, out: Any) -> None:
    """Keep the weighted densities of the neighbours whose value lies within one material."""
    h0, h1, d0, d1 = scratch[0, k], scratch[1, k], scratch[2, k], scratch[3, k]
    none = np.float32(0.0)
    for c in range(out.size):
        out[c] = (d0[c] if (h0[c] > low) & (h0[c] <= high) else none) + (
            d1[c] if (h1[c] > low) & (h1[c] <= high) else none
        )


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_rows(resampled: Any, m: int, rows: Any, weights: Any, out: Any) -> None:
    """Interpolate along the rows and add a whole group of planes to each detector row in one pass."""
    w0, w1 = weights[0], weights[1]
    for r in range(out.shape[0]):
        line = out[r]
        for p in range(0, _GROUP, 4):
            j0, j1, j2, j3 = rows[p, r], rows[p + 1, r], rows[p + 2, r], rows[p + 3, r]
            a0, b0 = resampled[j0, p, m], resampled[j0 + 1, p, m]
            a1, b1 = resampled[j1, p + 1, m], resampled[j1 + 1, p + 1, m]
            a2, b2 = resampled[j2, p + 2, m], resampled[j2 + 1, p + 2, m]
            a3, b3 = resampled[j3, p + 3, m], resampled[j3 + 1, p + 3, m]
            u0, u1, u2, u3 = w0[p, r], w0[p + 1, r], w0[p + 2, r], w0[p + 3, r]
            v0, v1, v2, v3 = w1[p, r], w1[p + 1, r], w1[p + 2, r], w1[p + 3, r]
            for c in range(line.size):
                line[c] += (u0 * a0[c] + v0 * b0[c] + u1 * a1[c] + v1 * b1[c]) + (
                    u2 * a2[c] + v2 * b2[c] + u3 * a3[c] + v3 * b3[c]
                )
