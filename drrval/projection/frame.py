"""A view expressed in the index coordinates of a volume, which is all that the kernels need to know."""

from __future__ import annotations

from dataclasses import dataclass

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

    def centimetres_per_plane(self) -> npt.NDArray[np.float64]:
        """Length of every ray between neighbouring planes of the driving axis, ``[row, col]``, cm."""
        rows, columns = (np.arange(n, dtype=float) for n in self.detector_shape)
        squares = np.zeros(self.detector_shape)
        for axis in range(3):
            across = rows[:, None] * self.row_step[axis] + columns[None, :] * self.column_step[axis]
            squares += ((across + (self.corner - self.source)[axis]) * self.spacing_cm[axis]) ** 2
        return np.sqrt(squares) / abs(self.corner[self.driving_axis] - self.source[self.driving_axis])


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
