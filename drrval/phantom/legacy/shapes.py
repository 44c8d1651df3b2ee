"""Solid shapes given by signed distance, from which the phantom is painted.

Distances are in mm, negative inside, and need to be right only near the surface (soft edges and thin layers). All
coordinates are LPS millimetres (x to the patient's left, y to the back, z to the head).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator
from scipy.spatial.transform import Rotation

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
        """Signed distance in mm, ``[z, y, x]``, for broadcastable coordinate arrays (x, y, z)."""
        ...


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
        n = self.exponent
        x, y, z = (a - np.float32(c) for a, c in zip(axes, self.centre, strict=True))
        turn = self._rotation().astype(np.float32)
        total = np.float32(1e-12)  # with the next line: minus the smallest radius at the very centre
        gradient = np.float32(1e-12 / min(self.radii) ** 2)
        for axis, radius in enumerate(self.radii):
            u = np.abs(x * turn[0, axis] + y * turn[1, axis] + z * turn[2, axis]) / np.float32(radius)
            power = u if n == 2.0 else u ** np.float32(n - 1.0)
            total = total + power * u
            gradient = gradient + (power / np.float32(radius)) ** 2
        k = np.sqrt(total) if n == 2.0 else total ** np.float32(1.0 / n)
        return np.asarray((k - 1.0) * total / (k * np.sqrt(gradient)), dtype=np.float32)

    def _rotation(self) -> Vector:
        return np.asarray(Rotation.from_euler("xyz", self.tilt_deg, degrees=True).as_matrix())


@dataclass(frozen=True)
class Capsule:
    """A straight, tapered rod with round ends.

    Attributes:
        start, end: (x, y, z) of the axis, mm.
        radii: radius at start and end, mm.
        stretch: factor by which the section is widened along x, y and z (a rib is taller than thick).
    """

    start: Triple
    end: Triple
    radii: tuple[float, float]
    stretch: Sequence[float] = (1.0, 1.0, 1.0)

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm."""
        reach = max(self.radii) * np.asarray(self.stretch)
        return np.minimum(self.start, self.end) - reach, np.maximum(self.start, self.end) + reach

    def distance(self, axes: Axes) -> Array:
        """Distance to the axis (in the space shrunk by ``stretch``) minus the radius, mm, ``[z, y, x]``."""
        scale = np.asarray(self.stretch, dtype=np.float32)
        rod = ((np.asarray(self.end) - np.asarray(self.start)) / scale).astype(np.float32)
        x, y, z = ((a - np.float32(s)) / f for a, s, f in zip(axes, self.start, scale, strict=True))
        along = (x * rod[0] + y * rod[1] + z * rod[2]) / np.float32(max(float(rod @ rod), 1e-6))
        along = np.clip(along, 0.0, 1.0)
        square = (x - along * rod[0]) ** 2 + (y - along * rod[1]) ** 2 + (z - along * rod[2]) ** 2
        radius = np.float32(self.radii[0]) + along * np.float32(self.radii[1] - self.radii[0])
        return np.asarray(np.sqrt(square) - radius, dtype=np.float32)


def tube(
    points: npt.ArrayLike,
    radii: npt.ArrayLike,
    *,
    step_mm: float = 8.0,
    stretch: Sequence[float] = (1.0, 1.0, 1.0),
) -> list[Capsule]:
    """A smooth tube through points as a chain of capsules.

    Args:
        points: (n, 3), n >= 2, LPS mm.
        radii: (n,) or one radius, mm.
        step_mm: longest capsule.
        stretch: as in :class:`Capsule`.
    """
    knots = np.asarray(points, dtype=float)
    radius = np.broadcast_to(np.asarray(radii, dtype=float), len(knots))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    fine = np.linspace(0.0, arc[-1], max(int(np.ceil(arc[-1] / step_mm)), 1) + 1)
    path = Akima1DInterpolator(arc, knots)(fine) if len(knots) > 2 else np.linspace(knots[0], knots[1], len(fine))
    thick = np.interp(fine, arc, radius)
    return [
        Capsule(path[i], path[i + 1], (float(thick[i]), float(thick[i + 1])), stretch) for i in range(len(fine) - 1)
    ]


@dataclass(frozen=True)
class Loft:
    """A body of superelliptic axial sections whose size changes with height (trunk, rib cage, mediastinum).

    Attributes:
        table: (n, 4) rows of z, half width, front y and back y, mm, z ascending.
        exponent: of the superellipse.
    """

    table: Vector
    exponent: float

    def grown(self, margin_mm: float) -> Loft:
        """The same body with a layer of this thickness around every section."""
        return Loft(self.table + np.array([0.0, margin_mm, -margin_mm, margin_mm]), self.exponent)

    def section(self, z: npt.ArrayLike) -> tuple[Vector, Vector, Vector]:
        """Half width, centre y and half depth at heights z, mm (held constant beyond the table)."""
        knots = self.table[:, 0]
        half_width, front, back = PchipInterpolator(knots, self.table[:, 1:])(
            np.clip(np.asarray(z, dtype=float), knots[0], knots[-1])
        ).T
        return half_width, (front + back) / 2.0, (back - front) / 2.0

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm; open towards head and feet."""
        wide = self.table[:, 1].max()
        low = np.array([-wide, self.table[:, 2].min(), -np.inf])
        return low, np.array([wide, self.table[:, 3].max(), np.inf])

    def surface(self, z: Vector, azimuth_deg: Vector, offset_mm: float) -> Vector:
        """Points (n, 3) at heights z and azimuths (0 at the back, 90 at the patient's left), moved outwards."""
        half_width, centre, half_depth = self.section(z)
        sine, cosine = np.sin(np.deg2rad(azimuth_deg)), np.cos(np.deg2rad(azimuth_deg))
        x = (half_width + offset_mm) * np.sign(sine) * np.abs(sine) ** (2.0 / self.exponent)
        y = centre + (half_depth + offset_mm) * np.sign(cosine) * np.abs(cosine) ** (2.0 / self.exponent)
        return np.stack([x, y, z], axis=-1)

    def distance(self, axes: Axes) -> Array:
        """First-order signed distance, mm, ``[z, y, x]``, lessened where the outline changes fast with z."""
        x, y, z = axes
        n = np.float32(self.exponent)
        half_width, centre, half_depth = (s.astype(np.float32)[:, None, None] for s in self.section(z.ravel()))
        u, v = np.abs(x) / half_width, np.abs(y - centre) / half_depth
        gradient = (u ** (n - 1) / half_width) ** 2 + (v ** (n - 1) / half_depth) ** 2
        total = u**n + v**n + np.float32(1e-6)
        k = total ** (1 / n)
        out = (k - 1) * total
        out /= k * np.sqrt(gradient + np.float32(1e-12))
        if len(z) > 1:
            out /= np.hypot(1.0, np.gradient(half_width, float(z.ravel()[1] - z.ravel()[0]), axis=0))
        return out
