"""Objects whose line integrals are known exactly, and their voxel images.

All positions and lengths are LPS millimetres. A solid states where a straight line enters and leaves it; the same
method gives the exact chord of a ray and, along one axis of a grid, the exact part of every voxel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from drrval.geometry import Geometry
from drrval.volume import Grid

Array = npt.NDArray[np.float64]
Point = tuple[float, float, float]


class Solid(Protocol):
    """A convex body of uniform density."""

    def crossings(self, points_mm: Array, directions: Array) -> tuple[Array, Array]:
        """Where the lines ``points + t * directions`` enter and leave: two (...), t; equal where a line misses."""


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid.

    Attributes:
        centre_mm: LPS position (x, y, z) of the centre.
        semi_axes_mm: the three semi-axes.
        turn: (3, 3); column k is the LPS unit vector of semi-axis k.
    """

    centre_mm: Point
    semi_axes_mm: Point
    turn: Array = field(default_factory=lambda: np.eye(3))

    def crossings(self, points_mm: Array, directions: Array) -> tuple[Array, Array]:
        """As :class:`Solid`: the roots of a quadratic, the ellipsoid scaled to a unit sphere."""
        start = (points_mm - np.asarray(self.centre_mm)) @ self.turn / self.semi_axes_mm
        step = directions @ self.turn / self.semi_axes_mm
        square, middle = (step**2).sum(-1), (start * step).sum(-1)
        # distance of the line from the centre by its own vector: exact where b^2 - ac would cancel
        nearest = start - (middle / square)[..., None] * step
        half = np.sqrt(np.maximum(1.0 - (nearest**2).sum(-1), 0.0) / square)
        return -middle / square - half, -middle / square + half


@dataclass(frozen=True)
class Box:
    """A solid cuboid, in any direction: a slab where two sides are long.

    Attributes:
        centre_mm: LPS position (x, y, z) of the centre.
        half_sides_mm: half the length of its three sides.
        turn: (3, 3); column k is the LPS unit vector of side k.
    """

    centre_mm: Point
    half_sides_mm: Point
    turn: Array = field(default_factory=lambda: np.eye(3))

    def crossings(self, points_mm: Array, directions: Array) -> tuple[Array, Array]:
        """As :class:`Solid`: the intersection of three pairs of half spaces. No line may be parallel to a face."""
        start = (points_mm - np.asarray(self.centre_mm)) @ self.turn
        step = directions @ self.turn
        faces = np.stack([(side * np.asarray(self.half_sides_mm) - start) / step for side in (-1.0, 1.0)])
        enter = faces.min(axis=0).max(axis=-1)
        return enter, np.maximum(faces.max(axis=0).min(axis=-1), enter)


@dataclass(frozen=True)
class GaussianBlob:
    """Density ``exp(-r^2 / (2 sigma^2))``: smooth everywhere.

    Attributes:
        centre_mm: LPS position (x, y, z) of the peak, whose density is 1.
        sigma_mm: standard deviation.
    """

    centre_mm: Point
    sigma_mm: float


def rays(geometry: Geometry) -> Array:
    """Vectors from the source to every pixel centre, ``[row, col, (x, y, z)]``, mm."""
    rows, columns = np.indices(geometry.shape)
    return geometry.pixel_position(rows, columns) - np.asarray(geometry.source_mm)


def chords_cm(solid: Solid, geometry: Geometry) -> Array:
    """Exact length of every ray inside a solid, ``[row, col]``, cm."""
    ray = rays(geometry)
    enter, leave = solid.crossings(np.asarray(geometry.source_mm), ray)
    return (leave - enter) * np.linalg.norm(ray, axis=-1) / 10.0


def blob_integrals_cm(blob: GaussianBlob, geometry: Geometry) -> Array:
    """Exact integral of a blob along every (infinite) ray, ``[row, col]``, cm: the marginal of a normal density."""
    ray = rays(geometry)
    unit = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    offset = np.asarray(blob.centre_mm) - np.asarray(geometry.source_mm)
    distance = np.linalg.norm(np.cross(unit, offset), axis=-1)
    return np.asarray(
        np.exp(-0.5 * (distance / blob.sigma_mm) ** 2) * blob.sigma_mm * np.sqrt(2.0 * np.pi) / 10.0, dtype=np.float64
    )


def fractions(solid: Solid, grid: Grid, across: int = 8) -> npt.NDArray[np.float32]:
    """Part of each voxel that a solid fills, ``[z, y, x]``, 0 to 1.

    Exact along the grid's x axis, and sampled on ``across`` x ``across`` lines per voxel in the other two.
    """
    nz, ny, nx = grid.shape
    inside = (np.arange(across) + 0.5) / across - 0.5
    y = (np.arange(ny)[:, None] + inside).ravel()
    row = np.broadcast_to(np.repeat(np.arange(ny), across), (across, ny * across)) * (nx + 2)
    step = grid.direction[:, 0] * grid.spacing_mm[0]
    filled = np.empty(grid.shape, np.float32)
    for k in range(nz):
        index = np.zeros((across, ny * across, 3))
        index[..., 0], index[..., 1] = (k + inside)[:, None], y
        covered = np.zeros(ny * (nx + 2))
        for ends, sign in zip(solid.crossings(grid.index_to_world(index), step), (1.0, -1.0), strict=True):
            # A line that starts at face position t covers its voxel partly and all later voxels fully.
            face = np.clip(ends + 0.5, 0.0, nx)
            voxel = face.astype(np.intp)
            part = face - voxel
            for shift, weight in ((0, 1.0 - part), (1, part)):
                covered += sign * np.bincount((row + voxel + shift).ravel(), weight.ravel(), covered.size)
        filled[k] = np.cumsum(covered.reshape(ny, nx + 2), axis=1)[:, :nx] / across**2
    return filled


def blob_means(blob: GaussianBlob, grid: Grid) -> npt.NDArray[np.float32]:
    """Mean density of a blob over each voxel, ``[z, y, x]``; exact, for a blob is separable along any axes."""
    centre = grid.world_to_index(np.asarray(blob.centre_mm))
    means = []
    for axis in range(3):
        width = blob.sigma_mm / grid.spacing_mm[2 - axis]
        faces = ndtr((np.arange(grid.shape[axis] + 1) - 0.5 - centre[axis]) / width)
        means.append(np.diff(faces) * width * np.sqrt(2.0 * np.pi))
    return (means[0][:, None, None] * means[1][:, None] * means[2]).astype(np.float32)


def centred_grid(
    extent_mm: Point, spacing_mm: Point, direction: Array | None = None, centre_mm: Point = (0.0, 0.0, 0.0)
) -> Grid:
    """The smallest grid of this spacing (x, y, z) and direction that covers an extent (x, y, z) about a centre."""
    turn = np.eye(3) if direction is None else np.asarray(direction, dtype=float)
    nx, ny, nz = (int(np.ceil(e / s)) for e, s in zip(extent_mm, spacing_mm, strict=True))
    first = np.asarray(centre_mm) - turn @ ((np.array([nx, ny, nz]) - 1) / 2 * np.asarray(spacing_mm))
    return Grid((nz, ny, nx), spacing_mm, (float(first[0]), float(first[1]), float(first[2])), turn)


def relative_rms(image: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """RMS of the error over the whole image, over the RMS of the exact image."""
    return float(np.sqrt(np.mean((np.asarray(image, dtype=float) - truth) ** 2) / np.mean(np.asarray(truth) ** 2)))
