"""Projection against exact sums: slabs, single voxels, labels, materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drrval.geometry import Geometry, view_geometry
from drrval.projection import DensityModel, project, project_labels
from drrval.volume import Grid

IDENTITY = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))
BACKENDS = ("separable", "ray")


def small_view(view="PA", isocentre_mm=(0.0, 0.0, 0.0), **changes) -> Geometry:
    settings = {"rows": 96, "columns": 96, "pixel_mm": 1.0, "sid_mm": 1000, "isocentre_to_detector_mm": 150}
    return view_geometry(view, isocentre_mm=isocentre_mm, **{**settings, **changes})


def centred_grid(shape, spacing_mm, direction=None) -> Grid:
    turn = np.eye(3) if direction is None else direction
    half = (np.array(shape[::-1]) - 1) / 2 * np.array(spacing_mm)
    return Grid(shape, spacing_mm, tuple(float(v) for v in -turn @ half), turn)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_uniform_slab_gives_thickness_over_cosine(view, backend):
    grid = centred_grid((40, 30, 20), (2.0, 1.5, 3.0))
    geometry = small_view(view, rows=9, columns=11, pixel_mm=3.0)
    image = project(np.full(grid.shape, 2.0, np.float32), grid, geometry, IDENTITY, backend=backend)
    thickness_cm = {"PA": 4.5, "AP": 4.5, "LL": 4.0}[view]
    rows, columns = np.meshgrid(np.arange(9), np.arange(11), indexing="ij")
    ray = geometry.pixel_position(rows, columns) - geometry.source_mm
    cosine = (ray @ geometry.normal) / np.linalg.norm(ray, axis=-1)
    np.testing.assert_allclose(image[0], 2.0 * thickness_cm / cosine, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", [(5, 6, 7), (0, 0, 0), (10, 12, 14), (0, 12, 7)])
def test_impulse_is_a_bilinear_tent_on_its_own_plane(index, backend):
    grid = centred_grid((11, 13, 15), (2.0, 2.0, 2.5))
    values = np.zeros(grid.shape, np.int16)
    values[index] = 1000
    geometry = small_view(rows=64, columns=64, pixel_mm=0.8)
    image = project(values, grid, geometry, IDENTITY, backend=backend)[0]
    rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    source = np.asarray(geometry.source_mm)
    ray = geometry.pixel_position(rows, columns) - source
    voxel = grid.index_to_world(index)
    hit = source + ray * ((voxel - source)[1] / ray[..., 1])[..., None]
    tent_x = np.clip(1 - np.abs(hit[..., 0] - voxel[0]) / 2.0, 0, None)
    tent_z = np.clip(1 - np.abs(hit[..., 2] - voxel[2]) / 2.5, 0, None)
    expected = 1000 * tent_x * tent_z * 0.2 * np.linalg.norm(ray, axis=-1) / np.abs(ray[..., 1])
    np.testing.assert_allclose(image, expected, atol=2e-4)
    assert image.max() > 100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("view", ["PA", "LL"])
def test_mass_is_kept_when_the_object_ends_at_the_array_border(view, backend):
    grid = centred_grid((8, 20, 20), (2.0, 2.0, 2.0))
    far = small_view(view, sid_mm=100_000, isocentre_to_detector_mm=100, pixel_mm=0.5, rows=128, columns=128)
    image = project(np.ones(grid.shape, np.float32), grid, far, IDENTITY, backend=backend)[0]
    mass = image.sum() * (0.05 / (100_000 / 99_900)) ** 2
    assert mass == pytest.approx(8 * 20 * 20 * grid.voxel_volume_cm3, rel=1e-3)


CASES = {
    "sphere": ((0.0, 0.0, 0.0), (38.0, 38.0, 38.0), (1.0, 1.0, 1.0)),
    "sphere off centre": ((6.3, -7.2, 5.1), (30.0, 30.0, 30.0), (1.0, 1.0, 1.0)),
    "ellipsoid off centre, anisotropic voxels": ((4.7, 3.1, -2.3), (34.0, 22.0, 30.0), (0.8, 0.9, 1.0)),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_rays_through_the_top_and_bottom_faces(backend):
    grid = centred_grid((10, 60, 40), (1.0, 1.0, 1.0))
    steep = small_view(sid_mm=400, isocentre_to_detector_mm=100, rows=129, pixel_mm=1.0)
    image = project(np.ones(grid.shape, np.float32), grid, steep, IDENTITY, backend=backend)[0]
    rows = steep.pixel_position(np.arange(129), np.full(129, 48))
    ray = rows - steep.source_mm
    depth = np.linspace(-29.5, 29.5, 60) + 300  # distance of each coronal plane from the source
    z = depth[None, :] * (ray[:, 2] / 400)[:, None]
    tent = np.clip(5.5 - np.abs(z), 0, 1)  # 1 up to the outermost voxel centre, 0 one voxel beyond
    expected = tent.sum(axis=1) * 0.1 * np.linalg.norm(ray, axis=1) / 400
    np.testing.assert_allclose(image[:, 48], expected, atol=1e-5)
    partial = (expected > 0) & (expected < 5.9)
    assert partial.sum() > 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_give_path_lengths(backend):
    grid = centred_grid((20, 30, 20), (2.0, 2.0, 2.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[:, 5:10], labels[:, 10:22] = 1, 3
    lengths = project_labels(labels, grid, small_view(rows=3, columns=3), 3, backend=backend)
    assert lengths.shape == (3, 3, 3)
    np.testing.assert_allclose(lengths[:, 1, 1], [1.0, 0.0, 2.4], rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_materials_add_up_to_the_total(backend):
    rng = np.random.default_rng(1)
    grid = centred_grid((24, 30, 28), (1.5, 1.5, 2.0))
    values = rng.integers(-1024, 2000, grid.shape).astype(np.int16)
    lines = ((0.001029, 1.03), (0.0005886, 1.03))
    three = project(values, grid, small_view(), DensityModel((-800.0, 350.0), lines), backend=backend)
    one = project(values, grid, small_view(), DensityModel((), lines), backend=backend)
    assert three.shape == (3, 96, 96)
    np.testing.assert_allclose(three.sum(axis=0), one[0], rtol=1e-5, atol=1e-5)


def test_threshold_value_belongs_to_the_lower_material():
    grid = centred_grid((6, 6, 6), (5.0, 5.0, 5.0))
    model = DensityModel((10.0,), ((0.0, 1.0), (0.0, 1.0)))
    one_pixel = replace(small_view(), shape=(1, 1))
    for value, material in ((10, 0), (11, 1)):
        image = project(np.full(grid.shape, value, np.uint8), grid, one_pixel, model)
        assert image[material, 0, 0] == pytest.approx(3.0)
        assert image[1 - material, 0, 0] == 0.0
