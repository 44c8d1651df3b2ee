"""The virtual panel: any pose by looking up a panel that is parallel to the voxel planes."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from drrval.errors import GeometryError
from drrval.geometry import view_geometry
from drrval.projection import DensityModel, project
from drrval.volume import Grid

TISSUES = DensityModel((-800.0, 350.0), ((0.001029, 1.03), (0.0005886, 1.03)))
PLAIN = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))
SETTINGS = {"rows": 90, "columns": 120, "pixel_mm": 1.1, "sid_mm": 900, "isocentre_to_detector_mm": 150}
POSES = {
    "tilted": ((1, 0, 0), 5),
    "rolled": ((0, 1, 0), 30),
    "oblique": ((1, 2, 3), 20),
    "between two axes": ((0, 0, 1), 45),
    "from above": ((1, 0.1, 0), 80),
}


@pytest.fixture(scope="module")
def grid():
    return Grid((40, 52, 48), (1.6, 1.5, 2.0), (-38.0, -39.0, -40.0))


@pytest.fixture(scope="module")
def smooth(grid):
    """Density without edges: zero at the faces, no structure finer than a few voxels."""
    z, y, x = np.indices(grid.shape)
    inner = (abs(z - 19.5) < 13) & (abs(y - 25.5) < 18) & (abs(x - 23.5) < 16)
    return gaussian_filter(inner * 1.0, 2.5).astype(np.float32)


def posed(grid, pose, **changes):
    return view_geometry(isocentre_mm=grid.centre_mm, **{**SETTINGS, **changes}).rotated(*POSES[pose], grid.centre_mm)


def relative_rms(image, reference):
    return float(np.sqrt(np.mean((image - reference) ** 2) / np.mean(reference**2)))


@pytest.mark.parametrize("pose", POSES)
def test_it_agrees_with_the_rays_to_1e_4_where_the_volume_is_smooth(grid, smooth, pose):
    geometry = posed(grid, pose)
    ray = project(smooth, grid, geometry, PLAIN, backend="ray")
    assert ray.max() > 1
    assert relative_rms(project(smooth, grid, geometry, PLAIN, backend="virtual"), ray) < 1e-4


@pytest.mark.parametrize("pose", POSES)
def test_every_material_agrees_where_tissues_meet(grid, smooth, pose):
    geometry = posed(grid, pose)
    bone = np.roll(smooth, 6, axis=2) * smooth
    hu = (smooth * 1060 - 1000 + 900 * bone).astype(np.int16)
    ray, virtual = (project(hu, grid, geometry, TISSUES, backend=b) for b in ("ray", "virtual"))
    assert all(area.max() > 0 for area in ray)
    assert relative_rms(virtual.sum(axis=0), ray.sum(axis=0)) < 1e-3
    assert relative_rms(virtual, ray) < 3e-3
    assert virtual.min() >= 0


@pytest.mark.parametrize("pose", POSES)
def test_mass_is_kept(grid, smooth, pose):
    geometry = posed(grid, pose)
    ray, virtual = (project(smooth, grid, geometry, PLAIN, backend=b) for b in ("ray", "virtual"))
    assert virtual.sum() == pytest.approx(ray.sum(), rel=1e-4)


def test_a_volume_beside_the_panel_leaves_it_dark(grid, smooth):
    geometry = posed(grid, "oblique")
    aside = replace(
        geometry, detector_centre_mm=tuple(np.asarray(geometry.detector_centre_mm) + np.array([0, 0, 900.0]))
    )
    np.testing.assert_array_equal(project(smooth, grid, aside, PLAIN, backend="virtual"), 0.0)


def test_a_panel_larger_than_the_shadow_is_zero_around_it(grid, smooth):
    geometry = posed(grid, "oblique", pixel_mm=5.0)
    ray, virtual = (project(smooth, grid, geometry, PLAIN, backend=b)[0] for b in ("ray", "virtual"))
    far = np.ones(ray.shape, bool)
    rows, columns = np.nonzero(ray > 0)
    far[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2] = False
    assert far.any()
    assert not virtual[far].any()


def test_the_number_of_threads_does_not_change_a_bit(grid, smooth):
    before = numba.get_num_threads()
    images = []
    try:
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            images.append(project(smooth, grid, posed(grid, "oblique"), PLAIN, backend="virtual"))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*images)


def test_a_source_among_the_planes_of_a_driving_axis_needs_the_rays(grid, smooth):
    wide = view_geometry(
        isocentre_mm=grid.centre_mm, rows=20, columns=201, pixel_mm=4.0, sid_mm=290, isocentre_to_detector_mm=70
    )
    wide = replace(wide, source_mm=(float(grid.centre_mm[0]), wide.source_mm[1], wide.source_mm[2]))
    with pytest.raises(GeometryError, match=r"'virtual' needs the source .* Use backend='ray' or 'auto'"):
        project(smooth, grid, wide, PLAIN, backend="virtual")
    chosen, ray = (project(smooth, grid, wide, PLAIN, backend=b) for b in ("auto", "ray"))
    np.testing.assert_array_equal(chosen, ray)
