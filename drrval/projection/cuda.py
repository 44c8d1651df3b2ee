"""Plane-driven projection on an NVIDIA GPU: a batch of views per call, the volume in slabs where it is too large.

The discrete model is that of :mod:`drrval.projection.rays`; the kernel is :mod:`drrval.projection.cuda_kernel`. Both
are imported only when this backend is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.errors import BackendError, DrrvalError
from drrval.projection.frame import IndexFrame

_BLOCK = (32, 8)  # columns and rows of one thread block: a warp is 32 neighbouring columns
_MEMORY_SHARE = 0.8  # of the free GPU memory; the rest is left to the kernel and to other programs
REMEDY = "Install an NVIDIA driver and pip install 'drrval[cuda]', or use backend='auto' (CPU)."


def project_cuda(
    values: npt.NDArray[Any],
    frames: Sequence[IndexFrame],
    bounds: npt.NDArray[np.float32],
    lines: npt.NDArray[np.float32],
    *,
    slab_bytes: int | None = None,
) -> npt.NDArray[np.float32]:
    """Area density of every material in every view, float32 ``[view, material, row, col]``, in density unit x cm.

    The voxels are uploaded once for all views, in their own type. Views and slabs are summed on the GPU.

    Args:
        values: C-contiguous int16, uint8 or float32 ``[z, y, x]`` voxel values.
        frames: the views in the indices of ``values``, all with the same number of rows and columns.
        bounds, lines: ``DensityModel.kernel_tables``.
        slab_bytes: largest part of the volume on the GPU at a time, bytes; by default what its free memory allows. At
            least one slice is taken.

    Raises:
        BackendError: no usable GPU, images that do not fit its memory, or a driver that refuses.
        DrrvalError: no view, or views of different detector shapes.
    """
    shapes = {frame.detector_shape for frame in frames}
    if len(shapes) != 1:
        raise DrrvalError(
            f"A batch needs views of one detector shape, but these {len(frames)} have {sorted(shapes)}. "
            "Project views of each shape in a call of their own."
        )
    if problem := cuda_problem():
        raise BackendError(f"Backend 'cuda' cannot run: {problem} {REMEDY}")
    try:
        return _project(values, kernel_poses(frames), shapes.pop(), bounds, lines, slab_bytes)
    except Exception as error:
        if not type(error).__module__.startswith("numba.cuda"):
            raise
        raise BackendError(
            f"The GPU refused the projection: {type(error).__name__}: {error}. Check that the driver (nvidia-smi) is "
            "recent enough for the installed CUDA packages (drrval doctor), or use backend='auto' (CPU)."
        ) from error


def _project(
    values: npt.NDArray[Any],
    poses: npt.NDArray[np.float64],
    detector_shape: tuple[int, int],
    bounds: npt.NDArray[np.float32],
    lines: npt.NDArray[np.float32],
    slab_bytes: int | None,
) -> npt.NDArray[np.float32]:
    from numba import cuda

    from drrval.projection.cuda_kernel import projection_kernel

    shape = (len(poses), len(bounds) - 1, *detector_shape)
    slice_bytes = values[0].nbytes
    room = _MEMORY_SHARE * cuda.current_context().get_memory_info().free - 4 * math.prod(shape)
    if room < slice_bytes:
        raise BackendError(
            f"Images of shape {shape} ([view, material, row, col]) do not fit the free memory of the GPU beside one "
            "slice of the volume. Project fewer views per call, or free GPU memory."
        )
    budget = room if slab_bytes is None else min(room, slab_bytes)
    thickness = int(max(1, min(len(values), budget // slice_bytes)))

    image = cuda.device_array(shape, np.float32)
    slab = cuda.device_array(thickness * values[0].size, values.dtype)
    inputs = [cuda.to_device(table) for table in (poses, bounds, lines)]
    project = projection_kernel(shape[1])[launch_shape(shape)]
    for begin in range(0, len(values), thickness):
        part = values[begin : begin + thickness]
        slab[: part.size].copy_to_device(part.reshape(-1))
        project(slab, begin, begin + len(part), values.shape, *inputs, image)
    result: npt.NDArray[np.float32] = image.copy_to_host()
    return result


def cuda_problem() -> str | None:
    """What keeps this backend from running here, as a sentence; None if it can run."""
    try:
        from numba import cuda
    except ImportError as error:
        return f"numba.cuda cannot be imported ({error})."
    if cuda.is_available():
        return None
    driver = cuda.cuda_error()
    if driver:
        return f"no NVIDIA driver or GPU was found ({' '.join(str(driver).split())})."
    return "the CUDA compiler library NVVM was not found."


def kernel_poses(frames: Sequence[IndexFrame]) -> npt.NDArray[np.float64]:
    """Views as the kernel takes them, ``[view, 5, (z, y, x)]``: source, corner, row and column step, spacing in cm."""
    return np.stack([[f.source, f.corner, f.row_step, f.column_step, f.spacing_cm] for f in frames])


def launch_shape(image_shape: tuple[int, ...]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Thread blocks, and threads of a block, over (columns, rows, views) of a ``[view, material, row, col]`` image."""
    views, _, rows, columns = image_shape
    return (-(-columns // _BLOCK[0]), -(-rows // _BLOCK[1]), views), (*_BLOCK, 1)
