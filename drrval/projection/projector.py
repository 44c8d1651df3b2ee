"""Line integrals of every material along every ray of a view."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.errors import BackendError, DrrvalError, GeometryError
from drrval.geometry import Geometry
from drrval.projection.frame import AXIS_NAMES, index_frame
from drrval.projection.model import DensityModel
from drrval.projection.rays import project_rays
from drrval.projection.sampling import DTYPES
from drrval.projection.separable import project_separable
from drrval.projection.virtual import project_virtual
from drrval.volume import Grid

CPU_BACKENDS = ("auto", "separable", "virtual", "ray")
BACKENDS = (*CPU_BACKENDS, "cuda")


def project(
    values: npt.NDArray[Any], grid: Grid, geometry: Geometry, model: DensityModel, *, backend: str = "auto"
) -> npt.NDArray[np.float32]:
    """Area density of every material for every detector pixel.

    Each voxel is decomposed into (material, density) by ``model`` first. A ray then samples the density of every
    material bilinearly on each voxel plane of its driving axis (the volume axis most parallel to it), and the sum is
    multiplied by its path from plane to plane: P. M. Joseph, "An improved algorithm for reprojecting rays through
    pixel images", IEEE Trans Med Imaging 1 (1982) 192-196. Outside the array the density is zero, and falls off
    linearly within one voxel of the outermost voxel centres, so that the mass of those voxels is kept. Rays run
    from the source through the whole volume: a part of the volume beyond the detector counts too.

    Args:
        values: int16, uint8 or float32 ``[z, y, x]``, finite; copied only if not C-contiguous.
        grid: where the voxels lie.
        geometry: source and detector.
        model: voxel value to (material, density).
        backend: ``separable`` (panel parallel to two volume axes; fastest), ``virtual`` (any pose, by way of such a
            panel; smooths each ray's sum over at most a quarter of a voxel, less than one part in 10,000 of the
            image), ``ray`` (any pose, every ray by itself; the reference), ``cuda`` (``ray`` on an NVIDIA GPU) or
            ``auto`` (``separable`` where it can be, else ``virtual``). ``separable``, ``ray`` and ``cuda`` agree to
            about 1e-6.

    Returns:
        float32 ``[material, row, col]``, in the density unit of ``model`` times centimetres (g/cm2 for g/cm3). The
        result does not depend on the number of threads.

    Raises:
        BackendError: unknown backend, or no NVIDIA GPU for ``cuda``.
        GeometryError: source inside the volume or volume behind it, or a pose that the backend cannot do.
        DrrvalError: an array of the wrong type or shape.
    """
    if backend not in BACKENDS:
        raise BackendError(f"Unknown projection backend {backend!r}. Expected one of: {', '.join(BACKENDS)}.")
    array = _checked(values, grid)
    frame = index_frame(grid, geometry)
    tables = model.kernel_tables()
    if backend == "cuda":
        from drrval.projection.cuda import project_cuda  # numba's CUDA target is not needed otherwise

        return project_cuda(array, [frame], *tables)[0]
    axes = frame.separable_axes() if backend in ("auto", "separable") else None
    if axes is not None:
        return project_separable(array, frame, axes, *tables)
    if backend == "separable":
        raise GeometryError(
            "Backend 'separable' needs detector rows and columns parallel to volume axes and a cone narrower than 45 "
            f"degrees to each side, but in (x, y, z) of the volume the panel's column axis is "
            f"{_in_volume(grid, geometry.column_axis)} and its row axis {_in_volume(grid, geometry.row_axis)}. "
            "Use backend='virtual', 'ray' or 'auto'."
        )
    if backend in ("auto", "virtual") and frame.source_clear_of_planes():
        return project_virtual(array, frame, *tables)
    if backend == "virtual":
        raise GeometryError(
            "Backend 'virtual' needs the source before or behind all voxel planes that the rays step through, but it "
            f"lies at index {np.round(frame.source, 1).tolist()} (z, y, x) of a volume of shape {frame.shape}. "
            "Use backend='ray' or 'auto'."
        )
    return project_rays(array, frame, *tables)


def project_labels(
    labels: npt.NDArray[np.uint8], grid: Grid, geometry: Geometry, n_labels: int, *, backend: str = "auto"
) -> npt.NDArray[np.float32]:
    """Path length of every ray through each label.

    Args:
        labels: uint8 ``[z, y, x]``: 0 background, 1 to ``n_labels``.
        grid: where the voxels lie.
        geometry: source and detector.
        n_labels: number of labels, at least 1.
        backend: as for :func:`project`.

    Returns:
        float32 ``[n_labels, row, col]``, cm; the background is left out.

    Raises:
        BackendError, GeometryError, DrrvalError: as :func:`project`, and labels that are not uint8 or exceed
            ``n_labels``.
    """
    if labels.dtype != np.uint8:
        raise DrrvalError(f"Labels have dtype {labels.dtype}. Expected uint8: convert with labels.astype('uint8').")
    if n_labels < 1 or (labels.size and int(labels.max()) > n_labels):
        raise DrrvalError(
            f"n_labels={n_labels}, but the highest label is {int(labels.max())}. Give at least 1 and the highest label."
        )
    model = DensityModel(tuple(label - 0.5 for label in range(1, n_labels + 1)), ((0.0, 1.0), (0.0, 1.0)))
    return np.ascontiguousarray(project(labels, grid, geometry, model, backend=backend)[1:])


def _checked(values: npt.NDArray[Any], grid: Grid) -> npt.NDArray[Any]:
    if values.dtype not in DTYPES:
        raise DrrvalError(f"Voxel values have dtype {values.dtype}. Expected one of: {', '.join(DTYPES)}.")
    if values.shape != tuple(grid.shape):
        raise DrrvalError(f"Voxel values have shape {values.shape}, but the grid says {grid.shape} ([z, y, x]).")
    if min(values.shape) < 2:
        axis = AXIS_NAMES[int(np.argmin(values.shape))]
        raise DrrvalError(
            f"A volume of shape {values.shape} is too thin along {axis}. Projection needs two voxels or more."
        )
    return np.ascontiguousarray(values)


def _in_volume(grid: Grid, axis: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(round(float(v), 4) for v in np.asarray(axis) @ grid.direction)
