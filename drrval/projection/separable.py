"""Plane-driven projection for a panel that is parallel to two volume axes.

On every voxel plane along the driving axis the cone beam is then a pure scaling and shift, so bilinear sampling splits
into columns (once per voxel row) and rows (once per detector row). The detector is cut into tiles, one task each. A
tile walks through the planes in groups: the voxel rows it needs are read, decomposed into materials and resampled to
its columns in a small buffer; the buffer is then added, row by row, to the tile. Materials that a voxel row does not
hold are left out.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import get_num_threads, njit

from drrval.projection.frame import IndexFrame
from drrval.projection.sampling import FAST, density, typed_voxels
from drrval.projection.vector import LANES, PERMUTES, WIDEST_STEP, blend, pick, transpose

_TILE = (128, 1024)  # detector rows and columns of one task
_PAD = 16  # keeps neighbouring lines of a buffer from falling into the same set of the first-level cache
_GROUP = 8  # planes added to a tile in one go; _add_rows is written for this number, and it is vector.LANES
_SHORT_RUN = 3  # detector rows within one cell from which the first one and a step are cheaper than each by itself
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
    voxels = typed_voxels(values)

    def project(corner: tuple[int, int]) -> None:
        _project_tile(voxels, values.shape, driving, row_map, column_map, corner, bounds, lines, lengths, image)

    # One task per tile of the detector; every pixel is written by one task, so threads cannot change a bit. Compiling
    # the same loop with Numba's prange takes 8 s longer.
    corners = product(*(range(0, n, size) for n, size in zip(shape, _TILE, strict=True)))
    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(project, corners))
    return np.ascontiguousarray(image.swapaxes(1, 2)) if swapped else image


@njit(cache=True, nogil=True, fastmath=FAST)
def _project_tile(
    voxels: Any,
    shape: Any,
    driving: int,
    row_map: Any,
    column_map: Any,
    corner: Any,
    bounds: Any,
    lines: Any,
    lengths: Any,
    image: Any,
) -> None:
    """Walk through the planes in groups: resample the voxel rows that the tile sees, then add them to its rows."""
    row, column = corner
    part = image[:, row : row + _TILE[0], column : column + _TILE[1]]
    n_materials, n_rows, n_columns = part.shape
    gap, row_square, column_square = lengths
    fast = 1 if driving == 2 else 2
    n_planes, n_fast, n_slow = shape[driving], shape[fast], shape[3 - driving - fast]
    width = -(-n_columns // LANES) * LANES
    total = np.zeros((n_materials, n_rows, n_columns), np.float32)  # contiguous, which the vector code needs
    rows, row_weights = np.zeros((_GROUP, n_rows), np.uint32), np.zeros((2, _GROUP, n_rows), np.float32)
    columns, column_weights = np.zeros((_GROUP, width), np.uint32), np.zeros((2, _GROUP, width), np.float32)
    staged = np.zeros((_GROUP, n_fast + LANES + _PAD), np.float32)
    left, right = np.zeros((2, width), np.float32), np.zeros((2, width), np.float32)
    resampled = np.zeros((0, _GROUP, n_materials, width + _PAD), np.float32)
    present = np.zeros((0, _GROUP, n_materials), np.bool_)
    runs, slopes = np.zeros(n_rows, np.int64), np.zeros((2, _GROUP), np.float32)
    work = (slopes, np.zeros(n_columns, np.float32), np.zeros(n_columns, np.float32))
    for first in range(0, n_planes, _GROUP):
        n = min(_GROUP, n_planes - first)
        low_row, high_row = _place(row_map, first, n, row, n_slow, rows, row_weights)
        low, high = _place(column_map, first, n, column, n_fast, columns, column_weights)
        if high_row < 0 or high < 0:
            continue
        narrow = max(abs(column_map[1][first]), abs(column_map[1][first + n - 1])) < WIDEST_STEP
        height, count = high_row - low_row + 1, high - low + 1
        if height > len(resampled):
            resampled = np.zeros((height + 2, _GROUP, n_materials, width + _PAD), np.float32)
            present = np.zeros((height + 2, _GROUP, n_materials), np.bool_)
        for j in range(height):
            _stage(voxels, driving, first, n, low_row + j, low, count, staged)
            for p in range(n):
                weight0, weight1 = column_weights[0, p], column_weights[1, p]
                if n_materials == 1:
                    present[j, p, 0] = True
                    _densities(staged[p, :count], lines)
                    _blend(staged[p], columns[p], weight0, weight1, narrow, left, right, resampled[j, p, 0, :width])
                    continue
                _pick(staged[p], columns[p], narrow, left[0], right[0])
                _weigh(left, weight0, lines)
                _weigh(right, weight1, lines)
                least, most = _range(staged[p, :count])
                for m in range(n_materials):
                    present[j, p, m] = (most > bounds[m]) & (least <= bounds[m + 1])
                    if present[j, p, m]:
                        _select(left, right, bounds[m], bounds[m + 1], resampled[j, p, m, :width])
                    else:
                        resampled[j, p, m, :width] = np.float32(0.0)
        _find_runs(row_map, first, n, row, rows, runs)
        for m in range(n_materials):
            _add_rows(resampled, present, m, rows, row_weights, runs, work, total[m])
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
def _find_runs(row_map: Any, first: int, n: int, offset: int, cells: Any, runs: Any) -> None:
    """How many rows from each one on stay in their cell on every plane of the group, and so are linear in the row.

    Before the first voxel and behind the last one, cells go on by number only.
    """
    starts, steps = row_map
    runs[:] = 1
    for r in range(runs.size - 2, -1, -1):
        same = True
        for p in range(n):
            position = starts[first + p] + steps[first + p] * (offset + r)
            same &= cells[p, r] == cells[p, r + 1]
            same &= math.floor(position) == math.floor(position + steps[first + p])
        if same:
            runs[r] = runs[r + 1] + 1


@njit(cache=True, nogil=True)
def _stage(voxels: Any, driving: int, first: int, n: int, slow: int, low: int, count: int, staged: Any) -> None:
    """Fetch one voxel row along the fast axis on every plane of a group, as float32."""
    int16, uint8, float32 = voxels
    if int16.size:
        _fetch(int16, driving, first, n, slow, low, count, staged)
    elif uint8.size:
        _fetch(uint8, driving, first, n, slow, low, count, staged)
    else:
        _fetch(float32, driving, first, n, slow, low, count, staged)


@njit(cache=True, nogil=True)
def _fetch(values: Any, driving: int, first: int, n: int, slow: int, low: int, count: int, out: Any) -> None:
    done = 0
    if driving == 2 and n == _GROUP:
        done = count // LANES * LANES
        for i in range(0, done, LANES):
            transpose(values, slow, low + i, first, out, i)
    for p in range(n):
        target, plane, begin = out[p, done:count], first + p, low + done
        if driving == 2:
            _copy(values[slow, begin : low + count, plane], target)
        elif driving == 1:
            _copy(values[slow, plane, begin : low + count], target)
        else:
            _copy(values[plane, slow, begin : low + count], target)


@njit(cache=True, nogil=True)
def _copy(row: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = row[i]


@njit(cache=True, nogil=True, fastmath=FAST)
def _range(row: Any) -> Any:
    least, most = row[0], row[0]
    for i in range(row.size):
        least, most = min(least, row[i]), max(most, row[i])
    return least, most


@njit(cache=True, nogil=True, fastmath=FAST)
def _densities(row: Any, lines: Any) -> None:
    """Voxel values to densities, in place."""
    line = (lines[0], lines[1], lines[2], lines[3])
    for i in range(row.size):
        row[i] = density(row[i], line)


@njit(cache=True, nogil=True, fastmath=FAST)
def _pick_one_by_one(row: Any, cells: Any, left: Any, right: Any) -> None:
    for c in range(cells.size):
        left[c] = row[cells[c]]
        right[c] = row[cells[c] + np.uint32(1)]


@njit(cache=True, nogil=True, fastmath=FAST)
def _mix(left: Any, right: Any, weight0: Any, weight1: Any, out: Any) -> None:
    for c in range(out.size):
        out[c] = weight0[c] * left[c] + weight1[c] * right[c]


@njit(cache=True, nogil=True, fastmath=FAST)
def _pick_by_lanes(row: Any, cells: Any, narrow: bool, left: Any, right: Any) -> None:
    """Fetch both neighbours of each column."""
    if not narrow:
        _pick_one_by_one(row, cells, left, right)
        return
    for c in range(0, cells.size, LANES):
        pick(row, cells, c, left, right)


@njit(cache=True, nogil=True, fastmath=FAST)
def _blend_by_lanes(
    row: Any, cells: Any, weight0: Any, weight1: Any, narrow: bool, left: Any, right: Any, out: Any
) -> None:
    """Interpolate a row of densities along the columns."""
    if not narrow:
        _pick_one_by_one(row, cells, left[0], right[0])
        _mix(left[0], right[0], weight0, weight1, out)
        return
    for c in range(0, cells.size, LANES):
        blend(row, cells, weight0, weight1, c, out)


@njit(cache=True, nogil=True, fastmath=FAST)
def _pick_plainly(row: Any, cells: Any, narrow: bool, left: Any, right: Any) -> None:
    _pick_one_by_one(row, cells, left, right)


@njit(cache=True, nogil=True, fastmath=FAST)
def _blend_plainly(
    row: Any, cells: Any, weight0: Any, weight1: Any, narrow: bool, left: Any, right: Any, out: Any
) -> None:
    _pick_one_by_one(row, cells, left[0], right[0])
    _mix(left[0], right[0], weight0, weight1, out)


_pick = _pick_by_lanes if PERMUTES else _pick_plainly
_blend = _blend_by_lanes if PERMUTES else _blend_plainly


@njit(cache=True, nogil=True, fastmath=FAST)
def _weigh(side: Any, weight: Any, lines: Any) -> None:
    """Density times weight of the values in ``side[0]``, into ``side[1]``."""
    line = (lines[0], lines[1], lines[2], lines[3])
    h, d = side[0], side[1]
    for c in range(weight.size):
        d[c] = weight[c] * density(h[c], line)


@njit(cache=True, nogil=True, fastmath=FAST)
def _select(left: Any, right: Any, low: Any, high: Any, out: Any) -> None:
    """Keep the weighted densities of the neighbours whose value lies within one material."""
    h0, h1, d0, d1 = left[0], right[0], left[1], right[1]
    none = np.float32(0.0)
    for c in range(out.size):
        out[c] = (d0[c] if (h0[c] > low) & (h0[c] <= high) else none) + (
            d1[c] if (h1[c] > low) & (h1[c] <= high) else none
        )


@njit(cache=True, nogil=True, fastmath=FAST)
def _scale(line: Any, gap: float, row_square: float, column_square: Any, out: Any) -> None:
    """Times the length of each ray from plane to plane."""
    for c in range(out.size):
        out[c] = line[c] * np.float32(gap * math.sqrt(1.0 + row_square + column_square[c]))


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_rows(resampled: Any, present: Any, m: int, rows: Any, weights: Any, runs: Any, work: Any, out: Any) -> None:
    """Interpolate along the rows and add a whole group of planes to each detector row.

    The rows of a run are its first one plus multiples of a step, which is summed over the planes like a row itself.
    """
    slopes, value, step = work
    r = 0
    while r < out.shape[0]:
        n = runs[r]
        if n < _SHORT_RUN:
            _add_row(resampled, present, m, rows[:, r], weights[:, :, r], out[r])
            r += 1
            continue
        for side in range(2):  # an array expression would take four seconds more to compile
            for p in range(_GROUP):
                slopes[side, p] = (weights[side, p, r + n - 1] - weights[side, p, r]) / np.float32(n - 1)
        value[:] = np.float32(0.0)
        step[:] = np.float32(0.0)
        _add_row(resampled, present, m, rows[:, r], weights[:, :, r], value)
        _add_row(resampled, present, m, rows[:, r], slopes, step)
        for k in range(n):
            _add_line(value, step, np.float32(k), out[r + k])
        r += n


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_line(value: Any, step: Any, k: Any, line: Any) -> None:
    for c in range(line.size):
        line[c] += value[c] + k * step[c]


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_row(resampled: Any, present: Any, m: int, cells: Any, weights: Any, line: Any) -> None:
    """Add a group of planes to one detector row."""
    w0, w1 = weights[0], weights[1]
    for p in range(0, _GROUP, 4):
        j0, j1, j2, j3 = cells[p], cells[p + 1], cells[p + 2], cells[p + 3]
        if not (
            (present[j0, p, m] | present[j0 + 1, p, m])
            | (present[j1, p + 1, m] | present[j1 + 1, p + 1, m])
            | (present[j2, p + 2, m] | present[j2 + 1, p + 2, m])
            | (present[j3, p + 3, m] | present[j3 + 1, p + 3, m])
        ):
            continue
        a0, b0 = resampled[j0, p, m], resampled[j0 + 1, p, m]
        a1, b1 = resampled[j1, p + 1, m], resampled[j1 + 1, p + 1, m]
        a2, b2 = resampled[j2, p + 2, m], resampled[j2 + 1, p + 2, m]
        a3, b3 = resampled[j3, p + 3, m], resampled[j3 + 1, p + 3, m]
        u0, u1, u2, u3 = w0[p], w0[p + 1], w0[p + 2], w0[p + 3]
        v0, v1, v2, v3 = w1[p], w1[p + 1], w1[p + 2], w1[p + 3]
        for c in range(line.size):
            line[c] += (u0 * a0[c] + v0 * b0[c] + u1 * a1[c] + v1 * b1[c]) + (
                u2 * a2[c] + v2 * b2[c] + u3 * a3[c] + v3 * b3[c]
            )
