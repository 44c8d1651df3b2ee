"""Bring a CT to the voxel spacing that a network was trained with, and its maps back.

Two grids over the same scan share their middle unless a shift is given, so spacing and number of voxels say all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ct_models.morphology import Spacing

Shape = tuple[int, int, int]


def resampled_shape(shape: Shape, spacing_mm: Spacing, target_mm: Spacing) -> Shape:
    """Voxels along z, y, x that cover a volume with voxels of ``target_mm``, at least one each."""
    nz, ny, nx = (
        max(1, round(n * step / target)) for n, step, target in zip(shape, spacing_mm, target_mm, strict=True)
    )
    return nz, ny, nx


def axis_weights(n: int, step_mm: float, n_out: int, step_out_mm: float, shift_mm: float = 0.0) -> sparse.csr_array:
    """How much each of ``n`` samples counts in each of ``n_out`` samples, ``[n_out, n]``; rows sum to 1.

    A triangle as wide as the coarser of the two steps: linear interpolation towards finer samples, a weighted mean,
    which leaves no aliasing to speak of, towards coarser ones. Samples beyond the ends repeat the last one.

    Args:
        n, step_mm: given samples.
        n_out, step_out_mm: wanted samples.
        shift_mm: from the middle of the given samples to that of the wanted ones.
    """
    given = (np.arange(n) - (n - 1) / 2) * step_mm
    wanted = np.clip(shift_mm + (np.arange(n_out) - (n_out - 1) / 2) * step_out_mm, given[0], given[-1])
    weights = np.clip(1.0 - np.abs(wanted[:, None] - given) / max(step_mm, step_out_mm), 0.0, None)
    return sparse.csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def resample_slices(
    volume: npt.NDArray[np.generic],
    spacing_mm: Spacing,
    shape: Shape,
    target_mm: Spacing,
    shift_mm: Spacing = (0.0, 0.0, 0.0),
) -> Iterator[npt.NDArray[np.float32]]:
    """The axial slices ``[y, x]`` of a volume ``[z, y, x]`` on another grid, feet first.

    Slice by slice, so that a large volume needs no second copy.

    Args:
        volume, spacing_mm: the given grid, z, y, x.
        shape, target_mm: the wanted grid.
        shift_mm: from the middle of the given grid to that of the wanted one.
    """
    z, y, x = (axis_weights(*axis) for axis in zip(volume.shape, spacing_mm, shape, target_mm, shift_mm, strict=True))
    for index in range(shape[0]):
        row = z[[index]]
        mixed = np.zeros(volume.shape[1:], dtype=np.float32)
        for source, weight in zip(row.indices, row.data, strict=True):
            mixed += weight * volume[source]
        yield np.ascontiguousarray((x @ (y @ mixed).T).T)


def resample(
    volume: npt.NDArray[np.generic],
    spacing_mm: Spacing,
    shape: Shape,
    target_mm: Spacing,
    shift_mm: Spacing = (0.0, 0.0, 0.0),
) -> npt.NDArray[np.float32]:
    """A volume ``[z, y, x]`` on another grid; arguments as of :func:`resample_slices`."""
    return np.stack(list(resample_slices(volume, spacing_mm, shape, target_mm, shift_mm)))
