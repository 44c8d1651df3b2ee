"""Skin, fat, muscle sheets and breasts of the phantom."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage as ndi

from drrval.phantom.anatomy import Anatomy, random_anatomy
from drrval.phantom.body_wall import body_box, paint_body_wall
from drrval.phantom.body_wall_hull import body_hull, on_skin
from drrval.phantom.body_wall_sheets import fat_map, map_axes, sheet_maps, wall_tables
from drrval.phantom.canvas import Canvas
from drrval.phantom.labels import Label
from drrval.phantom.pose import Motion
from drrval.phantom.skeleton import paint_skeleton

SPACING = 3.0
WOMAN = Anatomy(female=True, breast_mm=30.0, fat_mm=18.0, muscle=0.85)
MARGIN = np.array([9.0, 9.0, 0.0])


def painted(anatomy: Anatomy, spacing=SPACING, box=None, motion=None) -> Canvas:
    low, high = body_box(anatomy) if box is None else box
    canvas = Canvas(low - MARGIN, high + MARGIN, spacing, motion)
    paint_body_wall(canvas, anatomy)
    return canvas


@pytest.fixture(scope="module")
def man() -> Canvas:
    return painted(Anatomy())


@pytest.fixture(scope="module")
def woman() -> Canvas:
    return painted(WOMAN)


def litres(canvas: Canvas, *labels: Label) -> float:
    return np.isin(canvas.labels, labels).sum() * canvas.grid.voxel_volume_cm3 / 1000


@pytest.mark.parametrize("spacing", [2.5, 5.0])
@pytest.mark.parametrize("anatomy", [Anatomy(), WOMAN], ids=["man", "woman"])
def test_skin_is_closed(anatomy, spacing):
    labels = painted(anatomy, spacing).labels
    regions, _ = ndi.label(labels != Label.SKIN)  # 6-connected: what a flood from outside would reach
    outside = np.unique(regions[:, [0, -1], :])
    reached = np.isin(regions, outside[outside > 0])
    assert set(np.unique(labels[reached])) == {Label.OUTSIDE}


def test_everything_inside_the_skin_is_filled(man):
    inside = man.labels != Label.OUTSIDE
    assert ndi.label(inside)[1] == 1
    for axial in inside[10:-10:10]:
        assert np.array_equal(ndi.binary_fill_holes(axial), axial)
    assert man.hu[inside].min() > -700, "no air in the body wall"


def test_skin_has_its_thickness():
    point, _ = on_skin(Anatomy(), [150.0], [20.0])
    canvas = painted(Anatomy(), 0.4, (point[0] - [4, 14, 3], point[0] + [4, 14, 3]))
    skin = (canvas.labels == Label.SKIN).sum(axis=1) * 0.4
    _, normal = on_skin(Anatomy(), [150.0], [20.0])
    assert np.median(skin) * abs(normal[0, 1]) == pytest.approx(wall_tables()["skin_mm"]["chest"], abs=0.25)


def test_fat_follows_the_habitus():
    thin, normal, obese = (painted(Anatomy(fat_mm=fat), 4.0) for fat in (5.0, 14.0, 38.0))
    fat = [litres(c, Label.FAT) for c in (thin, normal, obese)]
    assert fat[0] < 0.75 * fat[1] < fat[1] < 0.6 * fat[2]
    widths = [np.ptp(np.flatnonzero((c.labels[40] > 0).any(axis=0))) * 4.0 for c in (thin, obese)]
    assert widths[1] - widths[0] == pytest.approx(2 * 33.0 * 0.95, abs=20)


def test_muscles_are_separate_sheets_with_fat_between():
    # through the pectoral muscles: intercostal, minor, major
    skin, normal = on_skin(Anatomy(), [128.0], [55.0])
    middle = skin[0] - 22.0 * normal[0]
    canvas = painted(Anatomy(), 0.5, (middle - 26, middle + 26))
    ray = middle + np.linspace(26, -24, 200)[:, None] * normal[0]
    index = np.rint(canvas.grid.world_to_index(ray)).astype(int)
    hu = canvas.hu[tuple(np.clip(index, 0, np.array(canvas.hu.shape) - 1).T)]
    runs, count = ndi.label(hu > 0)
    assert count >= 4, "skin and three sheets"
    between = hu[(runs == 0) & (np.arange(200) > np.flatnonzero(runs == 2)[0]) & (np.arange(200) < 190)]
    assert between.size
    assert between.min() < -60


def test_sheets_thin_out_at_their_borders():
    maps = sheet_maps(1.0, 1.0)
    azimuth, z = map_axes()
    assert maps.shape == (len(wall_tables()["sheets"]), len(z), len(azimuth))
    assert maps.min() >= 0
    assert np.abs(np.diff(maps, axis=2)).max() < 3.2, "mm per degree: no steps"
    pectoral = maps[list(wall_tables()["sheets"]).index("pectoralis_major")]
    assert pectoral[np.argmin(np.abs(z - 45)), 140] > 10
    assert pectoral[:, :70].max() < 0.5, "none at the back"
    assert np.allclose(sheet_maps(1.0, 0.7), 0.7 * maps, atol=1e-5)
    assert 0.2 < fat_map(1.0).min() < fat_map(1.0).max() < 2.0


def test_left_and_right_mirror_each_other(man):
    assert np.count_nonzero(man.labels != man.labels[:, :, ::-1]) < 2e-3 * np.count_nonzero(man.labels)


def test_breasts_only_where_asked_and_with_gland(man, woman):
    assert litres(man, Label.BREAST) == 0
    breast = woman.labels == Label.BREAST
    points = woman.grid.index_to_world(np.argwhere(breast))
    assert 0.3 < litres(woman, Label.BREAST) < 2.5
    assert (points[:, 1] < 0).all(), "in front"
    assert np.count_nonzero(points[:, 0] > 0) == pytest.approx(len(points) / 2, rel=0.1)
    gland = woman.hu[breast] > -30
    assert 0.03 < gland.mean() < 0.5
    assert np.percentile(woman.hu[breast], 20) < -95


def test_gland_fades_with_age():
    def share(age):
        canvas = painted(replace(WOMAN, age=age, seed=5))
        return (canvas.hu[canvas.labels == Label.BREAST] > -40).mean()

    assert share(75.0) < share(30.0)


@pytest.mark.parametrize("anatomy", [random_anatomy(0), Anatomy(fat_mm=5.0, muscle=0.7, kyphosis=1.4)])
def test_bones_lie_under_the_skin(anatomy):
    canvas = painted(anatomy, 4.0)
    wall = canvas.labels.copy()
    paint_skeleton(canvas, anatomy)
    bone = (canvas.labels >= Label.VERTEBRA) & (canvas.labels < Label.TABLE)
    assert not (bone & (wall == Label.OUTSIDE)).any()
    assert np.count_nonzero(bone[:-2] & (wall[:-2] == Label.SKIN)) < 2e-3 * np.count_nonzero(bone)


def test_box_holds_all_skin_of_the_field(man):
    inside = man.labels > 0
    for axis in (1, 2):
        rows = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        assert rows[0] >= 1
        assert rows[-1] <= inside.shape[axis] - 2


def test_hanging_arms_leave_the_field_to_the_sides():
    canvas = painted(Anatomy(arms="down"), 4.0)
    inside = canvas.labels > 0
    assert inside[:, :, [0, -1]].any()
    assert not painted(Anatomy(), 4.0).labels[:, :, [0, -1]].any()


def test_the_body_moves_as_a_whole():
    low, high = body_box(Anatomy())
    still = painted(Anatomy(), 4.0, (low, high))
    shifted = painted(Anatomy(), 4.0, (low, high), Motion(shift=np.array([8.0, -4.0, 0.0])))
    a, b = still.labels[:, 1:, :-2], shifted.labels[:, :-1, 2:]
    assert np.count_nonzero(a != b) < 1e-3 * np.count_nonzero(a)


def test_points_on_the_skin_are_on_the_skin():
    points, normals = on_skin(WOMAN, [0.0, 90.0, -90.0, 180.0], [30.0] * 4, outside_mm=3.0)
    assert body_hull(WOMAN).at(points) == pytest.approx(3.0, abs=0.1)
    assert points[1, 0] > 100 > -100 > points[2, 0]
    assert normals[0, 1] > 0.9 > -0.9 > normals[3, 1]
