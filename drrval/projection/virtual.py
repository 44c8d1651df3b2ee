"""Any pose by way of a panel parallel to the voxel planes.

A ray is the same ray wherever it is sampled. So the view is projected onto a virtual panel through the same source
that is parallel to two volume axes, where :mod:`drrval.projection.separable` is at its fastest, and the real panel
looks its values up there: its pixels map to the virtual panel by a homography. This is the shear-warp factorisation
(P. Lacroute & M. Levoy, SIGGRAPH 1994, doi:10.1145/192161.192283) with the warp last. The look-up is cubic (R. G.
Keys, IEEE Trans Acoust Speech Signal Process 29 (1981) 1153-1160) on samples no coarser than the panel's own pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from drrval.projection.frame import IndexFrame
from drrval.projection.separable import project_separable

_MARGIN = 2  # samples around what is needed, for the cubic kernel
_COARSEST = 0.125  # of a voxel: finer than the kinks of bilinear interpolation, which the look-up would round off


def project_virtual(
    values: npt.NDArray[Any],
    frame: IndexFrame,
    bounds: npt.NDArray[np.float32],
    lines: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Area density of every material, float32 ``[material, row, col]``, in density unit x cm.

    Rays that run closest to different volume axes take turns: one virtual panel for each of these axes.

    Args:
        values: C-contiguous ``[z, y, x]`` voxel values.
        frame: the view in the indices of ``values``; ``frame.source_clear_of_planes()`` must hold.
        bounds, lines: ``DensityModel.kernel_tables``.
    """
    image = np.zeros((len(bounds) - 1, *frame.detector_shape), dtype=np.float32)
    axes = frame.driving_axes()
    for axis in np.unique(axes):
        wanted = axes == axis
        rows, columns = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
        panel = _virtual_panel(frame, int(axis), (rows[0], rows[-1]), (columns[0], columns[-1]))
        if panel is None:
            continue
        across = [i for i in range(3) if i != axis]
        virtual = project_separable(values, panel, (across[0], across[1]), bounds, lines)
        _look_up(virtual, _homography(frame, panel), wanted, image)
    return image


def _virtual_panel(frame: IndexFrame, axis: int, rows: tuple[int, int], columns: tuple[int, int]) -> IndexFrame | None:
    """A panel on a plane of ``axis`` that holds what pixels of these first and last rows and columns see."""
    across = [i for i in range(3) if i != axis]
    plane = (frame.shape[axis] - 1) / 2.0
    corners = frame.pixel_index(np.repeat(rows, 2), np.tile(columns, 2))
    seen = _on_plane(frame, corners, axis, plane)
    reach = [(0.0, n - 1.0) if i == axis else (-1.0, float(n)) for i, n in enumerate(frame.shape)]
    shadow = _on_plane(frame, np.array(list(product(*reach))), axis, plane)
    low, high = np.maximum(seen.min(axis=0), shadow.min(axis=0)), np.minimum(seen.max(axis=0), shadow.max(axis=0))
    if np.any(high < low):
        return None
    middle = frame.pixel_index(np.array([np.mean(rows)]), np.array([np.mean(columns)]))
    near = np.concatenate([middle, middle + frame.row_step, middle + frame.column_step])
    on_plane = _on_plane(frame, near, axis, plane)
    pixel = np.abs(on_plane[1:] - on_plane[0]).max(axis=0)
    per_voxel = np.ceil(1.0 / np.minimum(pixel, _COARSEST))
    steps, low = 1.0 / per_voxel, np.floor(low * per_voxel) / per_voxel  # in step with the voxels, whatever their order
    counts = np.ceil((high - low) / steps).astype(int) + 1 + 2 * _MARGIN
    corner, row_step, column_step = np.zeros(3), np.zeros(3), np.zeros(3)
    corner[axis], corner[across] = plane, low - _MARGIN * steps
    row_step[across[0]], column_step[across[1]] = steps
    return replace(
        frame,
        corner=corner,
        row_step=row_step,
        column_step=column_step,
        detector_shape=(int(counts[0]), int(counts[1])),
        driving_axis=axis,
    )


def _on_plane(frame: IndexFrame, points: npt.NDArray[np.float64], axis: int, plane: float) -> npt.NDArray[np.float64]:
    """Where rays through ``points`` (n, 3) cross a plane: (n, 2), the indices of the other two axes."""
    rays = points - frame.source
    crossing = frame.source + rays * ((plane - frame.source[axis]) / rays[:, axis])[:, None]
    return np.delete(crossing, axis, axis=1)


def _homography(frame: IndexFrame, panel: IndexFrame) -> npt.NDArray[np.float64]:
    """Matrix (3, 3) from (row, column, 1) of the frame's panel to homogeneous (row, column, 1) of the virtual one."""
    axis = panel.driving_axis
    across = [i for i in range(3) if i != axis]
    rays = np.stack([frame.row_step, frame.column_step, frame.corner - frame.source], axis=1)  # index vectors
    depth = panel.corner[axis] - frame.source[axis]
    steps = (panel.row_step[across[0]], panel.column_step[across[1]])
    lines = [
        (depth * rays[i] + (frame.source[i] - panel.corner[i]) * rays[axis]) / step
        for i, step in zip(across, steps, strict=True)
    ]
    return np.stack([*lines, rays[axis]])


@njit(cache=True, parallel=True, nogil=True)
def _look_up(virtual: Any, homography: Any, wanted: Any, image: Any) -> None:
    """Cubic interpolation of the virtual image at each wanted pixel; zero beyond it."""
    n_rows, n_columns = virtual.shape[1] - 3, virtual.shape[2] - 3
    for r in prange(image.shape[1]):
        row_weights, column_weights = np.empty(4, np.float32), np.empty(4, np.float32)
        for c in range(image.shape[2]):
            if not wanted[r, c]:
                continue
            scale = 1.0 / (homography[2, 0] * r + homography[2, 1] * c + homography[2, 2])
            y = (homography[0, 0] * r + homography[0, 1] * c + homography[0, 2]) * scale
            x = (homography[1, 0] * r + homography[1, 1] * c + homography[1, 2]) * scale
            i, j = math.floor(y) - 1, math.floor(x) - 1
            if i < 0 or j < 0 or i >= n_rows or j >= n_columns:
                continue
            _cubic(np.float32(y - i - 1), row_weights)
            _cubic(np.float32(x - j - 1), column_weights)
            for m in range(image.shape[0]):
                total = np.float32(0.0)
                for k in range(4):
                    line = virtual[m, i + k]
                    total += row_weights[k] * (
                        column_weights[0] * line[j]
                        + column_weights[1] * line[j + 1]
                        + column_weights[2] * line[j + 2]
                        + column_weights[3] * line[j + 3]
                    )
                image[m, r, c] = max(total, np.float32(0.0))


@njit(inline="always")
def _cubic(t: Any, weights: Any) -> None:
    """Keys' cubic convolution weights (a = -1/2) of the four samples around a fraction ``t`` of a step."""
    half, one = np.float32(0.5), np.float32(1.0)
    s = one - t
    weights[0] = -half * t * s * s
    weights[1] = one + half * t * t * (np.float32(3.0) * t - np.float32(5.0))
    weights[2] = one + half * s * s * (np.float32(3.0) * s - np.float32(5.0))
    weights[3] = -half * s * t * t
