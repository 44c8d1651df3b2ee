"""The two exact projection backends against each other, under rotation, on any input layout, and their errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import numba_threads
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from drrval.errors import BackendError, DrrvalError, GeometryError
from drrval.geometry import view_geometry
from drrval.projection import DensityModel, project, project_labels
from drrval.volume import Grid

LINES = ((0.001029, 1.03), (0.0005886, 1.03))
TISSUES = DensityModel((-800.0, 350.0), LINES)


@pytest.fixture(scope="module")
def grid():
    return Grid((27, 45, 51), (1.7, 2.1, 3.3), (-40.0, -52.0, 17.0))


@pytest.fixture(scope="module")
def values(grid):
    noise = gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), 1.5)
    return np.clip(noise * 9000, -1000, 1800).astype(np.int16)


def view_of(grid, view="PA", **changes):
    settings = {"rows": 70, "columns": 300, "pixel_mm": 0.9, "sid_mm": 900, "isocentre_to_detector_mm": 150}
    return view_geometry(view, isocentre_mm=grid.centre_mm, **{**settings, **changes})


def turned_grid(grid, turn, about):
    origin = turn @ (np.asarray(grid.origin_mm) - about) + about
    return Grid(grid.shape, grid.spacing_mm, tuple(float(v) for v in origin), turn @ grid.direction)


def relative_rms(image, reference) -> float:
    return float(np.sqrt(np.mean((image - reference) ** 2) / np.mean(reference**2)))


def axial(geometry, grid, column_axis, row_axis):
    """A view along z: source below the feet, panel above the head."""
    x, y, z = grid.centre_mm
    return replace(
        geometry,
        source_mm=(x, y, z - 700),
        detector_centre_mm=(x, y, z + 150),
        column_axis=column_axis,
        row_axis=row_axis,
    )


@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_backends_agree(values, grid, view, dtype):
    model = TISSUES
    if dtype == "uint8":
        values, model = (values // 16 + 63).clip(0, 255), DensityModel((12.0, 84.0), ((0.016, 0.0), (0.01, 0.4)))
    array = values.astype(dtype)
    separable, ray = (project(array, grid, view_of(grid, view), model, backend=b) for b in ("separable", "ray"))
    assert separable.dtype == np.float32
    assert ray.dtype == np.float32
    assert all(area.max() > 0 for area in ray)
    assert relative_rms(separable, ray) < 1e-5


@pytest.mark.parametrize("column_axis", [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
def test_backends_agree_along_the_body_and_with_swapped_axes(values, grid, column_axis):
    row_axis = (0.0, -1.0, 0.0) if column_axis[0] else (-1.0, 0.0, 0.0)
    geometry = axial(view_of(grid), grid, column_axis, row_axis)
    separable, ray = (project(values, grid, geometry, TISSUES, backend=b) for b in ("separable", "ray"))
    assert relative_rms(separable, ray) < 1e-5


@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_a_panel_turned_by_a_quarter_gives_the_transposed_image(values, grid, view):
    geometry = view_of(grid, view, rows=60, columns=80)
    turned = replace(geometry, column_axis=geometry.row_axis, row_axis=geometry.column_axis, shape=(80, 60))
    upright = project(values, grid, geometry, TISSUES, backend="separable")
    np.testing.assert_array_equal(project(values, grid, turned, TISSUES, backend="separable"), upright.swapaxes(1, 2))


@pytest.mark.parametrize("backend", ["separable", "ray"])
def test_turning_volume_and_view_together_changes_nothing(values, grid, backend):
    geometry = view_of(grid)
    axis = np.array([1.0, -2.0, 0.5])
    turn = Rotation.from_rotvec(np.deg2rad(25) * axis / np.linalg.norm(axis)).as_matrix()
    about = np.array([10.0, 20.0, 30.0])
    image = project(values, turned_grid(grid, turn, about), geometry.rotated(axis, 25, about), TISSUES, backend=backend)
    assert relative_rms(image, project(values, grid, geometry, TISSUES, backend="ray")) < 1e-5


def test_auto_is_separable_where_it_can_be_and_virtual_elsewhere(values, grid):
    geometry = view_of(grid)
    tilted = geometry.rotated((0, 0, 1), 15, grid.centre_mm)
    for pose, backend in ((geometry, "separable"), (tilted, "virtual")):
        chosen = project(values, grid, pose, TISSUES)
        np.testing.assert_array_equal(chosen, project(values, grid, pose, TISSUES, backend=backend))


def test_rays_beyond_45_degrees_still_measure_a_uniform_block():
    grid = Grid((41, 41, 41), (1.0, 1.0, 1.0), (-20.0, -20.0, -20.0))
    settings = {"rows": 2, "columns": 161, "pixel_mm": 0.6, "sid_mm": 230, "isocentre_to_detector_mm": 20}
    diagonal = view_geometry(**settings).rotated((0, 0, 1), 44, (0, 0, 0))
    image = project(np.ones(grid.shape, np.float32), grid, diagonal, DensityModel((), ((1.0, 0.0), (1.0, 0.0))))[0, 0]
    source = np.asarray(diagonal.source_mm)
    ray = diagonal.pixel_position(np.zeros(161), np.arange(161)) - source
    faces = np.sort((np.array([[-20.5], [20.5]])[:, :, None] - source) / ray, axis=0)
    chord = np.clip(faces[1].min(axis=-1) - faces[0].max(axis=-1), 0, None) * np.linalg.norm(ray, axis=-1) / 10
    assert abs(image - chord).max() < 0.1  # one voxel, where rays cut a corner
    assert image.sum() == pytest.approx(chord.sum(), rel=3e-3)
    drives_x = np.abs(ray[:, 0]) > np.abs(ray[:, 1])
    assert 20 < drives_x[chord > 1].sum() < (chord > 1).sum() - 20


@pytest.mark.parametrize("backend", ["separable", "ray"])
def test_the_number_of_threads_does_not_change_a_bit(values, grid, backend):
    images = []
    for threads in (1, 2):
        with numba_threads(threads):
            images.append(project(values, grid, view_of(grid), TISSUES, backend=backend))
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("backend", ["separable", "ray"])
def test_strided_input_is_the_same_as_contiguous(values, grid, backend):
    flipped = np.ascontiguousarray(values[:, :, ::-1])[:, :, ::-1]
    assert not flipped.flags.c_contiguous
    expected = project(values, grid, view_of(grid), TISSUES, backend=backend)
    np.testing.assert_array_equal(project(flipped, grid, view_of(grid), TISSUES, backend=backend), expected)


def test_unknown_backend(values, grid):
    with pytest.raises(
        BackendError, match=r"Unknown projection backend 'siddon'. Expected one of: auto, separable, vi"
    ):
        project(values, grid, view_of(grid), TISSUES, backend="siddon")


def test_separable_refuses_a_tilted_panel(values, grid):
    tilted = view_of(grid).rotated((1, 0, 0), 5, grid.centre_mm)
    with pytest.raises(GeometryError, match=r"parallel to volume axes.*Use backend='virtual', 'ray' or 'auto'"):
        project(values, grid, tilted, TISSUES, backend="separable")


def test_separable_refuses_a_cone_wider_than_45_degrees(values, grid):
    wide = view_of(grid, sid_mm=400, pixel_mm=4.0)
    with pytest.raises(GeometryError, match="narrower than 45 degrees"):
        project(values, grid, wide, TISSUES, backend="separable")


@pytest.mark.parametrize("backend", ["separable", "ray"])
def test_source_inside_the_volume(values, grid, backend):
    inside = replace(view_of(grid), source_mm=tuple(grid.centre_mm))
    with pytest.raises(GeometryError, match=r"lies inside the volume .*Raise sid_mm"):
        project(values, grid, inside, TISSUES, backend=backend)


@pytest.mark.parametrize("backend", ["separable", "ray"])
def test_volume_behind_the_source(values, grid, backend):
    geometry = view_of(grid)
    away = replace(geometry, detector_centre_mm=tuple(2 * np.asarray(geometry.source_mm) - geometry.detector_centre_mm))
    with pytest.raises(GeometryError, match="the volume lies behind it"):
        project(values, grid, away, TISSUES, backend=backend)


def test_bad_arrays(values, grid):
    geometry = view_of(grid)
    with pytest.raises(DrrvalError, match=r"dtype float64. Expected one of: int16, uint8, float32"):
        project(values.astype(float), grid, geometry, TISSUES)
    with pytest.raises(DrrvalError, match=r"shape \(26, 45, 51\), but the grid says \(27, 45, 51\)"):
        project(values[1:], grid, geometry, TISSUES)
    with pytest.raises(DrrvalError, match=r"too thin along z. Projection needs two voxels or more"):
        project(values[:1], replace(grid, shape=(1, 45, 51)), geometry, TISSUES)
    with pytest.raises(DrrvalError, match=r"dtype int16. Expected uint8"):
        project_labels(values, grid, geometry, 2)
    with pytest.raises(DrrvalError, match=r"n_labels=2, but the highest label is 3"):
        project_labels(np.full(grid.shape, 3, np.uint8), grid, geometry, 2)


def test_bad_density_models():
    with pytest.raises(DrrvalError, match=r"thresholds \(350.0, -800.0\) do not increase"):
        DensityModel((350.0, -800.0), LINES)
    with pytest.raises(DrrvalError, match="not finite"):
        DensityModel((float("nan"),), LINES)
