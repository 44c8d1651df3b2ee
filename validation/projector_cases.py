"""Objects with exact line integrals, the grids they are sampled on and the views they are seen from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from drrval.geometry import Geometry, view_geometry
from drrval.projection import CPU_BACKENDS, DensityModel, project
from drrval.volume import Grid
from validation.blur import blob_error, ellipsoid_error
from validation.shapes import (
    Array,
    Box,
    Ellipsoid,
    GaussianBlob,
    Point,
    blob_integrals_cm,
    blob_means,
    centred_grid,
    chords_cm,
    fractions,
)

CENTRE = (6.3, -7.2, 5.1)
TURN = Rotation.from_euler("xyz", (17, -12, 25), degrees=True).as_matrix()
TURNED_GRID = Rotation.from_euler("xyz", (-9, 14, 8), degrees=True).as_matrix()
PIXELS = 512
PANEL_MM = 420.0
_SCALE = 10_000  # int16 steps of a full voxel
_PARTS = DensityModel((), ((1.0 / _SCALE, 0.0), (1.0 / _SCALE, 0.0)))


@dataclass(frozen=True, eq=False)
class Case:
    """An object, a grid's shape and direction, and a view.

    Attributes:
        name: what the table calls it.
        solid: the object.
        extent_mm: size of the volume about ``CENTRE`` (x, y, z of the grid).
        voxel: spacing (x, y, z) as multiples of the voxel size.
        grid_turned, view_turned: whether grid or view stand obliquely.
    """

    name: str
    solid: Ellipsoid | Box | GaussianBlob
    extent_mm: Point
    voxel: Point = (1.0, 1.0, 1.0)
    grid_turned: bool = False
    view_turned: bool = False

    def grid(self, size_mm: float) -> Grid:
        """The voxel grid at a voxel size."""
        x, y, z = (v * size_mm for v in self.voxel)
        return centred_grid(self.extent_mm, (x, y, z), TURNED_GRID if self.grid_turned else None, CENTRE)

    def geometry(self) -> Geometry:
        """PA at the preset's distances, upright or turned with the source by 20 degrees about (1, 2, 3)."""
        geometry = view_geometry("PA", rows=PIXELS, columns=PIXELS, pixel_mm=PANEL_MM / PIXELS)
        return geometry.rotated((1, 2, 3), 20, (0, 0, 0)) if self.view_turned else geometry

    def backends(self) -> tuple[str, ...]:
        """Backends that can do this pose."""
        oblique = self.grid_turned or self.view_turned
        return tuple(b for b in CPU_BACKENDS if b != "auto" and not (oblique and b == "separable"))

    def predicted(self, size_mm: float) -> float | None:
        """Error that the voxels' and the sampling's blur alone explain; None for a box."""
        if isinstance(self.solid, Ellipsoid):
            return ellipsoid_error(self.solid, self.grid(size_mm), self.geometry())
        if isinstance(self.solid, GaussianBlob):
            return blob_error(self.solid, self.grid(size_mm), self.geometry())
        return None


def _sphere(radius: float) -> Case:
    return Case(f"sphere, radius {radius:g} mm", Ellipsoid(CENTRE, (radius,) * 3), (2 * radius + 20,) * 3)


ELLIPSOID = Ellipsoid(CENTRE, (160.0, 110.0, 140.0))
TILTED_ELLIPSOID = Ellipsoid(CENTRE, (150.0, 100.0, 130.0), TURN)
TILTED_SLAB = Box(CENTRE, (120.0, 50.0, 130.0), TURN)
SMOOTH_BLOB = GaussianBlob(CENTRE, 25.0)
_CUBE, _SIDE = (372.0, 372.0, 372.0), (300.0, 300.0, 300.0)
SPHERE = _sphere(130)
SLAB = Case("tilted slab, 100 mm thick", TILTED_SLAB, _CUBE)
BLOB = Case("Gaussian blob, sigma 25 mm", SMOOTH_BLOB, _SIDE)
CASES = (
    _sphere(100),
    SPHERE,
    _sphere(150),
    Case("ellipsoid 160 x 110 x 140 mm", ELLIPSOID, (340.0, 240.0, 300.0)),
    Case("same, oblique view", ELLIPSOID, (340.0, 240.0, 300.0), view_turned=True),
    Case("same, oblique grid", ELLIPSOID, (350.0, 280.0, 330.0), grid_turned=True),
    Case("same, voxels 0.7 x 0.7 x 2.5 of the size", ELLIPSOID, (340.0, 240.0, 300.0), (0.7, 0.7, 2.5)),
    Case("tilted ellipsoid 150 x 100 x 130 mm", TILTED_ELLIPSOID, (330.0, 330.0, 330.0)),
    SLAB,
    Case("same, oblique view", TILTED_SLAB, _CUBE, view_turned=True),
    Case("same, oblique grid", TILTED_SLAB, _CUBE, grid_turned=True),
    BLOB,
    Case("same, oblique view", SMOOTH_BLOB, _SIDE, view_turned=True),
    Case("same, oblique grid", SMOOTH_BLOB, _SIDE, grid_turned=True),
)


def exact(solid: Ellipsoid | Box | GaussianBlob, geometry: Geometry) -> Array:
    """Exact integral of an object along every ray, cm."""
    return blob_integrals_cm(solid, geometry) if isinstance(solid, GaussianBlob) else chords_cm(solid, geometry)


def images(case: Case, size_mm: float) -> dict[str, Array]:
    """The object's image by every backend that can do the pose, cm."""
    grid = case.grid(size_mm)
    part = blob_means(case.solid, grid) if isinstance(case.solid, GaussianBlob) else fractions(case.solid, grid)
    part *= _SCALE
    values = np.rint(part, out=part).astype(np.int16)
    del part
    return {b: project(values, grid, case.geometry(), _PARTS, backend=b)[0].astype(float) for b in case.backends()}
