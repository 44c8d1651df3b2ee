"""Area densities against exact line integrals: solids with edges and a smooth blob, in any grid and any pose.

Voxels hold exact partial volumes (``validation.shapes``). Thorax-sized objects on coarse voxels stand for small objects
on fine ones: errors depend on voxel size over object size only. At the edge of a shadow, where a chord grows with the
square root of the distance, the error is that of the voxels' and the sampling's known blur (``validation.blur``); the
bounds are that prediction, and a tenth more for what sampling folds back, not a fit to what was measured.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from analytic_shapes import (
    ALIGNED,
    ANISOTROPIC,
    ANY_POSE,
    CUBIC,
    IDENTITY,
    POSES,
    SOLIDS,
    grid_for,
    inside,
    order,
    panel,
    voxels,
)

from drrval.projection import DensityModel, project
from drrval.volume import Grid
from validation.blur import blob_error, ellipsoid_error
from validation.projector_cases import SMOOTH_BLOB
from validation.shapes import (
    Box,
    blob_integrals_cm,
    blob_means,
    chords_cm,
    fractions,
    rays,
    relative_rms,
)


@pytest.mark.parametrize(("backend", "grid_turned", "view_turned"), POSES)
@pytest.mark.parametrize(
    ("name", "spacing_mm"),
    [
        ("sphere", CUBIC),
        ("sphere off centre", ANISOTROPIC),
        ("ellipsoid", CUBIC),
        ("tilted ellipsoid", ANISOTROPIC),
    ],
)
def test_ellipsoids_are_as_exact_as_voxels_allow(name, spacing_mm, backend, grid_turned, view_turned):
    geometry, grid = panel(turned=view_turned), grid_for(spacing_mm, grid_turned)
    predicted = ellipsoid_error(SOLIDS[name], grid, geometry)
    image = project(voxels(name, spacing_mm, grid_turned), grid, geometry, IDENTITY, backend=backend)[0]
    truth = chords_cm(SOLIDS[name], geometry)
    assert relative_rms(image, truth) < 1.12 * predicted
    core = inside(SOLIDS[name], geometry, 4 * max(spacing_mm))
    assert relative_rms(image[core], truth[core]) < 0.003
    assert image.sum() == pytest.approx(truth.sum(), rel=2e-4)


@pytest.mark.parametrize(("backend", "grid_turned", "view_turned"), POSES)
def test_tilted_slab_gives_thickness_over_cosine(backend, grid_turned, view_turned):
    geometry, grid = panel(turned=view_turned), grid_for(CUBIC, grid_turned)
    image = project(voxels("tilted slab", CUBIC, grid_turned), grid, geometry, IDENTITY, backend=backend)[0]
    slab = SOLIDS["tilted slab"]
    ray = rays(geometry)
    cosine = np.abs(ray @ slab.turn[:, 1]) / np.linalg.norm(ray, axis=-1)
    truth = chords_cm(slab, geometry)
    through = np.abs(truth * cosine - 10.0) < 1e-9  # in through one large face and out through the other
    narrower = Box(slab.centre_mm, (120.0 - 16, 50.0, 130.0 - 16), slab.turn)
    through &= np.abs(chords_cm(narrower, geometry) * cosine - 10.0) < 1e-9
    assert through.sum() > 4000
    assert relative_rms(image[through], 10.0 / cosine[through]) < 0.0015


@pytest.mark.parametrize(("backend", "grid_turned", "view_turned"), POSES)
def test_straight_edges_converge_faster_than_first_order(backend, grid_turned, view_turned):
    """A kink in thickness errs by its slope times h, over a zone as wide as h: order 1.5, less for a steep edge."""
    geometry, slab = panel(turned=view_turned), SOLIDS["tilted slab"]
    sizes, errors = [8.0, 4.0, 2.0], []
    for h in sizes:
        grid = grid_for((h, h, h), grid_turned, extent_mm=360.0)
        image = project(fractions(slab, grid, across=4), grid, geometry, IDENTITY, backend=backend)[0]
        errors.append(relative_rms(image, chords_cm(slab, geometry)))
    assert 1.0 < order(sizes, errors) < 1.7


@pytest.mark.parametrize(("backend", "grid_turned", "view_turned"), POSES)
def test_a_smooth_object_has_the_second_order_error_of_the_known_blur(backend, grid_turned, view_turned):
    blob, geometry = SMOOTH_BLOB, panel(turned=view_turned, pixels=128)
    sizes, errors = [12.0, 6.0, 3.0], []
    for h in sizes:
        grid = grid_for((h, h, h), grid_turned, extent_mm=300.0)
        image = project(blob_means(blob, grid), grid, geometry, IDENTITY, backend=backend)[0]
        errors.append(relative_rms(image, blob_integrals_cm(blob, geometry)))
        assert errors[-1] < 1.05 * blob_error(blob, grid, geometry)
    assert order(sizes, errors) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("backend", ALIGNED)
def test_edges_converge_with_first_order_and_the_inside_with_second(backend):
    geometry, sphere = panel(), SOLIDS["sphere off centre"]
    core, truth = inside(sphere, geometry, 25.0), chords_cm(sphere, geometry)
    sizes, whole, within = [8.0, 4.0, 2.0], [], []
    for h in sizes:
        grid = grid_for((h, h, h), extent_mm=290.0)
        image = project(fractions(sphere, grid), grid, geometry, IDENTITY, backend=backend)[0]
        whole.append(relative_rms(image, truth))
        within.append(relative_rms(image[core], truth[core]))
    assert order(sizes, whole) == pytest.approx(1.0, abs=0.05)
    assert order(sizes, within) > 1.7


@lru_cache(maxsize=1)  # of 80 MB: cases with the same voxels follow each other
def one_millimetre_voxels(name: str, turned: bool) -> tuple[np.ndarray, Grid]:
    grid = grid_for((1.0, 1.0, 1.0), turned, {"tilted slab": 370.0}.get(name, 340.0))
    return np.rint(10_000 * fractions(SOLIDS[name], grid, across=4)).astype(np.int16), grid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "grid_turned", "view_turned"),
    [
        ("large sphere", False, False),
        ("ellipsoid", False, False),
        ("ellipsoid", False, True),
        ("ellipsoid", True, False),
        ("tilted slab", False, False),
        ("tilted slab", False, True),
        ("tilted slab", True, False),
    ],
)
def test_one_millimetre_voxels_err_by_less_than_three_in_a_thousand(name, grid_turned, view_turned):
    """The whole image, edges and all, of objects as large as a chest; smaller spheres err by more, as predicted."""
    geometry = panel(turned=view_turned, pixels=512)
    values, grid = one_millimetre_voxels(name, grid_turned)
    model = DensityModel((), ((1e-4, 0.0), (1e-4, 0.0)))
    truth = chords_cm(SOLIDS[name], geometry)
    for backend in ANY_POSE if grid_turned or view_turned else ALIGNED:
        assert relative_rms(project(values, grid, geometry, model, backend=backend)[0], truth) < 0.003
