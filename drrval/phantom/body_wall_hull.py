"""The outline of the body: a closed skin around chest wall, neck, shoulders, arms and breasts.

The outline is smooth, so it is worked out on a coarse grid and read between its points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.body_wall_breast import breasts
from drrval.phantom.body_wall_sheets import fat_map, floor_map, map_axes, sheet_maps, wall_tables
from drrval.phantom.shapes import Array, Axes, Loft, Shape, Vector
from drrval.phantom.shoulder_muscles import outer_shapes
from drrval.phantom.shoulders import shoulders
from drrval.phantom.skeleton_shapes import Bar

STEP_MM = 4.0
_BLEND_MM = 18.0  # fillet between neighbouring parts of the body
_FAR_MM = 60.0
_BOX_MM = ((-260.0, -230.0, -215.0), (260.0, 190.0, 225.0))  # corners (x, y, z) of the reference adult's field
_FILL = (12.0, 14.0)  # steps in z and azimuth over which fat evens out the steps between muscles


@dataclass(frozen=True)
class Hull:
    """Body outline and chest wall on a coarse grid.

    Attributes:
        origin: (x, y, z) of the first grid point, mm.
        skin: signed distance to the skin, mm, ``[z, y, x]`` in steps of ``STEP_MM``.
        cage: signed distance to the inner chest wall, same grid.
        sheets: muscle sheets from the inside out, ``[sheet, z, azimuth]``, mm.
    """

    origin: Vector
    skin: Array
    cage: Array
    sheets: Array

    @property
    def axes(self) -> Axes:
        """Coordinates of the grid points, shaped for broadcasting, mm."""
        return _axes(self.origin, self.skin.shape)

    def at(self, points: Vector) -> Vector:
        """Distance to the skin at points (n, 3), mm."""
        index = ((points - self.origin) / STEP_MM).T[::-1]
        return np.asarray(map_coordinates(self.skin, index, order=1, mode="nearest"), dtype=float)


def _axes(origin: Vector, shape: Sequence[int]) -> Axes:
    x, y, z = ((origin[k] + STEP_MM * np.arange(shape[2 - k])).astype(np.float32) for k in range(3))
    return x[None, None, :], y[None, :, None], z[:, None, None]


@lru_cache(maxsize=2)
def body_hull(anatomy: Anatomy) -> Hull:
    """Outline of the body from the neck to the upper abdomen, arms cut off at ``_BOX_MM`` from the midline."""
    low, high = np.asarray(_BOX_MM) * np.array([1.0, 1.0, float(anatomy.scale[2])])
    shape = tuple(int(n) for n in np.ceil((high - low) / STEP_MM + 1)[::-1])
    axes = _axes(low, shape)
    cage = cage_distance(anatomy.loft("cage"), axes)
    sheets = sheet_maps(float(anatomy.scale[2]), anatomy.muscle)
    plane = np.float32(wall_tables()["plane_mm"])
    stack = wall_tables()["ribs_mm"][-1] + (sheets + plane * np.clip(sheets / 2.0, 0.0, 1.0)).sum(axis=0)
    stack = np.maximum(np.maximum(stack, floor_map()), gaussian_filter(stack, _FILL, mode="nearest"))
    rows = _map_index(axes, azimuth_axis_y(anatomy))
    skin = cage - stack[rows]
    for part in outer_shapes(anatomy, shoulders(anatomy)):
        _join(skin, part, axes, low, _BLEND_MM)
    skin -= (fat_map(float(anatomy.scale[2])) * anatomy.fat_mm)[rows]
    for breast in breasts(anatomy):
        _join(skin, breast, axes, low, 0.7 * _BLEND_MM)
    return Hull(low, _even_slope(skin).astype(np.float32), cage, sheets)


def _even_slope(skin: Array) -> Array:
    """The field with a slope of about 1 mm per mm near its surface, so that layers under it are evenly thick."""
    slope = np.sqrt(sum(part**2 for part in np.gradient(skin, STEP_MM)))
    return np.asarray(skin / np.clip(gaussian_filter(slope, 0.7), 0.6, 3.0))


def _join(skin: Array, part: Shape, axes: Axes, low: Vector, blend_mm: float) -> None:
    """Join a part to the body in place, where it is near enough to matter."""
    first, last = ((corner - low) / STEP_MM for corner in part.bounds())
    reach = _FAR_MM / STEP_MM
    box = tuple(
        slice(max(int(a - reach), 0), max(int(b + reach) + 2, 0)) for a, b in zip(first[::-1], last[::-1], strict=True)
    )
    local = axes[0][:, :, box[2]], axes[1][:, box[1]], axes[2][box[0]]
    distance = part.distance(local, reach_mm=_FAR_MM) if isinstance(part, Bar) else part.distance(local)
    skin[box] = smooth_union(skin[box], distance, blend_mm)


def cage_distance(cage: Loft, axes: Axes) -> Array:
    """First-order signed distance to the inner chest wall, mm, ``[z, y, x]``.

    Measured mostly sideways: under the apex, where the cage closes quickly, its slope counts as 45 degrees at most.
    """
    x, y, z = axes
    n = cage.exponent
    half_width, centre, half_depth = (s[:, None, None] for s in cage.section(z.ravel()))
    u, v = np.abs(x) / half_width, np.abs(y - centre) / half_depth
    total = u**n + v**n + 1e-9
    k = total ** (1.0 / n)
    gradient = np.hypot(u ** (n - 1.0) / half_width, v ** (n - 1.0) / half_depth) * k / total
    slope = np.gradient((half_width + half_depth) / 2.0, STEP_MM, axis=0)
    return np.asarray((k - 1.0) / (gradient + 1e-6) / np.hypot(1.0, np.clip(slope, -1.0, 1.0)), dtype=np.float32)


def azimuth_axis_y(anatomy: Anatomy) -> float:
    """y of the vertical axis about which azimuths are counted, mm."""
    return float(-9.0 * anatomy.scale[1])


def _map_index(axes: Axes, axis_y: float) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = axes
    azimuth, heights = map_axes()
    degrees = np.rad2deg(np.arctan2(np.abs(x), y - axis_y))
    column = np.clip(np.rint(degrees / (azimuth[1] - azimuth[0])), 0, len(azimuth) - 1).astype(int)
    row = np.clip(np.rint((z - heights[0]) / (heights[1] - heights[0])), 0, len(heights) - 1).astype(int)
    return tuple(np.broadcast_arrays(row, column))  # type: ignore[return-value]


def smooth_union(a: Array, b: Array, blend_mm: float) -> Array:
    """Signed distance to the union of two bodies with a fillet of about this width (polynomial smooth minimum)."""
    h = np.clip(0.5 + (a - b) / (2.0 * blend_mm), 0.0, 1.0)
    return np.asarray(a + (b - a) * h - blend_mm * h * (1.0 - h))


def on_skin(
    anatomy: Anatomy, azimuth_deg: npt.ArrayLike, z_mm: npt.ArrayLike, outside_mm: float = 0.0
) -> tuple[Vector, Vector]:
    """Points (n, 3) of the skin and the outward normals there.

    Args:
        anatomy: whose skin.
        azimuth_deg: (n,) 0 at the back, 90 at the patient's left, -90 at the right.
        z_mm: (n,) heights.
        outside_mm: how far outside the skin the points lie.
    """
    hull = body_hull(anatomy)
    angle = np.deg2rad(np.atleast_1d(np.asarray(azimuth_deg, dtype=float)))
    z = np.broadcast_to(np.asarray(z_mm, dtype=float), angle.shape)
    ray = np.stack([np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=-1)
    start = np.stack([np.zeros_like(z), np.full_like(z, azimuth_axis_y(anatomy)), z], axis=-1)
    near, far = np.zeros_like(z), np.full_like(z, 240.0)
    for _ in range(20):
        middle = (near + far) / 2.0
        inside = hull.at(start + middle[:, None] * ray) < outside_mm
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    points = start + near[:, None] * ray
    steps = 2.0 * np.eye(3)
    normals = np.stack([hull.at(points + h) - hull.at(points - h) for h in steps], axis=-1)
    return points, normals / np.linalg.norm(normals, axis=-1, keepdims=True)
