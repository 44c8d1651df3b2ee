"""Objects, poses and grids that the analytic tests share."""

from __future__ import annotations

from functools import cache

import numpy as np

from drrval.geometry import Geometry, view_geometry
from drrval.projection import CPU_BACKENDS, DensityModel
from drrval.volume import Grid
from validation.projector_cases import CENTRE, ELLIPSOID, TILTED_ELLIPSOID, TILTED_SLAB, TURNED_GRID
from validation.shapes import Ellipsoid, centred_grid, chords_cm, fractions

IDENTITY = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))
SOLIDS = {
    "sphere": Ellipsoid((0.0, 0.0, 0.0), (130.0, 130.0, 130.0)),
    "sphere off centre": Ellipsoid(CENTRE, (130.0, 130.0, 130.0)),
    "large sphere": Ellipsoid(CENTRE, (150.0, 150.0, 150.0)),
    "ellipsoid": ELLIPSOID,
    "tilted ellipsoid": TILTED_ELLIPSOID,
    "tilted slab": TILTED_SLAB,
}
CUBIC, ANISOTROPIC = (4.0, 4.0, 4.0), (2.1, 2.1, 7.5)  # the latter 3 x (0.7, 0.7, 2.5) mm

ALIGNED = tuple(b for b in CPU_BACKENDS if b != "auto")
ANY_POSE = tuple(b for b in ALIGNED if b != "separable")
# (backend, is the grid turned, is the view turned): every backend does what it can
POSES = [
    *((backend, False, False) for backend in ALIGNED),
    *((backend, True, False) for backend in ANY_POSE),
    *((backend, False, True) for backend in ANY_POSE),
]


def panel(view: str = "PA", turned: bool = False, pixels: int = 256) -> Geometry:
    """A 420 mm panel at the preset's distances, upright or turned with its source by 20 degrees."""
    geometry = view_geometry(view, rows=pixels, columns=pixels, pixel_mm=420.0 / pixels)
    return geometry.rotated((1, 2, 3), 20, (0, 0, 0)) if turned else geometry


def grid_for(spacing_mm: tuple[float, float, float], turned: bool = False, extent_mm: float = 380.0) -> Grid:
    """A cube of voxels about the objects, along the world axes or not."""
    return centred_grid((extent_mm,) * 3, spacing_mm, TURNED_GRID if turned else None, CENTRE)


@cache
def voxels(name: str, spacing_mm: tuple[float, float, float], turned: bool = False) -> np.ndarray:
    """Partial volumes of one of ``SOLIDS``, ``[z, y, x]``."""
    return fractions(SOLIDS[name], grid_for(spacing_mm, turned))


def inside(ellipsoid: Ellipsoid, geometry: Geometry, margin_mm: float) -> np.ndarray:
    """Pixels whose rays pass more than a margin inside the surface."""
    smaller = Ellipsoid(ellipsoid.centre_mm, tuple(a - margin_mm for a in ellipsoid.semi_axes_mm), ellipsoid.turn)
    return chords_cm(smaller, geometry) > 0


def order(sizes: list[float], errors: list[float]) -> float:
    """Slope of the error against the voxel size in a double-logarithmic plot."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
