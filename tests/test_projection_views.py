"""Which way round the radiograph is: left and right, head and feet, front and back, magnification."""

from __future__ import annotations

import numpy as np
import pytest

from drrval.geometry import view_geometry
from drrval.projection import DensityModel, project
from drrval.volume import Grid

MODEL = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))
SHAPE, SPACING = (40, 50, 60), (6.0, 5.0, 8.0)
GRID = Grid(SHAPE, SPACING, (-177.0, -122.5, -156.0))


def image_of(index, view, backend, **changes):
    values = np.zeros(SHAPE, np.int16)
    values[index] = 1000
    geometry = view_geometry(view, isocentre_mm=GRID.centre_mm, **changes)
    return geometry, project(values, GRID, geometry, MODEL, backend=backend)[0]


def centroid(image):
    rows, columns = np.indices(image.shape)
    return np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()


@pytest.mark.parametrize("backend", ["separable", "ray"])
@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_the_way_round(view, backend):
    # Marker in the patient's right, front, upper part: small x, small y, large z.
    _, image = image_of((33, 8, 10), view, backend, rows=128, columns=128, pixel_mm=3.36)
    row, column = centroid(image)
    assert row < 50, "the head is at the top"
    if view == "LL":
        assert column < 50, "the front of the patient is on the left of a left lateral"
    else:
        assert column < 50, "the patient's right is on the left of the image"


@pytest.mark.parametrize("backend", ["separable", "ray"])
@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
@pytest.mark.parametrize("index", [(20, 25, 30), (3, 44, 6), (36, 5, 52)])
def test_landmarks_project_to_where_the_image_shows_them(index, view, backend):
    geometry, image = image_of(index, view, backend, rows=256, columns=256, pixel_mm=1.68)
    expected = geometry.project_points(GRID.index_to_world(index))
    np.testing.assert_allclose(centroid(image), expected, atol=0.2)
    peak = np.array(np.unravel_index(np.argmax(image), image.shape))
    assert np.abs(peak - expected).max() <= 0.51  # the nearest pixel centre


def test_landmarks_under_any_pose():
    index = (30, 12, 45)
    values = np.zeros(SHAPE, np.int16)
    values[index] = 1000
    geometry = view_geometry("PA", isocentre_mm=GRID.centre_mm, rows=256, columns=256, pixel_mm=1.68)
    for axis, degrees in (((0, 0, 1), 30), ((1, 0, 0), -12), ((1, 2, 3), 200)):
        pose = geometry.rotated(axis, degrees, GRID.centre_mm)
        image = project(values, GRID, pose, MODEL)[0]
        np.testing.assert_allclose(centroid(image), pose.project_points(GRID.index_to_world(index)), atol=0.4)


def test_asymmetric_phantom_from_front_and_back():
    values = np.full(SHAPE, 10, np.int16)
    values[:, :, 30:] = 20  # dense left half
    values[25:, :, :30] = 0  # empty right upper quarter
    geometry = {
        v: view_geometry(v, isocentre_mm=GRID.centre_mm, rows=64, columns=64, pixel_mm=3.0) for v in ("PA", "AP")
    }
    for view in ("PA", "AP"):
        image = project(values, GRID, geometry[view], MODEL)[0]
        quarters = {"upper right": image[5, 10], "lower right": image[58, 10], "left": image[30, 54]}
        assert quarters["upper right"] == 0
        assert quarters["lower right"] == pytest.approx(250, rel=0.02)
        assert quarters["left"] == pytest.approx(500, rel=0.02)


def test_the_heart_is_larger_in_ap_than_in_pa():
    values = np.zeros(SHAPE, np.int16)
    values[15:25, 5:15, 25:40] = 1000  # in front of the middle, as the heart is
    shadow = {}
    for view, sid in (("PA", 1800), ("AP", 1100)):
        geometry = view_geometry(view, isocentre_mm=GRID.centre_mm)
        assert geometry.sid_mm == pytest.approx(sid)
        shadow[view] = (project(values, GRID, geometry, MODEL)[0] > 0).sum()
    assert shadow["AP"] > 1.15 * shadow["PA"]
