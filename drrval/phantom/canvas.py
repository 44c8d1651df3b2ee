"""A voxel grid on which shapes are painted with soft edges and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from drrval.phantom.pose import Motion
from drrval.phantom.shape_kernels import fill_rods, join_rods, paint_field, paint_small_field
from drrval.phantom.shapes import Array, Axes, Capsule, Shape, Vector, flat, rods_of
from drrval.volume import Grid

AIR_HU = -1000.0
_SMALL = 200_000  # voxels that one thread paints sooner than several are started
Box = tuple[slice, slice, slice]  # of the axes [z, y, x]


@dataclass(frozen=True)
class Field:
    """Signed distance to a body, negative inside, on a box of voxels; what lies outside the box is outside the body.

    Attributes:
        box: index slices ``[z, y, x]`` of the canvas.
        mm: float32 ``[z, y, x]`` of the box.
    """

    box: Box
    mm: Array

    def grown(self, margin_mm: float) -> Field:
        """The body with a layer of this thickness around it (taken off when negative)."""
        return Field(self.box, self.mm - np.float32(margin_mm))

    def inside(self, other: Field) -> Field:
        """What both bodies share, on the box that both share."""
        box = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self.box, other.box, strict=True))
        cut: Box = tuple(slice(s.start, max(s.start, s.stop)) for s in box)  # type: ignore[assignment]
        return Field(cut, np.maximum(self.on(cut), other.on(cut)))

    def without(self, other: Field) -> Field:
        """This body less another one."""
        mm = self.mm.copy()
        common = self.inside(other).box
        mine = self.on(common, mm)
        np.maximum(mine, -other.on(common), out=mine)
        return Field(self.box, mm)

    def joined(self, other: Field) -> Field:
        """Both bodies, on this body's box."""
        mm = self.mm.copy()
        common = self.inside(other).box
        mine = self.on(common, mm)
        np.minimum(mine, other.on(common), out=mine)
        return Field(self.box, mm)

    def on(self, box: Box, values: Array | None = None) -> Array:
        """The distances (or other values of this box) on a box within this one, a view."""
        values = self.mm if values is None else values
        z, y, x = (slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, self.box, strict=True))
        return values[z, y, x]


class Canvas:
    """Hounsfield units and labels on an axis-aligned grid, painted from the outside to the inside.

    Shapes are given in the patient's frame and moved to the scanner's when they are painted.

    Attributes:
        grid: where the voxels lie.
        axes: x ``[1, 1, nx]``, y ``[1, ny, 1]`` and z ``[nz, 1, 1]`` of the voxel centres in the scanner, mm.
        hu: float32 ``[z, y, x]``, starts as air.
        labels: uint8 ``[z, y, x]``, starts as 0.
        motion: from the patient's frame to the scanner's.
    """

    def __init__(
        self,
        low_mm: npt.ArrayLike,
        high_mm: npt.ArrayLike,
        spacing_mm: float | Sequence[float],
        motion: Motion | None = None,
    ) -> None:
        low, high = np.asarray(low_mm, dtype=float), np.asarray(high_mm, dtype=float)
        spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), 3)
        nx, ny, nz = (int(n) for n in np.ceil((high - low) / spacing))
        first = (low + high) / 2.0 - (np.array([nx, ny, nz]) - 1) / 2.0 * spacing
        self.spacing_mm = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        self.grid = Grid((nz, ny, nx), self.spacing_mm, (float(first[0]), float(first[1]), float(first[2])))
        x, y, z = ((first[k] + spacing[k] * np.arange(n)).astype(np.float32) for k, n in enumerate((nx, ny, nz)))
        self.axes: Axes = (x[None, None, :], y[None, :, None], z[:, None, None])
        self.hu: Array = np.full((nz, ny, nx), AIR_HU, dtype=np.float32)
        self.labels: npt.NDArray[np.uint8] = np.zeros((nz, ny, nx), dtype=np.uint8)
        self.motion = motion or Motion()

    @property
    def edge_mm(self) -> float:
        """Mean voxel edge, mm."""
        return float(np.mean(self.spacing_mm))

    @property
    def to_patient(self) -> Vector:
        """(3, 4) matrix from voxel indices ``(x, y, z, 1)`` to the patient's frame, mm."""
        to_scanner = np.vstack([np.column_stack([np.diag(self.spacing_mm), self.grid.origin_mm]), [0, 0, 0, 1]])
        return np.asarray(self.motion.to_patient() @ to_scanner)

    def box(self, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike) -> Box:
        """Index slices ``[z, y, x]`` of the voxels inside a box of the scanner's frame (possibly empty)."""
        low, high = np.asarray(low_mm, dtype=float), np.asarray(high_mm, dtype=float)
        slices = []
        for axis, a, b in zip(self.axes, low, high, strict=True):
            begin, end = np.searchsorted(axis.ravel(), [a, b])
            slices.append(slice(int(begin), int(max(begin, end))))
        return slices[2], slices[1], slices[0]

    def local_axes(self, box: Box) -> Axes:
        """Coordinates of a box of voxels in the scanner, shaped like :attr:`axes`."""
        x, y, z = self.axes
        return x[:, :, box[2]], y[:, box[1]], z[box[0]]

    def patient_points(self, box: Box) -> tuple[Array, Array, Array]:
        """Coordinates x, y, z of a box of voxels in the patient's frame, each broadcastable to ``[z, y, x]``, mm."""
        axes = self.local_axes(box)
        turn = self.motion.to_patient().astype(np.float32)
        if self.motion.is_upright:
            return axes[0] + turn[0, 3], axes[1] + turn[1, 3], axes[2] + turn[2, 3]
        x, y, z = (row[0] * axes[0] + row[1] * axes[1] + row[2] * axes[2] + row[3] for row in turn)
        return x, y, z

    def distance(self, shapes: Sequence[Shape], *, reach_mm: float | None = None, blend_mm: float = 0.0) -> Field:
        """Signed distance to the union of shapes; beyond ``reach_mm`` it stays at that value.

        Args:
            shapes: what to join, in the patient's frame.
            reach_mm: how far outside the shapes distances are needed; by default as far as soft edges go.
            blend_mm: width of the fillet between neighbours (polynomial smooth minimum); 0 joins them sharply.
        """
        reach = max(2.0 * max(self.spacing_mm), 2.0 * blend_mm) if reach_mm is None else reach_mm
        placed = [s if self.motion.is_identity else s.moved(self.motion) for s in shapes]
        if not placed:
            return Field((slice(0, 0),) * 3, np.empty((0, 0, 0), dtype=np.float32))
        limits = [s.bounds() for s in placed]
        low = np.min([pair[0] for pair in limits], axis=0) - reach
        box = self.box(low, np.max([pair[1] for pair in limits], axis=0) + reach)
        if any(s.start >= s.stop for s in box):
            return Field(box, np.empty([s.stop - s.start for s in box], dtype=np.float32))
        field = Field(box, np.full([s.stop - s.start for s in box], reach, dtype=np.float32))
        for rods, group in groupby(placed, key=lambda s: isinstance(s, Capsule)):
            if rods:
                capsules = [s for s in group if isinstance(s, Capsule)]
                join_rods(*flat(self.local_axes(box)), rods_of(capsules), reach, blend_mm, field.mm)
            else:
                self._join(field, list(group), reach, blend_mm)
        return field

    def _join(self, field: Field, shapes: Sequence[Shape], reach_mm: float, blend_mm: float) -> None:
        for shape in shapes:
            low, high = shape.bounds()
            near = self.box(low - reach_mm, high + reach_mm)
            if any(s.start >= s.stop for s in near):
                continue
            new, old = shape.distance(self.local_axes(near)), field.on(near)
            if blend_mm > 0:
                h = np.clip(0.5 + (new - old) / np.float32(2.0 * blend_mm), 0.0, 1.0)
                new = new + (old - new) * h - np.float32(blend_mm) * h * (1.0 - h)
            np.minimum(old, new, out=old)

    def paint(
        self,
        region: Field | Shape | Sequence[Shape],
        hu: float | Array,
        *,
        edge_mm: float | None = None,
        label: int | None = None,
    ) -> None:
        """Blend a material over what is there: fully inside, half at the surface.

        Args:
            region: where; shapes are joined sharply.
            hu: Hounsfield units, one value or float32 ``[z, y, x]`` on the field's box.
            edge_mm: width of the soft edge; by default one voxel along the normal of the surface.
            label: to give to the voxels whose centre is inside.
        """
        field = region if isinstance(region, Field) else self.distance(_as_list(region))
        if field.mm.size == 0:
            return
        values = np.asarray(hu, dtype=np.float32)
        values = np.full((1, 1, 1), values, dtype=np.float32) if values.ndim == 0 else values
        widest = float(np.linalg.norm(self.spacing_mm)) / 2.0
        paint = paint_field if field.mm.size > _SMALL else paint_small_field
        paint(
            self.hu[field.box], self.labels[field.box], field.mm, values, float(edge_mm or 0.0), widest, int(label or 0)
        )

    def fill(self, capsules: Sequence[Capsule], box: Box) -> Array:
        """Fraction 0..1 of the voxels of a box that thin rods occupy, ``[z, y, x]``, below a voxel's width too."""
        placed = capsules if self.motion.is_identity else [c.moved(self.motion) for c in capsules]
        out = np.zeros([s.stop - s.start for s in box], dtype=np.float32)
        fill_rods(*flat(self.local_axes(box)), rods_of(placed), self.edge_mm, out)
        return out


def _as_list(region: Shape | Sequence[Shape]) -> Sequence[Shape]:
    return region if isinstance(region, Sequence) else [region]
