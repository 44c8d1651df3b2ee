"""Intake rules on voxel values: NaN, value range, offset, padding and the scan circle."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_factory import phantom_hu

from drrval.errors import IntakeError
from drrval.intake.padding import find_scanned
from drrval.intake.report import IntakeReport
from drrval.intake.values import check_value_range, looks_like_hu, replace_non_finite

SPACING = (3.0, 3.0, 5.0)


@pytest.fixture
def report() -> IntakeReport:
    return IntakeReport("scan")


def noisy_chest() -> np.ndarray:
    """float32 [z, y, x]: the phantom with noise, whole numbers as CT has them."""
    z, y, x = np.meshgrid(np.arange(-60, 61, 5), np.arange(-96, 97, 3), np.arange(-120, 121, 3), indexing="ij")
    noise = np.random.default_rng(7).normal(0, 12, z.shape)
    return np.rint(phantom_hu(np.stack([x, y, z], axis=-1)) + noise).astype(np.float32)


def circle(radius_px: float, shape: tuple[int, int], centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """True outside a circle about the image centre moved by ``centre`` (rows, columns)."""
    row, column = np.indices(shape) - (np.array(shape)[:, None, None] - 1) / 2
    return np.hypot(row - centre[0], column - centre[1]) > radius_px


def test_few_nan_become_air(report: IntakeReport) -> None:
    values = noisy_chest()
    values[3, 30, 40:43] = [np.nan, np.inf, -np.inf]
    replace_non_finite(values, report)
    np.testing.assert_array_equal(values[3, 30, 40:43], -1024)
    assert report.findings[0].message == "set 3 NaN or infinite voxels to -1024 HU"
    assert report.status == "repaired"


def test_many_nan_are_rejected(report: IntakeReport) -> None:
    values = noisy_chest()
    values[:, :2] = np.nan
    with pytest.raises(IntakeError, match=r"3\.1 % of the voxels are NaN or infinite; at most 1 %"):
        replace_non_finite(values, report)


def test_hounsfield_units_pass(report: IntakeReport) -> None:
    values = noisy_chest()
    before = values.copy()
    check_value_range(values, report)
    np.testing.assert_array_equal(values, before)
    assert report.findings == []


def test_offset_of_1024_is_undone(report: IntakeReport) -> None:
    original = np.maximum(noisy_chest(), -1024)
    values = original + 1024
    check_value_range(values, report)
    np.testing.assert_array_equal(values, original)
    assert "subtracted 1024" in report.findings[0].message
    assert report.status == "repaired"


def test_other_offset_is_not_guessed(report: IntakeReport) -> None:
    values = noisy_chest() + 1200
    with pytest.raises(IntakeError, match="histogram does not show air near 24 and soft tissue near 1024"):
        check_value_range(values, report)


def test_mri_is_rejected(report: IntakeReport) -> None:
    hu = noisy_chest()
    generator = np.random.default_rng(2)
    tissue = generator.gamma(4, 250, hu.shape)  # broad tissue contrast, noise floor near 0
    values = np.where(hu > -500, tissue, np.abs(generator.normal(0, 25, hu.shape))).astype(np.float32)
    with pytest.raises(IntakeError, match="an MRI, or a CT with unknown scaling"):
        check_value_range(values, report)


@pytest.mark.parametrize(
    ("low", "high", "match"), [(0, 255, "a windowed or normalised picture"), (0, 1, "a windowed"), (-1, 1, "without")]
)
def test_pictures_are_rejected(report: IntakeReport, low: float, high: float, match: str) -> None:
    hu = noisy_chest()
    values = np.interp(hu, [-1000, 400], [low, high]).astype(np.float32)
    with pytest.raises(IntakeError, match=match):
        check_value_range(values, report)


def test_mask_is_rejected(report: IntakeReport) -> None:
    with pytest.raises(IntakeError, match="2 different ones: a mask or label map"):
        check_value_range((noisy_chest() < -500).astype(np.float32), report)


def test_masked_body_without_air_is_rejected(report: IntakeReport) -> None:
    hu = noisy_chest()
    with pytest.raises(IntakeError, match="without both air"):
        check_value_range(np.where(hu < -500, 0, hu).astype(np.float32), report)


def test_scan_clipped_below_bone_is_rejected(report: IntakeReport) -> None:
    with pytest.raises(IntakeError, match="no bone above 100 HU"):
        check_value_range(np.minimum(noisy_chest(), 90), report)


def test_scan_clipped_to_a_window_is_noted(report: IntakeReport) -> None:
    check_value_range(np.minimum(noisy_chest(), 250), report)
    assert "clipped to a window" in report.findings[0].message
    assert report.status == "accepted"


def test_looks_like_hu_needs_air_and_tissue() -> None:
    hu = noisy_chest()
    assert looks_like_hu(hu)
    assert not looks_like_hu(hu + 1024)
    assert not looks_like_hu(np.full_like(hu, -1000))


def test_square_field_is_all_scanned(report: IntakeReport) -> None:
    hu = np.maximum(noisy_chest(), -1024)
    before = hu.copy()
    assert find_scanned(hu, SPACING, None, report).all()
    np.testing.assert_array_equal(hu, before)
    assert report.findings == []


@pytest.mark.parametrize("fill", [-3024.0, -2000.0])
def test_padding_below_air_is_raised_and_marked(report: IntakeReport, fill: float) -> None:
    hu = noisy_chest()
    outside = np.zeros(hu.shape[1:], bool)
    outside[:7], outside[:, :3] = True, True  # any shape counts when the value cannot be tissue
    hu[:, outside] = fill
    scanned = find_scanned(hu, SPACING, None, report)
    np.testing.assert_array_equal(scanned, ~outside)
    assert hu.min() == -1024
    assert f"lowest {fill:g}" in report.findings[0].message
    assert report.status == "repaired"


def test_single_values_below_air_are_raised_but_scanned(report: IntakeReport) -> None:
    hu = noisy_chest()
    hu[4, 2, 2] = -1090
    assert find_scanned(hu, SPACING, None, report).all()
    assert hu[4, 2, 2] == -1024


def test_metal_is_kept(report: IntakeReport) -> None:
    hu = noisy_chest()
    hu[5, 30, 40], hu[5, 30, 41] = 20000, 1e6
    find_scanned(hu, SPACING, None, report)
    assert (hu[5, 30, 40], hu[5, 30, 41]) == (20000, 32767)


@pytest.mark.parametrize("fill", [-1024.0, -1000.0, 0.0])
@pytest.mark.parametrize(("radius", "centre"), [(32, (0, 0)), (42, (3, 6))])
def test_scan_circle_is_found(report: IntakeReport, fill: float, radius: float, centre: tuple[float, float]) -> None:
    hu = np.clip(noisy_chest(), -1024, None)
    outside = circle(radius, hu.shape[1:], centre)
    hu[:, outside] = fill
    hu[0] = -1000  # one odd slice in 25 is still "nearly all"
    scanned = find_scanned(hu, SPACING, None, report)
    np.testing.assert_array_equal(scanned, ~outside)
    np.testing.assert_array_equal(hu[1:, outside], -1024)
    assert [f.outcome for f in report.findings] == ["repaired" if fill == 0 else "note"]


def test_noise_free_air_around_a_body_is_scanned(report: IntakeReport) -> None:
    hu = noisy_chest()
    for outside in (circle(20, hu.shape[1:]), hu.max(axis=0) < -500):  # a round and an elliptic body
        air = hu.copy()
        air[:, outside] = -1024
        assert find_scanned(air, SPACING, None, report).all()
    assert {f.rule for f in report.findings} <= {"padding"}


def test_rotated_field_is_no_circle(report: IntakeReport) -> None:
    hu = np.clip(noisy_chest(), -1024, None)
    row, column = np.indices(hu.shape[1:])
    hu[:, row + column < 20] = -1024
    assert find_scanned(hu, SPACING, None, report).all()


def test_stated_padding_counts_whatever_its_shape(report: IntakeReport) -> None:
    hu = np.clip(noisy_chest(), -1024, None)
    outside = np.zeros(hu.shape[1:], bool)
    outside[:5] = True
    hu[:, outside] = 40
    scanned = find_scanned(hu, SPACING, 40.0, report)
    np.testing.assert_array_equal(scanned, ~outside)
    assert (hu[:, outside] == -1024).all()
    assert np.count_nonzero(hu[:, ~outside] == 40) > 0  # tissue of the same value stays


def test_surroundings_set_to_water_are_rejected(report: IntakeReport) -> None:
    hu = noisy_chest()
    hu[:, hu.max(axis=0) < -500] = 0
    with pytest.raises(IntakeError, match=r"the corners hold 0 HU in nearly all slices.*Use -1024 outside"):
        find_scanned(hu, SPACING, None, report)
