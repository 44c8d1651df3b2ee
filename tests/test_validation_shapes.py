"""The yardsticks of the analytic tests, against integrals that know nothing of them."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_shapes import ANISOTROPIC, SOLIDS, grid_for, panel, voxels
from scipy.integrate import quad

from validation.blur import band_limit, ellipsoid_error, voxel_and_tent, voxel_only
from validation.projector_cases import SMOOTH_BLOB
from validation.shapes import Box, Ellipsoid, blob_integrals_cm, blob_means, centred_grid, chords_cm, rays


@pytest.mark.parametrize("name", SOLIDS)
def test_chords_agree_with_sampling_along_the_ray(name):
    geometry, solid = panel(turned=True, pixels=12), SOLIDS[name]
    ray = rays(geometry)
    steps = np.linspace(0.7, 1.0, 40_001)  # parts of the way from source to pixel; the object lies within
    points = (np.asarray(geometry.source_mm) + steps[:, None] * ray[5, 4] - solid.centre_mm) @ solid.turn
    if isinstance(solid, Box):
        full = (np.abs(points) < solid.half_sides_mm).all(axis=1)
    else:
        full = ((points / solid.semi_axes_mm) ** 2).sum(axis=1) < 1
    length = full.sum() * (steps[1] - steps[0]) * np.linalg.norm(ray[5, 4]) / 10
    assert 5 < length == pytest.approx(chords_cm(solid, geometry)[5, 4], abs=3e-3)
    assert chords_cm(solid, panel(pixels=12))[0, 0] == 0


def test_blob_integrals_agree_with_quadrature():
    geometry, blob = panel(turned=True, pixels=12), SMOOTH_BLOB
    ray = rays(geometry)[5, 4]
    unit = ray / np.linalg.norm(ray)

    def density(t: float) -> float:
        point = np.asarray(geometry.source_mm) + t * unit - blob.centre_mm
        return float(np.exp(-(point @ point) / (2 * blob.sigma_mm**2)))

    integral = quad(density, 1200, 2000, points=[1600], limit=200)[0] / 10
    assert blob_integrals_cm(blob, geometry)[5, 4] == pytest.approx(integral, rel=1e-8)


@pytest.mark.parametrize("turned", [False, True])
def test_partial_volumes_add_up_to_the_volume(turned):
    grid = grid_for(ANISOTROPIC, turned)
    volumes = {"tilted ellipsoid": 4 / 3 * np.pi * 150 * 100 * 130, "tilted slab": 8 * 120 * 50 * 130}
    for name, volume_mm3 in volumes.items():
        filled = voxels(name, ANISOTROPIC, turned)
        assert filled.sum(dtype=float) * grid.voxel_volume_cm3 * 1000 == pytest.approx(volume_mm3, rel=1e-4)
        assert filled.min() >= -1e-6
        assert filled.max() <= 1 + 1e-6
    blob = SMOOTH_BLOB
    mass = blob_means(blob, grid).sum(dtype=float) * grid.voxel_volume_cm3 * 1000
    assert mass == pytest.approx((2 * np.pi) ** 1.5 * 25**3, rel=1e-5)


def test_predicted_error_of_a_sphere_is_first_order_and_ordered_by_what_is_lost():
    """A circular band limit at pi / h loses h / (pi R) of a sphere, by Parseval's theorem."""
    geometry, sphere = panel(), Ellipsoid((0.0, 0.0, 0.0), (100.0, 100.0, 100.0))
    grid = centred_grid((240.0,) * 3, (1.0, 1.0, 1.0))
    circle = ellipsoid_error(sphere, grid, geometry, lambda f: (np.linalg.norm(f, axis=-1) < 0.5).astype(float))
    assert circle == pytest.approx(1.0 / (np.pi * 100.0), rel=0.005)
    chain, voxel, ideal = (ellipsoid_error(sphere, grid, geometry, t) for t in (voxel_and_tent, voxel_only, band_limit))
    assert voxel < ideal < circle < chain
    coarse = centred_grid((240.0,) * 3, (2.0, 2.0, 2.0))
    assert ellipsoid_error(sphere, coarse, geometry) == pytest.approx(2 * chain, rel=0.001)
