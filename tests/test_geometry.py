"""Presets, placement of source and panel, and the mapping between points and pixels."""

from __future__ import annotations

import numpy as np
import pytest

from drrval.errors import GeometryError
from drrval.geometry import VIEWS, default_preset, presets, view_geometry


def test_presets_are_the_documented_ones():
    assert set(presets()) == {"chest-pa", "chest-ap", "chest-lateral", "paper", "paper-literal"}
    assert presets()["chest-pa"].magnification == pytest.approx(1.10, abs=0.005)
    assert presets()["chest-pa"].columns * presets()["chest-pa"].pixel_mm == pytest.approx(430, abs=0.1)
    assert presets()["chest-ap"].sid_mm == 1100
    assert not presets()["chest-ap"].grid
    assert "172 mm" in presets()["paper-literal"].warning
    assert presets()["paper"].warning == ""


@pytest.mark.parametrize(("view", "preset"), [("PA", "chest-pa"), ("AP", "chest-ap"), ("LL", "chest-lateral")])
def test_each_view_has_its_preset(view, preset):
    assert default_preset(view) == preset
    geometry = view_geometry(view)
    assert (geometry.preset, geometry.view, geometry.shape) == (preset, view, (1024, 1024))
    assert geometry.sid_mm == pytest.approx(presets()[preset].sid_mm)


@pytest.mark.parametrize("view", VIEWS)
def test_the_isocentre_is_imaged_in_the_middle_of_the_panel(view):
    geometry = view_geometry(view, isocentre_mm=(12.0, -30.0, 400.0))
    np.testing.assert_allclose(geometry.project_points((12.0, -30.0, 400.0)), (511.5, 511.5), atol=1e-9)
    np.testing.assert_allclose(geometry.pixel_position(511.5, 511.5), geometry.detector_centre_mm, atol=1e-9)


def test_where_the_source_stands():
    # LPS: y grows to the back. PA shoots from the back, AP from the front, a left lateral from the patient's right.
    assert view_geometry("PA").source_mm[1] == pytest.approx(1630)
    assert view_geometry("AP").source_mm[1] == pytest.approx(-930)
    assert view_geometry("LL").source_mm[0] == pytest.approx(-1570)


@pytest.mark.parametrize("view", VIEWS)
def test_rows_run_from_head_to_feet(view):
    geometry = view_geometry(view)
    head, feet = geometry.project_points([[0, 0, 100.0], [0, 0, -100.0]])
    assert head[0] < feet[0]


def test_columns_run_from_right_to_left_and_from_front_to_back():
    for view in ("PA", "AP"):
        right, left = view_geometry(view).project_points([[-80.0, 0, 0], [80.0, 0, 0]])
        assert right[1] < left[1]
    front, back = view_geometry("LL").project_points([[0, -80.0, 0], [0, 80.0, 0]])
    assert front[1] < back[1]


def test_magnification_of_a_length_at_the_isocentre():
    geometry = view_geometry("PA")
    ends = geometry.project_points([[-50.0, 0, 0], [50.0, 0, 0]])
    assert (ends[1, 1] - ends[0, 1]) * geometry.pixel_mm / 100.0 == pytest.approx(1800 / 1630)


@pytest.mark.parametrize("view", VIEWS)
def test_points_on_the_way_to_a_pixel_project_back_to_it(view):
    geometry = view_geometry(view, isocentre_mm=(5, 6, 7)).rotated((1, 2, 3), 33, (9, -8, 4))
    pixels = np.random.default_rng(0).uniform(0, 1023, (20, 2))
    source = np.asarray(geometry.source_mm)
    on_panel = geometry.pixel_position(pixels[:, 0], pixels[:, 1])
    for share in (0.3, 0.9, 1.0):
        np.testing.assert_allclose(geometry.project_points(source + share * (on_panel - source)), pixels, atol=1e-8)


def test_pixel_pitch_is_the_distance_between_pixels():
    position = view_geometry("PA").pixel_position([0, 0, 1], [0, 1, 0])
    assert np.linalg.norm(position[1] - position[0]) == pytest.approx(0.42)
    assert np.linalg.norm(position[2] - position[0]) == pytest.approx(0.42)


def test_rotated_keeps_the_shape_of_the_setup_and_turns_by_the_right_hand_rule():
    geometry = view_geometry("AP")
    turned = geometry.rotated((0, 0, 1), 90, (0, 0, 0))
    np.testing.assert_allclose(turned.source_mm, (930, 0, 0), atol=1e-9)
    np.testing.assert_allclose(turned.column_axis, (0, 1, 0), atol=1e-12)
    assert turned.sid_mm == pytest.approx(geometry.sid_mm)
    assert (turned.shape, turned.preset, turned.pixel_mm) == (geometry.shape, geometry.preset, geometry.pixel_mm)
    back = turned.rotated((0, 0, 2), -90, (0, 0, 0))
    np.testing.assert_allclose(back.source_mm, geometry.source_mm, atol=1e-9)


def test_rotation_about_the_isocentre_keeps_it_in_the_middle():
    point = (10.0, 20.0, 30.0)
    turned = view_geometry("PA", isocentre_mm=point).rotated((0.2, 1, 0), 57, point)
    np.testing.assert_allclose(turned.project_points(point), (511.5, 511.5), atol=1e-8)


def test_changes_override_the_preset():
    geometry = view_geometry("PA", rows=10, columns=20, pixel_mm=2.0, sid_mm=1500)
    assert geometry.shape == (10, 20)
    assert geometry.sid_mm == pytest.approx(1500)
    assert view_geometry("PA", preset="paper").pixel_mm == 0.41


def test_errors_name_the_value_and_what_is_allowed():
    with pytest.raises(GeometryError, match=r"Unknown view 'LAT'. Expected one of: PA, AP, LL"):
        view_geometry("LAT")
    with pytest.raises(GeometryError, match=r"Unknown geometry preset 'thorax'. Expected one of: chest-pa"):
        view_geometry("PA", preset="thorax")
    with pytest.raises(GeometryError, match=r"Unknown geometry setting \['sdd'\]. Expected some of: .*sid_mm"):
        view_geometry("PA", sdd=1500)
    with pytest.raises(GeometryError, match=r"sid_mm=300 .* puts the source in or near the patient"):
        view_geometry("PA", sid_mm=300)
