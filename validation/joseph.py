"""The projector's sum written down once more, with SciPy's interpolation in float64: slow, and nothing shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from drrval.geometry import Geometry
from drrval.projection import DensityModel
from drrval.volume import Grid
from validation.shapes import Array, rays


def plane_sums(values: npt.NDArray[Any], grid: Grid, geometry: Geometry, model: DensityModel) -> Array:
    """Area density of every material, ``[material, row, col]``, as ``drrval.projection.project`` defines it.

    Args:
        values: voxel values ``[z, y, x]``.
        grid, geometry, model: as for ``project``.
    """
    density = np.maximum(np.minimum(*(a * values.astype(float) + b for a, b in model.lines)), 0.0)
    material = np.searchsorted(model.thresholds, values)
    source = grid.world_to_index(geometry.source_mm)
    ray = grid.world_to_index(np.asarray(geometry.source_mm) + rays(geometry)) - source
    spacing = np.asarray(grid.spacing_mm[::-1])
    driving = np.abs(ray * spacing).argmax(axis=-1)
    image = np.zeros((model.n_materials, *geometry.shape))
    for axis in range(3):
        mine = driving == axis
        towards = ray[mine] / np.abs(ray[mine][:, axis, None])
        step_cm = np.linalg.norm(towards * spacing, axis=-1) / 10.0
        others = [a for a in range(3) if a != axis]
        for m in range(model.n_materials):
            planes = np.moveaxis(np.where(material == m, density, 0.0), axis, 0)
            for k, plane in enumerate(planes):
                at = source + (k - source[axis]) / towards[:, axis, None] * towards
                image[m][mine] += step_cm * map_coordinates(plane, at[:, others].T, order=1, mode="grid-constant")
    return image
