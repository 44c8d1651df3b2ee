"""A view expressed in the index coordinates of a volume, which is all that the kernels need to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.errors import GeometryError
from drrval.geometry import Geometry
from drrval.volume import Grid

AXIS_NAMES = "zyx"
_PARALLEL = 1e-6  # largest off-axis component of a unit vector that still counts as parallel: 0.2 um over a panel


@dataclass(frozen=True)
class IndexFrame:
    """Source and panel of a view in fractional array indices of a volume. All vectors are (3,), ordered (z, y, x).

    Attributes:
        shape: array shape of the volume.
        spacing_cm: voxel spacing, cm.
        source: index position of the focal spot.
        corner: index position of the centre of pixel ``[0, 0]``.
        row_step, column_step: index displacement from one pixel to the next row or column.
        detector_shape: (rows, columns).
        driving_axis: the array axis most parallel (in millimetres) to the normal of the panel.
    """

    shape: tuple[int, int, int]
    spacing_cm: npt.NDArray[np.float64]
    source: npt.NDArray[np.float64]
    corner: npt.NDArray[np.float64]
    row_step: npt.NDArray[np.float64]
    column_step: npt.NDArray[np.float64]
    detector_shape: tuple[int, int]
    driving_axis: int

    def separable_axes(self) -> tuple[int, int] | None:
        """Array axes (of increasing row, of increasing column) if both are parallel to volume axes, else None.

        None also where the cone is so wide that a ray may run closer to another axis than to the panel's normal:
        there the driving axis, hence the sampling, would differ from ray to ray.
        """
        axes = tuple(_parallel_axis(step * self.spacing_cm) for step in (self.row_step, self.column_step))
        rows, columns = axes
        if rows is None or columns is None:
            return None
        steps = (self.detector_shape[0] - 1, self.detector_shape[1] - 1)
        corners = self.corner + np.array(
            [i * steps[0] * self.row_step + j * steps[1] * self.column_step for i in (0, 1) for j in (0, 1)]
        )
        reach = np.abs(corners - self.source) * self.spacing_cm
        if np.delete(reach, self.driving_axis, axis=1).max() > reach[:, self.driving_axis].min():
            return None
        return rows, columns

    def pixel_index(self, rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Index positions (n, 3) of pixel centres."""
        return self.corner + rows[:, None] * self.row_step + columns[:, None] * self.column_step

    def driving_axes(self) -> npt.NDArray[np.int8]:
        """The volume axis that each ray runs closest to (in millimetres), ``[row, col]``."""
        last = (self.detector_shape[0] - 1, self.detector_shape[1] - 1)
        corners = self._closest_axis(np.array([0, 0, last[0], last[0]]), np.array([0, last[1], 0, last[1]]))
        if np.all(corners == corners[0]):  # the rays closest to one axis make a convex cone
            return np.full(self.detector_shape, corners[0])
        rows, columns = np.indices(self.detector_shape).reshape(2, -1)
        return self._closest_axis(rows, columns).reshape(self.detector_shape)

    def source_clear_of_planes(self) -> bool:
        """Whether the source lies beyond the volume along every axis that a ray is driven by."""
        return all(not -1.0 <= self.source[axis] <= self.shape[axis] for axis in np.unique(self.driving_axes()))

    def _closest_axis(self, rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        reach = np.abs((self.pixel_index(rows, columns) - self.source) * self.spacing_cm)
        return reach.argmax(axis=1).astype(np.int8)

    def slope_squared(self, axis: int, step: float, count: int) -> npt.NDArray[np.float64]:
        """Squared slope (in cm per cm along the driving axis) of the rays along ``axis``, for each row or column.

        A ray of a panel parallel to the voxel planes runs ``sqrt(1 + rows + columns)`` times the plane spacing from
        one plane to the next.
        """
        reach = (self.corner - self.source) * self.spacing_cm
        return ((reach[axis] + np.arange(count) * step * self.spacing_cm[axis]) / reach[self.driving_axis]) ** 2


def index_frame(grid: Grid, geometry: Geometry) -> IndexFrame:
    """Express ``geometry`` in the array indices of ``grid``.

    Raises:
        GeometryError: the source lies among the planes of the volume, or the volume lies behind it.
    """
    corner, next_row, next_column = grid.world_to_index(geometry.pixel_position([0, 1, 0], [0, 0, 1]))
    source = grid.world_to_index(geometry.source_mm)
    along_axes = np.abs(geometry.normal @ grid.direction)[::-1]
    axis = int(np.argmax(along_axes))
    _check_source(grid, geometry, source, axis)
    return IndexFrame(
        shape=grid.shape,
        spacing_cm=np.asarray(grid.spacing_mm[::-1]) / 10.0,
        source=source,
        corner=corner,
        row_step=next_row - corner,
        column_step=next_column - corner,
        detector_shape=geometry.shape,
        driving_axis=axis,
    )


def _check_source(grid: Grid, geometry: Geometry, source: npt.NDArray[np.float64], axis: int) -> None:
    where = f"The source at {tuple(round(v, 1) for v in geometry.source_mm)} mm"
    if -1.0 <= source[axis] <= grid.shape[axis]:
        raise GeometryError(
            f"{where} lies inside the volume (index {source[axis]:.1f} of {grid.shape[axis]} along "
            f"{AXIS_NAMES[axis]}). Raise sid_mm, or move the isocentre to the middle of the volume."
        )
    if (grid.centre_mm - np.asarray(geometry.source_mm)) @ geometry.normal < 0:
        raise GeometryError(
            f"{where} looks away from the volume, whose centre is at {tuple(np.round(grid.centre_mm, 1).tolist())} mm: "
            "the volume lies behind it. Put the volume between source and detector, for example with "
            "view_geometry(view, isocentre_mm=grid.centre_mm)."
        )


def _parallel_axis(vector: npt.NDArray[np.float64]) -> int | None:
    unit = np.abs(vector) / np.linalg.norm(vector)
    axis = int(np.argmax(unit))
    return axis if np.delete(unit, axis).max() < _PARALLEL else None
