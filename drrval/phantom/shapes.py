"""Solid shapes given by signed distance, from which the phantom is painted.

Distances are in mm, negative inside, and need to be right only near the surface (soft edges and thin layers). All
coordinates are LPS millimetres (x to the patient's left, y to the back, z to the head).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator
from scipy.spatial.transform import Rotation

from drrval.phantom.pose import Motion
from drrval.phantom.shape_kernels import ellipsoid_distance, height_distance, join_rods, loft_distance

Array = npt.NDArray[np.float32]
Axes = tuple[Array, Array, Array]
Vector = npt.NDArray[np.float64]
Triple = Sequence[float] | Vector


class Shape(Protocol):
    """Anything with a box around it and a signed distance."""

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm."""
        ...

    def distance(self, axes: Axes) -> Array:
        """Signed distance in mm, ``[z, y, x]``.

        Args:
            axes: coordinates x ``[1, 1, nx]``, y ``[1, ny, 1]`` and z ``[nz, 1, 1]``, mm.
        """
        ...

    def moved(self, motion: Motion) -> Shape:
        """The same body after a rigid motion."""
        ...


def flat(axes: Axes) -> tuple[Vector, Vector, Vector]:
    """Coordinate vectors x, y, z of broadcastable axes, for the kernels."""
    x, y, z = (np.ascontiguousarray(a, dtype=np.float64).ravel() for a in axes)
    return x, y, z


def _empty(axes: Axes) -> Array:
    return np.empty((axes[2].size, axes[1].size, axes[0].size), dtype=np.float32)


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid, or a box with round edges when the exponent exceeds 2.

    Attributes:
        centre: (x, y, z), mm.
        radii: half axes, mm.
        tilt_deg: rotations about the x, y and z axes, applied in this order, degrees.
        exponent: of the superellipsoid ``sum |x_i / r_i|^n = 1``; 2 is the ellipsoid, 5 nearly a box.
    """

    centre: Triple
    radii: Triple
    tilt_deg: Triple = (0.0, 0.0, 0.0)
    exponent: float = 2.0

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm."""
        power = 2.0 if self.exponent == 2.0 else 1.0
        reach = (np.abs(self._rotation() * np.asarray(self.radii)) ** power).sum(axis=1) ** (1.0 / power)
        return np.asarray(self.centre) - reach, np.asarray(self.centre) + reach

    def distance(self, axes: Axes) -> Array:
        """First-order signed distance ``(k - 1) / |grad k|`` of the implicit function k, mm, ``[z, y, x]``."""
        out = _empty(axes)
        centre, radii = np.asarray(self.centre, dtype=float), np.asarray(self.radii, dtype=float)
        ellipsoid_distance(*flat(axes), centre, self._rotation(), radii, float(self.exponent), out)
        return out

    def moved(self, motion: Motion) -> Ellipsoid:
        """The same body after a rigid motion."""
        tilt = Rotation.from_matrix(motion.rotation @ self._rotation()).as_euler("xyz", degrees=True)
        return replace(self, centre=motion.points(self.centre), tilt_deg=tilt)

    def _rotation(self) -> Vector:
        return np.ascontiguousarray(Rotation.from_euler("xyz", self.tilt_deg, degrees=True).as_matrix())


@dataclass(frozen=True)
class Capsule:
    """A straight, tapered round rod with round ends.

    Attributes:
        start, end: (x, y, z) of the axis, mm.
        radii: radius at start and end, mm.
    """

    start: Triple
    end: Triple
    radii: tuple[float, float]

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm."""
        reach = max(self.radii)
        return np.minimum(self.start, self.end) - reach, np.maximum(self.start, self.end) + reach

    def distance(self, axes: Axes) -> Array:
        """Distance to the axis minus the radius, mm, ``[z, y, x]``."""
        out = np.full((axes[2].size, axes[1].size, axes[0].size), np.inf, dtype=np.float32)
        join_rods(*flat(axes), rods_of([self]), np.inf, 0.0, out)
        return out

    def moved(self, motion: Motion) -> Capsule:
        """The same body after a rigid motion."""
        return replace(self, start=motion.points(self.start), end=motion.points(self.end))


def rods_of(capsules: Sequence[Capsule]) -> Vector:
    """Capsules as rows (n, 8) for the kernels: start, axis, radii at both ends."""
    rows = [[*c.start, *(np.asarray(c.end, dtype=float) - np.asarray(c.start)), *c.radii] for c in capsules]
    return np.asarray(rows, dtype=float).reshape(-1, 8)


def tube(points: npt.ArrayLike, radii: npt.ArrayLike, *, step_mm: float = 6.0) -> list[Capsule]:
    """A smooth tube through points as a chain of capsules.

    Args:
        points: (n, 3), n >= 2, LPS mm.
        radii: (n,) or one radius, mm.
        step_mm: longest capsule.
    """
    knots = np.asarray(points, dtype=float)
    radius = np.broadcast_to(np.asarray(radii, dtype=float), len(knots))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    fine = np.linspace(0.0, arc[-1], max(int(np.ceil(arc[-1] / step_mm)), 1) + 1)
    path = Akima1DInterpolator(arc, knots)(fine) if len(knots) > 2 else np.linspace(knots[0], knots[1], len(fine))
    thick = np.interp(fine, arc, radius)
    return [Capsule(path[i], path[i + 1], (float(thick[i]), float(thick[i + 1]))) for i in range(len(fine) - 1)]


@dataclass(frozen=True)
class Loft:
    """A body of superelliptic axial sections whose size changes with height (trunk, rib cage, mediastinum).

    Attributes:
        table: (n, 4) rows of z, half width, front y and back y, mm, z ascending.
        exponent: of the superellipse.
        sideways: (n,) x of the middle of the sections, mm, or None for the midline.
        motion: from the patient's frame, in which the table is given.
    """

    table: Vector
    exponent: float
    sideways: Vector | None = None
    motion: Motion = field(default_factory=Motion)

    def grown(self, margin_mm: float) -> Loft:
        """The same body with a layer of this thickness around every section."""
        return replace(self, table=self.table + np.array([0.0, margin_mm, -margin_mm, margin_mm]))

    def section(self, z: npt.ArrayLike) -> tuple[Vector, Vector, Vector]:
        """Half width, centre y and half depth at heights z, mm (held constant beyond the table)."""
        knots = self.table[:, 0]
        half_width, front, back = PchipInterpolator(knots, self.table[:, 1:])(
            np.clip(np.asarray(z, dtype=float), knots[0], knots[-1])
        ).T
        return half_width, (front + back) / 2.0, (back - front) / 2.0

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm; open towards head and feet."""
        aside = 0.0 if self.sideways is None else float(np.abs(self.sideways).max())
        wide = self.table[:, 1].max() + aside
        low = np.array([-wide, self.table[:, 2].min(), -np.inf])
        high = np.array([wide, self.table[:, 3].max(), np.inf])
        if self.motion.is_identity:
            return low, high
        tall = 1.5 * np.abs(self.table[:, 0]).max()
        corners = np.stack(np.meshgrid(*np.column_stack([low, high])[:2], [-tall, tall]), axis=-1).reshape(-1, 3)
        moved = self.motion.points(corners)
        return np.array([*moved.min(axis=0)[:2], -np.inf]), np.array([*moved.max(axis=0)[:2], np.inf])

    def distance(self, axes: Axes) -> Array:
        """First-order signed distance, mm, ``[z, y, x]``, lessened where the outline changes fast with z."""
        out = _empty(axes)
        step = 1.0
        z = np.arange(self.table[0, 0], self.table[-1, 0] + step, step)
        half_width, centre, half_depth = self.section(z)
        aside = np.zeros_like(z) if self.sideways is None else np.interp(z, self.table[:, 0], self.sideways)
        slant = np.hypot(1.0, np.gradient(half_width, step))
        sections = np.column_stack([half_width, aside, centre, half_depth, slant])
        loft_distance(*flat(axes), self.motion.to_patient(), sections, float(z[0]), step, float(self.exponent), out)
        return out

    def moved(self, motion: Motion) -> Loft:
        """The same body after a rigid motion."""
        return replace(self, motion=motion.after(self.motion))


@dataclass(frozen=True)
class HeightMap:
    """All that lies below a surface z = h(x, y): the abdomen under a diaphragm, the lung under a fissure.

    Attributes:
        heights: ``[y, x]`` h on an even grid, mm; held constant beyond it.
        first: (x, y) of its first point, mm.
        step_mm: of the grid.
        motion: from the patient's frame, in which the heights are given.
    """

    heights: Vector
    first: tuple[float, float]
    step_mm: float
    motion: Motion = field(default_factory=Motion)

    def bounds(self) -> tuple[Vector, Vector]:
        """The shape is open on all sides."""
        return np.full(3, -np.inf), np.full(3, np.inf)

    def distance(self, axes: Axes) -> Array:
        """Signed distance to the surface, negative below it, mm, ``[z, y, x]``."""
        out = _empty(axes)
        first = np.asarray(self.first, dtype=float)
        height_distance(*flat(axes), self.motion.to_patient(), self.heights, first, float(self.step_mm), out)
        return out

    def moved(self, motion: Motion) -> HeightMap:
        """The same body after a rigid motion."""
        return replace(self, motion=motion.after(self.motion))
