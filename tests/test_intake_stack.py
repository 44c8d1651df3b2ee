"""Intake rules on a stack of slices: duplicates, missing slices, uneven spacing, gantry tilt."""

from __future__ import annotations

import numpy as np
import pytest

from drrval.errors import IntakeError
from drrval.intake.report import IntakeReport
from drrval.intake.stack import (
    RawVolume,
    SliceStack,
    drop_duplicates,
    even_spacing,
    fill_gaps,
    remove_tilt,
    resample_heights,
    to_regular,
)


def field(points: np.ndarray) -> np.ndarray:
    """A linear field of the world position, HU: linear resampling must keep it exactly."""
    return points @ np.array([1.5, -2.0, 3.0]) + 40.0


def make_stack(heights: np.ndarray, tilt_deg: float = 0.0, drift: np.ndarray | None = None) -> SliceStack:
    """Slices of ``field`` at z = ``heights`` (mm); image planes turned by ``tilt_deg`` about x; extra drift in x."""
    turn = np.deg2rad(tilt_deg)
    axes = np.array([[1, 0, 0], [0, np.cos(turn), np.sin(turn)], [0, -np.sin(turn), np.cos(turn)]])
    positions = np.zeros((len(heights), 3))
    positions[:, 2] = heights
    if drift is not None:
        positions[:, 0] = drift
    row, column = np.meshgrid(np.arange(12), np.arange(10), indexing="ij")
    points = positions[:, None, None] + column[..., None] * 2.0 * axes[0] + row[..., None] * 2.5 * axes[1]
    return SliceStack(field(points).astype(np.float32), positions, axes, (2.0, 2.5))


def world(raw: RawVolume) -> np.ndarray:
    """LPS points [k, j, i, 3] of a raw volume."""
    index = np.stack(np.indices(raw.values.shape), axis=-1)[..., ::-1]
    return (index * np.array(raw.spacing_mm)) @ raw.direction.T + raw.origin_mm


def assert_keeps_field(raw: RawVolume) -> None:
    covered = raw.values > -1000
    assert covered.mean() > 0.5
    np.testing.assert_allclose(raw.values[covered], field(world(raw))[covered], atol=1e-3)


@pytest.fixture
def report() -> IntakeReport:
    return IntakeReport("scan")


def test_regular_stack_is_untouched(report: IntakeReport) -> None:
    stack = make_stack(np.arange(30) * 2.0)
    raw = to_regular(stack, None, report)
    assert raw.values is stack.values
    assert raw.spacing_mm == pytest.approx((2.0, 2.5, 2.0))
    assert report.findings == []


def test_identical_copies_are_dropped(report: IntakeReport) -> None:
    stack = make_stack(np.repeat(np.arange(20) * 2.0, 3))
    kept = drop_duplicates(stack, report)
    np.testing.assert_array_equal(kept.heights, np.arange(20) * 2.0)
    assert (report.status, report.findings[0].message) == ("repaired", "dropped 40 identical copies of slices")


def test_different_images_at_one_position_are_rejected(report: IntakeReport) -> None:
    stack = make_stack(np.array([0, 2, 4, 4.05, 6, 8.0]))
    stack.values[3, 2, 2] += 1
    with pytest.raises(IntakeError, match=r"1 position\(s\) hold more than one image.*4\.05 mm.*series_uid"):
        drop_duplicates(stack, report)


def test_all_slices_at_one_position_are_rejected(report: IntakeReport) -> None:
    with pytest.raises(IntakeError, match="all slices lie at one position"):
        to_regular(make_stack(np.zeros(25)), None, report)


def test_few_missing_slices_are_interpolated(report: IntakeReport) -> None:
    heights = np.delete(np.arange(80) * 2.0, [10, 40, 41])
    stack = make_stack(heights)
    filled = fill_gaps(stack, report)
    np.testing.assert_allclose(filled.heights, np.arange(80) * 2.0)
    np.testing.assert_allclose(filled.values, make_stack(np.arange(80) * 2.0).values, atol=1e-3)
    np.testing.assert_array_equal(filled.values[11:40], stack.values[10:39])  # real slices stay bit for bit
    assert report.findings[0].message == "interpolated 3 missing slice(s) linearly, at 20.0, 80.0, 82.0 mm"


@pytest.mark.parametrize(
    ("gone", "match"), [([10, 11, 12], "3 slices are missing .* up to 3 in a row"), ([5, 20, 30, 44, 50], "5.0|8")]
)
def test_many_missing_slices_are_rejected(report: IntakeReport, gone: list[int], match: str) -> None:
    with pytest.raises(IntakeError, match=match):
        fill_gaps(make_stack(np.delete(np.arange(60) * 2.0, gone)), report)


def test_rounded_positions_count_as_even(report: IntakeReport) -> None:
    stack = make_stack(np.round(np.arange(60) * 0.75, 1))
    assert to_regular(stack, None, report).values is stack.values
    assert report.findings == []


def test_uneven_spacing_is_resampled(report: IntakeReport) -> None:
    heights = np.concatenate([np.arange(20) * 2.0, 38 + 1.4 * np.arange(1, 12)])
    even = even_spacing(make_stack(heights), report)
    np.testing.assert_allclose(np.diff(even.heights), 2.0)
    np.testing.assert_allclose(even.values, make_stack(even.heights).values, atol=1e-3)
    assert "run from 1.40 to 2.00 mm; resampled linearly to 27 slices every 2 mm" in report.findings[0].message


def test_extreme_spacing_is_rejected(report: IntakeReport) -> None:
    heights = np.arange(30) * 2.0
    heights[15:] += 3.0
    with pytest.raises(IntakeError, match=r"run from 2\.00 to 5\.00 mm \(median 2\.00\)"):
        to_regular(make_stack(heights), None, report)


def test_resampling_at_the_slices_is_exact() -> None:
    stack = make_stack(np.array([0.0, 1.1, 2.9, 4.0]))
    np.testing.assert_array_equal(resample_heights(stack, stack.heights).values, stack.values)


@pytest.mark.parametrize("tilt", [-25.0, 8.0, 29.0])
def test_gantry_tilt_is_sheared_back(report: IntakeReport, tilt: float) -> None:
    raw = to_regular(make_stack(np.arange(12) * 1.5, tilt), tilt, report)
    assert_keeps_field(raw)
    assert raw.spacing_mm[2] == pytest.approx(1.5 * np.cos(np.deg2rad(tilt)))
    assert f"stacked {abs(tilt):.1f} degrees off their normal" in report.findings[0].message
    assert report.status == "repaired"


def test_strong_tilt_is_rejected(report: IntakeReport) -> None:
    with pytest.raises(IntakeError, match=r"31\.0 degrees off their normal; up to 30 can be repaired"):
        remove_tilt(make_stack(np.arange(12) * 1.5, 31.0), None, report)


def test_moved_field_of_view_is_shifted_back(report: IntakeReport) -> None:
    drift = np.array([0, 0, 0, 0, 0, 3.1, 3.1, 3.1, 3.1, 3.1])
    assert_keeps_field(to_regular(make_stack(np.arange(10) * 2.0, drift=drift), None, report))
    assert report.findings[0].outcome == "repaired"


def test_tilt_with_missing_slice_keeps_the_field(report: IntakeReport) -> None:
    raw = to_regular(make_stack(np.delete(np.arange(25) * 2.0, 12), 10.0), 10.0, report)
    assert len(raw.values) == 25
    filled = raw.values[12] > -1000
    # Only where all three slices were covered; at the rim the made-up slice mixes with the air around.
    inner = filled & (raw.values[11] > -1000) & (raw.values[13] > -1000)
    np.testing.assert_allclose(raw.values[12][inner], field(world(raw))[12][inner], atol=1e-3)
    assert [f.rule for f in report.findings] == ["gantry_tilt", "missing_slices"]


def test_header_tilt_without_shear_is_noted(report: IntakeReport) -> None:
    stack = make_stack(np.arange(12) * 1.5)
    assert remove_tilt(stack, 12.0, report) is stack
    assert report.findings[0].message.startswith("GantryDetectorTilt says 12 degrees, but the slice positions")
    assert report.status == "accepted"
