from dataclasses import replace

import numpy as np
import pytest
from conftest import box_thorax

from drrval.body import find_body
from drrval.geometry import view_geometry
from drrval.positioning import chest_centre, clipped_slice_share, clipping_flags, field_flags, scanned_field
from drrval.volume import CTVolume, Grid


def crop(ct: CTVolume, box: tuple[slice, slice, slice]) -> CTVolume:
    start = [s.start or 0 for s in box]
    hu = ct.hu[box]
    grid = replace(ct.grid, shape=hu.shape, origin_mm=tuple(ct.grid.index_to_world(start).tolist()))
    return CTVolume(hu, grid, np.ones(hu.shape[1:], bool), ct.name)


def test_centre_is_the_middle_of_body_and_lungs() -> None:
    ct = box_thorax()
    # Body: x index 50, y index 40; lungs from slice 5 to 54.
    expected = ct.grid.index_to_world((29.5, 40, 50))
    assert chest_centre(ct, find_body(ct)) == pytest.approx(expected, abs=4.0)


def test_centre_does_not_depend_on_how_much_abdomen_was_scanned() -> None:
    ct = box_thorax()
    long = np.concatenate([np.repeat(ct.hu[:1], 30, axis=0), ct.hu])
    origin = ct.grid.index_to_world((-30, 0, 0))
    more = replace(ct, hu=long, grid=replace(ct.grid, shape=long.shape, origin_mm=tuple(origin.tolist())))
    assert chest_centre(more, find_body(more)) == pytest.approx(chest_centre(ct, find_body(ct)), abs=1e-6)


def test_a_whole_chest_has_no_clipping_flag() -> None:
    ct = box_thorax()
    body = find_body(ct)
    assert clipping_flags(ct, body) == ()
    assert clipped_slice_share(ct, body) == 0.0


def test_skin_cropped_at_the_side_is_flagged() -> None:
    ct = crop(box_thorax(), np.s_[:, :, 14:90])
    assert clipping_flags(ct, find_body(ct)) == ("ct_clips_body_laterally",)


def test_skin_cropped_by_the_scan_circle_is_flagged() -> None:
    ct = box_thorax()
    y, x = np.mgrid[: ct.hu.shape[1], : ct.hu.shape[2]]
    scanned = np.hypot(y - 40, x - 50) <= 35
    cut = replace(ct, hu=np.where(scanned, ct.hu, -1024).astype(np.float32), scanned=scanned)
    assert "ct_clips_body_laterally" in clipping_flags(cut, find_body(cut))


@pytest.mark.parametrize(("box", "flag"), [(np.s_[10:, :, :], "bottom"), (np.s_[:50, :, :], "top")])
def test_lungs_cut_by_an_end_slice_are_flagged(box: tuple[slice, slice, slice], flag: str) -> None:
    ct = crop(box_thorax(), box)
    assert clipping_flags(ct, find_body(ct)) == (f"ct_clips_lungs_{flag}",)


def test_small_panels_flag_lungs_and_body() -> None:
    ct = box_thorax()
    body = find_body(ct)
    centre = chest_centre(ct, body)
    assert field_flags(ct, body, view_geometry("PA", isocentre_mm=centre)) == ()
    literal = view_geometry("PA", isocentre_mm=centre, preset="paper-literal")
    assert field_flags(ct, body, literal) == ("lungs_outside_field", "body_outside_field")
    # Wide enough for the lungs (272 mm), too narrow for the body (320 mm).
    narrow = view_geometry("PA", isocentre_mm=centre, columns=780)
    assert field_flags(ct, body, narrow) == ("body_outside_field",)


def test_scanned_field_ends_with_the_scan_at_the_centres_depth() -> None:
    grid = Grid((101, 50, 50), (4.0, 4.0, 2.0), (-98.0, -98.0, -100.0))
    geometry = view_geometry("AP", isocentre_mm=(0.0, 0.0, 0.0))
    covered = scanned_field(grid, geometry, (0.0, 0.0, 0.0))
    rows = np.flatnonzero(covered.all(axis=1))
    magnification = 1100 / 930
    assert covered.any(axis=1).sum() == len(rows)
    assert len(rows) * geometry.pixel_mm == pytest.approx(101 * 2.0 * magnification, abs=2 * geometry.pixel_mm)
