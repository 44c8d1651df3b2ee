"""Shapes of bones: bars swept along a curve and slabs cut out along an outline.

Both follow the ``Shape`` protocol of :mod:`drrval.phantom.shapes`: signed distance in mm, negative inside, exact within
a few millimetres of the surface, so that shells of even thickness can be painted inside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from drrval.phantom.pose import Motion
from drrval.phantom.shapes import Array, Axes, Vector

REACH_MM = 6.0  # distances are right up to here outside a shape; beyond, they are at least this
_OVERLAP = 0.6  # segments look this fraction of their length past a joint, which closes the wedge at a bend


@dataclass(frozen=True)
class Bar:
    """A bar of rounded rectangular section swept along a polyline, with round ends.

    Attributes:
        points: (n, 3) of the axis, LPS mm, in steps that are short against the curvature.
        wide: (n, 3) unit vectors across the axis, along the wider side of the section.
        half_width, half_thickness: (n,) half sides of the section, mm.
        corner: rounding of the section's corners, as a fraction of the thinner half side; 1 gives flat bands with
            round edges or, when both sides are equal, a round rod.
    """

    points: Vector
    wide: Vector
    half_width: Vector
    half_thickness: Vector
    corner: float = 1.0

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm."""
        reach = np.maximum(self.half_width, self.half_thickness)[:, None]
        return (self.points - reach).min(axis=0), (self.points + reach).max(axis=0)

    def distance(self, axes: Axes, reach_mm: float = REACH_MM) -> Array:
        """Signed distance in mm, ``[z, y, x]``; ``reach_mm`` where farther."""
        x, y, z = (np.ascontiguousarray(a, dtype=np.float64).ravel() for a in axes)
        out = np.full((len(z), len(y), len(x)), reach_mm, dtype=np.float32)
        sizes = np.column_stack([self.half_width, self.half_thickness])
        _sweep(x, y, z, self.points, self.wide, sizes, self.corner, reach_mm, out)
        return out

    def moved(self, motion: Motion) -> Bar:
        """The bar after a rigid motion."""
        return replace(self, points=motion.points(self.points), wide=motion.vectors(self.wide))

    @property
    def length_mm(self) -> float:
        """Length of the axis, mm."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


def bar(
    points: npt.ArrayLike,
    half_width: npt.ArrayLike,
    half_thickness: npt.ArrayLike,
    *,
    wide: npt.ArrayLike = (0.0, 0.0, 1.0),
    step_mm: float = 3.0,
    corner: float = 1.0,
) -> Bar:
    """A bar along a smooth curve through points.

    Args:
        points: (n, 3), n >= 2, LPS mm.
        half_width, half_thickness: half sides of the section at the points, (n,) or one for all, mm.
        wide: direction of the wider side, (3,) or (n, 3); its part along the axis is taken away.
        step_mm: length of the straight pieces.
        corner: as in :class:`Bar`.
    """
    knots = np.asarray(points, dtype=float)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    fine = np.linspace(0.0, arc[-1], max(int(np.ceil(arc[-1] / step_mm)), 1) + 1)
    path = Akima1DInterpolator(arc, knots)(fine) if len(knots) > 2 else np.linspace(knots[0], knots[1], len(fine))
    across = np.broadcast_to(np.asarray(wide, dtype=float), knots.shape)
    across = np.column_stack([np.interp(fine, arc, column) for column in across.T])
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = across - (across * tangent).sum(axis=1, keepdims=True) * tangent
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    width, thickness = (
        np.interp(fine, arc, np.broadcast_to(np.asarray(size, dtype=float), len(knots)))
        for size in (half_width, half_thickness)
    )
    return Bar(path, across, width, thickness, corner)


@dataclass(frozen=True)
class Slab:
    """A plate cut along a closed outline: flat or bent, as thick as a vertebra or as thin as a shoulder blade.

    Attributes:
        centre: (x, y, z) of the local origin, mm.
        frame: (3, 3) rows are the local unit vectors u, v (in the plane of the outline) and w (its normal).
        outline: (k, 2) corners (u, v) in order, mm; :func:`smooth_outline` makes curves.
        half_thickness: along w, mm.
        bend: the middle surface lies at ``w = bend_u * u**2 + bend_v * v**2``, per mm.
        waist_mm: how much the outline shrinks half way between the two faces (vertebral bodies).
        rounding_mm: radius of the edges.
    """

    centre: Vector
    frame: Vector
    outline: Vector
    half_thickness: float
    bend: tuple[float, float] = (0.0, 0.0)
    waist_mm: float = 0.0
    rounding_mm: float = 1.0

    @cached_property
    def _corners(self) -> Vector:
        u, v = self.outline.T
        middle = self.bend[0] * u**2 + self.bend[1] * v**2
        faces = [np.column_stack([u, v, middle + side * self.half_thickness]) for side in (-1.0, 1.0)]
        return np.asarray(self.centre) + np.vstack(faces) @ self.frame

    def bounds(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner (x, y, z) of a box around the shape, mm."""
        return self._corners.min(axis=0), self._corners.max(axis=0)

    def distance(self, axes: Axes) -> Array:
        """Signed distance in mm, ``[z, y, x]``; ``REACH_MM`` where farther."""
        x, y, z = (np.ascontiguousarray(a, dtype=np.float64).ravel() for a in axes)
        out = np.full((len(z), len(y), len(x)), REACH_MM, dtype=np.float32)
        numbers = np.array([self.half_thickness, *self.bend, self.waist_mm, self.rounding_mm])
        _cut(x, y, z, np.asarray(self.centre, dtype=float), self.frame, self.outline, numbers, out)
        return out

    def moved(self, motion: Motion) -> Slab:
        """The slab after a rigid motion."""
        return replace(self, centre=motion.points(self.centre), frame=motion.vectors(self.frame))


def smooth_outline(corners: npt.ArrayLike, count: int = 28) -> Vector:
    """``count`` points (u, v) of a closed smooth curve through corners (k, 2)."""
    knots = np.vstack([corners, np.asarray(corners)[:1]]).astype(float)
    arc = np.concatenate([[0.0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(knots, axis=0), axis=1)))])
    fine = np.linspace(0.0, arc[-1], count, endpoint=False)
    return np.asarray(CubicSpline(arc, knots, bc_type="periodic")(fine))


@nb.njit(cache=True, nogil=True)
def _range(axis, low, high):  # type: ignore[no-untyped-def]
    return np.searchsorted(axis, low), np.searchsorted(axis, high, side="right")


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _sweep(x, y, z, points, wide, sizes, corner, reach, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with the distance to a swept bar; only voxels near each segment are visited."""
    last = len(points) - 2
    for s in range(last + 1):
        px, py, pz = points[s]
        dx, dy, dz = points[s + 1] - points[s]
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / length, dy / length, dz / length
        grow = max(sizes[s].max(), sizes[s + 1].max()) + reach
        low = np.minimum(points[s], points[s + 1]) - grow
        high = np.maximum(points[s], points[s + 1]) + grow
        x0, x1 = _range(x, low[0], high[0])
        y0, y1 = _range(y, low[1], high[1])
        z0, z1 = _range(z, low[2], high[2])
        begin = 0.0 if s == 0 else -_OVERLAP * length
        end = length if s == last else (1.0 + _OVERLAP) * length
        for k in range(z0, z1):
            for j in range(y0, y1):
                for i in range(x0, x1):
                    qx, qy, qz = x[i] - px, y[j] - py, z[k] - pz
                    along = qx * dx + qy * dy + qz * dz
                    over = 0.0
                    if along < begin:
                        if s > 0:
                            continue
                        over = along
                    elif along > end:
                        if s < last:
                            continue
                        over = along - length
                    t = min(max(along / length, 0.0), 1.0)
                    ux = wide[s, 0] + t * (wide[s + 1, 0] - wide[s, 0])
                    uy = wide[s, 1] + t * (wide[s + 1, 1] - wide[s, 1])
                    uz = wide[s, 2] + t * (wide[s + 1, 2] - wide[s, 2])
                    qx, qy, qz = qx - along * dx, qy - along * dy, qz - along * dz
                    u = qx * ux + qy * uy + qz * uz
                    v = np.sqrt(max(qx * qx + qy * qy + qz * qz - u * u, 0.0))
                    a = sizes[s, 0] + t * (sizes[s + 1, 0] - sizes[s, 0])
                    b = sizes[s, 1] + t * (sizes[s + 1, 1] - sizes[s, 1])
                    r = corner * min(a, b)
                    eu, ev = abs(u) - (a - r), v - (b - r)
                    outer = np.sqrt(max(eu, 0.0) ** 2 + max(ev, 0.0) ** 2 + over * over)
                    d = outer + min(max(eu, ev), 0.0) - r
                    if d < out[k, j, i]:
                        out[k, j, i] = d


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _to_outline(u, v, outline):  # type: ignore[no-untyped-def]
    """Signed distance from a point to a polygon (crossing number for the sign)."""
    best = 1e12
    inside = False
    n = len(outline)
    pu, pv = outline[n - 1]
    for m in range(n):
        cu, cv = outline[m]
        eu, ev = cu - pu, cv - pv
        wu, wv = u - pu, v - pv
        t = min(max((wu * eu + wv * ev) / (eu * eu + ev * ev), 0.0), 1.0)
        best = min(best, (wu - t * eu) ** 2 + (wv - t * ev) ** 2)
        if (pv > v) != (cv > v) and wu < eu * wv / ev:
            inside = not inside
        pu, pv = cu, cv
    return -np.sqrt(best) if inside else np.sqrt(best)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _cut(x, y, z, centre, frame, outline, numbers, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with the distance to a slab."""
    half, bend_u, bend_v, waist, rounding = numbers
    for k in range(len(z)):
        qz = z[k] - centre[2]
        for j in range(len(y)):
            qy = y[j] - centre[1]
            for i in range(len(x)):
                qx = x[i] - centre[0]
                u = frame[0, 0] * qx + frame[0, 1] * qy + frame[0, 2] * qz
                v = frame[1, 0] * qx + frame[1, 1] * qy + frame[1, 2] * qz
                w = frame[2, 0] * qx + frame[2, 1] * qy + frame[2, 2] * qz
                slope = np.sqrt(1.0 + 4.0 * (bend_u * u) ** 2 + 4.0 * (bend_v * v) ** 2)
                w = abs(w - bend_u * u * u - bend_v * v * v) / slope
                if w - half > REACH_MM:
                    continue
                side = _to_outline(u, v, outline)
                if waist > 0.0:
                    side += waist * max(1.0 - (w / half) ** 2, 0.0)
                eu, ew = side + rounding, w - half + rounding
                outer = np.sqrt(max(eu, 0.0) ** 2 + max(ew, 0.0) ** 2)
                out[k, j, i] = min(outer + min(max(eu, ew), 0.0) - rounding, REACH_MM)
