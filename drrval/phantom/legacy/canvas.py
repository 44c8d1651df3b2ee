"""A voxel grid on which shapes are painted with soft edges."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from drrval.phantom.legacy.shapes import Array, Axes, Shape
from drrval.volume import Grid

AIR_HU = -1000.0


class Canvas:
    """Hounsfield units on an axis-aligned grid, painted from the outside to the inside.

    Attributes:
        grid: where the voxels lie.
        axes: x ``[1, 1, nx]``, y ``[1, ny, 1]`` and z ``[nz, 1, 1]`` of the voxel centres, mm.
        hu: float32 ``[z, y, x]``, starts as air.
    """

    def __init__(self, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike, spacing_mm: float) -> None:
        low, high = np.asarray(low_mm, dtype=float), np.asarray(high_mm, dtype=float)
        nx, ny, nz = (int(n) for n in np.ceil((high - low) / spacing_mm))
        first = (low + high) / 2.0 - (np.array([nx, ny, nz]) - 1) / 2.0 * spacing_mm
        self.grid = Grid((nz, ny, nx), (spacing_mm,) * 3, (float(first[0]), float(first[1]), float(first[2])))
        x, y, z = ((first[k] + spacing_mm * np.arange(n)).astype(np.float32) for k, n in enumerate((nx, ny, nz)))
        self.axes: Axes = (x[None, None, :], y[None, :, None], z[:, None, None])
        self.hu: Array = np.full((nz, ny, nx), AIR_HU, dtype=np.float32)

    @property
    def spacing_mm(self) -> float:
        """Voxel edge, mm."""
        return self.grid.spacing_mm[0]

    def box(self, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike) -> tuple[slice, slice, slice]:
        """Index slices ``[z, y, x]`` of the voxels inside a box (possibly empty)."""
        low, high = np.asarray(low_mm, dtype=float), np.asarray(high_mm, dtype=float)
        slices = []
        for axis, a, b in zip(self.axes, low, high, strict=True):
            begin, end = np.searchsorted(axis.ravel(), [a, b])
            slices.append(slice(int(begin), int(end)))
        return slices[2], slices[1], slices[0]

    def local_axes(self, box: tuple[slice, slice, slice]) -> Axes:
        """Coordinates of a box of voxels, shaped like :attr:`axes`."""
        x, y, z = self.axes
        return x[:, :, box[2]], y[:, box[1]], z[box[0]]

    def distance(self, shapes: Iterable[Shape], *, reach_mm: float, blend_mm: float = 0.0) -> Array:
        """Signed distance to the union of shapes, mm, ``[z, y, x]``; beyond ``reach_mm`` it stays at that value.

        Args:
            shapes: what to join.
            reach_mm: how far outside the shapes distances are needed.
            blend_mm: width of the fillet between neighbours (polynomial smooth minimum); 0 joins them sharply.
        """
        out = np.full(self.hu.shape, reach_mm, dtype=np.float32)
        for shape in shapes:
            low, high = shape.bounds()
            box = self.box(low - reach_mm, high + reach_mm)
            if any(s.start >= s.stop for s in box):
                continue
            new, old = shape.distance(self.local_axes(box)), out[box]
            if blend_mm > 0:
                h = np.clip(0.5 + (new - old) / (2.0 * blend_mm), 0.0, 1.0)
                out[box] = new + (old - new) * h - blend_mm * h * (1.0 - h)
            else:
                np.minimum(old, new, out=old)
        return out

    def paint(self, distance: Array, hu: float | Array, *, edge_mm: float | None = None) -> None:
        """Blend a material over what is there: fully inside, half at the surface, an edge of one voxel by default."""
        weight = soft_mask(distance, edge_mm or self.spacing_mm)
        self.hu += weight * (np.asarray(hu, dtype=np.float32) - self.hu)


def soft_mask(distance: Array, edge_mm: float) -> Array:
    """Occupied fraction 0..1 of voxels for a signed distance (mm) and a linear edge of ``edge_mm``."""
    fraction = distance * np.float32(-1.0 / edge_mm)
    fraction += np.float32(0.5)
    return np.clip(fraction, 0.0, 1.0, out=fraction)
