"""A sphere of bone inside a sphere of soft tissue, in air: what each material's image is and should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drrval.geometry import Geometry
from drrval.materials import density_model, hu_to_density
from drrval.projection import DensityModel, project
from validation.shapes import Array, Box, Ellipsoid, centred_grid, chords_cm, fractions

SOFT, BONE = Ellipsoid((0.0, 0.0, 0.0), (130.0,) * 3), Ellipsoid((21.3, -17.2, 9.1), (60.0,) * 3)
HU = {"air": -1000.0, "soft tissue": 40.0, "bone": 1000.0}
_EXTENT_MM = 276.0


@dataclass(frozen=True)
class NestedImages:
    """Area densities by material, g/cm2, ``[row, col]``.

    Attributes:
        classified: as projected from Hounsfield units, mixed voxels counted as one material each.
        parted: soft tissue and bone projected from their true parts of every voxel.
        exact: from chords.
    """

    classified: dict[str, Array]
    parted: dict[str, Array]
    exact: dict[str, Array]


def nested_images(size_mm: float, geometry: Geometry, backend: str = "auto") -> NestedImages:
    """Project the spheres from cubic voxels that hold the mean Hounsfield value of their volume."""
    grid = centred_grid((_EXTENT_MM,) * 3, (size_mm,) * 3)
    bone = fractions(BONE, grid)
    parts = {"soft tissue": fractions(SOFT, grid) - bone, "bone": bone}
    density = {name: float(hu_to_density(value)) for name, value in HU.items()}
    hu = np.full(grid.shape, HU["air"], np.float32)
    parted = {}
    for name, part in parts.items():
        hu += np.float32(HU[name] - HU["air"]) * part
        model = DensityModel((), ((density[name], 0.0), (density[name], 0.0)))
        parted[name] = project(part, grid, geometry, model, backend=backend)[0].astype(float)
    materials = project(np.rint(hu).astype(np.int16), grid, geometry, density_model(), backend=backend)
    inner, outer = chords_cm(BONE, geometry), chords_cm(SOFT, geometry)
    array = chords_cm(Box((0.0, 0.0, 0.0), (grid.shape[0] * size_mm / 2,) * 3), geometry)
    paths = {"air": array - outer, "soft tissue": outer - inner, "bone": inner}
    return NestedImages(
        dict(zip(HU, materials.astype(float), strict=True)),
        parted,
        {name: density[name] * path for name, path in paths.items()},
    )
