"""Lungs that are missing, cut, left out or turned are seen, and get no ratio; whole lungs pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from test_ct_lungs import SPACING, dice, ellipsoid, thorax

from ct_models.contract import CTInput
from ct_models.lungs import LungSegmentation, segment_lungs
from ct_models.measures import measured
from ct_models.plausibility import Plausibility, edge_shares, is_cut, plausibility

Part = tuple[slice, slice, slice]
ALL = slice(None)


@pytest.fixture(scope="module")
def chest() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """A thorax whose diaphragm bulges into the lungs, and its lung labels."""
    hu, right, left = thorax()
    dome = ellipsoid((-80, 0, -70), (60, 50, 35)) | ellipsoid((-80, 0, 70), (60, 50, 35))
    hu[dome & (right | left)] = 40.0
    labels = (np.where(right, 1, 0) + np.where(left, 2, 0)).astype(np.uint8)
    labels[dome] = 0
    return hu, labels


def checked(chest: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]], part: Part) -> Plausibility:
    hu, labels = chest
    return plausibility(np.ascontiguousarray(hu[part]), np.ascontiguousarray(labels[part]), SPACING)


def test_a_whole_chest_passes(chest: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]) -> None:
    assert checked(chest, (ALL, ALL, ALL)) == Plausibility((), frozenset(), True)


@pytest.mark.parametrize(
    ("part", "flags", "unreliable"),
    [
        ((slice(35, None), ALL, ALL), ("right_lung_cut", "left_lung_cut"), {1, 2}),
        ((slice(None, 40), ALL, ALL), ("right_lung_cut", "left_lung_cut"), {1, 2}),
        ((ALL, slice(50, None), ALL), ("right_lung_cut", "left_lung_cut"), {1, 2}),
        ((ALL, ALL, slice(None, 80)), ("left_lung_cut",), {2}),
        ((ALL, ALL, slice(40, None)), ("right_lung_cut",), {1}),
        ((ALL, ALL, slice(None, 60)), ("left_lung_missing",), {2}),
        ((ALL, ALL, slice(60, None)), ("right_lung_missing",), {1}),
    ],
)
def test_cut_scans_name_the_lung(
    chest: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]],
    part: Part,
    flags: tuple[str, ...],
    unreliable: set[int],
) -> None:
    assert checked(chest, part) == Plausibility(flags, frozenset(unreliable), True)


def test_share_of_the_section_in_a_face() -> None:
    lung = ellipsoid((0, 0, 0), (100, 100, 100))
    full = edge_shares(lung, SPACING, 10.0)
    assert full.shape == (3, 2)
    assert not full.any()
    cut = edge_shares(lung[:, :, 40:], SPACING, 10.0)  # within 10 mm: 52.5 mm from the centre of a ball of 100 mm
    assert cut[2, 0] == pytest.approx(1 - 0.525**2, abs=0.02)
    assert cut.astype(bool).sum() == 1
    clipped = edge_shares(lung[20:], SPACING, 10.0)  # the face itself: 58 mm from the centre
    assert clipped[0, 0] == pytest.approx(1 - 0.58**2, abs=0.02)


def test_a_scan_that_ends_where_the_lung_ends_does_not_cut_it() -> None:
    lung = ellipsoid((0, 0, 0), (100, 60, 100))
    tight = lung[np.ix_(*(np.unique(index) for index in np.nonzero(lung)))]
    assert not is_cut(tight, SPACING)
    assert is_cut(tight[:, :, 20:], SPACING)


@pytest.mark.parametrize(
    ("axis", "flag"), [(0, "upside_down"), (1, "back_to_front")], ids=["head at the feet", "back at the front"]
)
def test_a_turned_scan_is_seen(
    chest: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]], axis: int, flag: str
) -> None:
    hu, labels = (np.flip(array, axis) for array in chest)
    assert plausibility(hu, labels, SPACING) == Plausibility((flag,), frozenset(), False)


def test_lung_that_the_segmentation_left_out(chest: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]) -> None:
    hu, labels = chest
    failed = np.where((labels == 2) & (np.arange(len(labels)) > 34)[:, None, None], 0, labels).astype(np.uint8)
    assert plausibility(hu, failed, SPACING) == Plausibility(("lung_left_out",), frozenset({1, 2}), True)


def test_a_lung_that_is_open_to_a_round_field_of_view_is_left_out() -> None:
    hu, _, _ = thorax()
    outside = ~ellipsoid((0, 0, -30), (1e4, 100, 100))
    hu[outside] = -1024.0
    assert "lung_left_out" in plausibility(hu, segment_lungs(hu, SPACING).labels, SPACING).flags


def test_a_doubtful_lung_has_no_ratio(chest: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]) -> None:
    def score(part: Part, axis: int | None = None) -> list[float]:
        hu, labels = (array[part] if axis is None else np.flip(array[part], axis) for array in chest)
        lesion = (labels == 1) & (np.arange(labels.shape[0]) >= 40)[:, None, None]
        found = measured(CTInput(hu, SPACING), LungSegmentation(labels), lesion, p_pneumonia=0.5)
        assert found.lung_cm3 > 1000
        assert found.lesion_cm3 > 0
        return [found.ratio_percent, found.ratio_right_percent, found.ratio_left_percent, found.p_pneumonia]

    assert np.isnan(score((ALL, ALL, ALL))).tolist() == [False] * 4
    assert np.isnan(score((ALL, ALL, slice(None, 80)))).tolist() == [True, False, True, True]
    assert np.isnan(score((ALL, ALL, slice(None, 60)))).tolist() == [True, False, True, True]
    assert np.isnan(score((ALL, slice(50, None), ALL))).all()
    assert np.isnan(score((ALL, ALL, ALL), axis=1)).tolist() == [False, True, True, False]


@pytest.mark.parametrize("part", [(ALL, ALL, slice(None, 80)), (ALL, slice(45, None), ALL)], ids=["side", "front"])
def test_a_cut_lung_is_segmented_up_to_the_face(part: Part) -> None:
    hu, right, left = (array[part] for array in thorax())
    result = segment_lungs(np.ascontiguousarray(hu), SPACING)
    assert dice(result.labels == 1, right) > 0.95
    assert dice(result.labels == 2, left) > 0.95
    assert "lungs_touch_side" in result.flags
