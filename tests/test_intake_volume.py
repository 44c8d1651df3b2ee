"""Intake of NIfTI, NRRD and MetaImage files: orientation, dimensions, damage; and the real scans."""

from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_factory import axial_positions, phantom_hu, plane_points

from drrval.errors import IntakeError
from drrval.intake import check_ct, find_scans, read_ct
from drrval.intake.canonical import to_canonical
from drrval.intake.report import IntakeReport
from drrval.intake.stack import RawVolume

TURN = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.15)
OBLIQUE = np.reshape(TURN.GetMatrix(), (3, 3))
ALL_SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]


def phantom() -> np.ndarray:
    """int16 [z, y, x] of the phantom on 28 x 40 x 44 voxels of 5 mm."""
    return np.stack([phantom_hu(plane_points(p)) for p in axial_positions()]).astype(np.int16)


def write_volume(path: Path, values: np.ndarray, direction: np.ndarray | None = None) -> Path:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((5.0, 5.0, 5.0))
    image.SetOrigin(axial_positions()[0].tolist())
    if direction is not None:
        image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def rearranged(raw: RawVolume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> RawVolume:
    """The same volume stored with index axes (i, j, k) permuted and flipped; world positions unchanged."""
    direction, spacing = raw.direction[:, axes], np.array(raw.spacing_mm)[list(axes)]
    values = raw.values.transpose([2 - axes[2], 2 - axes[1], 2 - axes[0]])
    origin = raw.origin_mm.copy()
    for axis, flip in enumerate(flips):
        if flip:
            origin += direction[:, axis] * spacing[axis] * (values.shape[2 - axis] - 1)
            direction = direction * np.where(np.arange(3) == axis, -1, 1)
            values = np.flip(values, 2 - axis)
    return RawVolume(values, (spacing[0], spacing[1], spacing[2]), origin, direction)


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE], ids=["aligned", "oblique"])
def test_all_48_storage_orders_give_the_same_volume(direction: np.ndarray) -> None:
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    raw = RawVolume(values, (1.0, 2.0, 3.0), np.array([10.0, 20.0, 30.0]), direction)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            hu, grid = to_canonical(rearranged(raw, axes, flips), IntakeReport("scan"))
            np.testing.assert_array_equal(hu, values)
            assert hu.flags.c_contiguous
            assert grid.shape == (5, 6, 7)
            np.testing.assert_allclose(grid.spacing_mm, (1, 2, 3))
            np.testing.assert_allclose(grid.origin_mm, (10, 20, 30), atol=1e-9)
            np.testing.assert_allclose(grid.direction, direction, atol=1e-12)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_permuted_files_give_the_same_volume(tmp_path: Path, suffix: str) -> None:
    raw = RawVolume(phantom(), (5.0, 5.0, 5.0), axial_positions()[0], np.eye(3))  # type: ignore[arg-type]
    wanted = read_ct(write_volume(tmp_path / f"plain{suffix}", phantom()))
    for axes, flips in [((1, 2, 0), (True, False, True)), ((2, 1, 0), (False, True, False))]:
        stored = rearranged(raw, axes, flips)
        image = sitk.GetImageFromArray(np.ascontiguousarray(stored.values))
        image.SetSpacing(stored.spacing_mm)
        image.SetOrigin(stored.origin_mm.tolist())
        image.SetDirection(stored.direction.ravel().tolist())
        path = tmp_path / f"turned{suffix}"
        sitk.WriteImage(image, str(path))
        found = read_ct(path)
        np.testing.assert_array_equal(found.hu, wanted.hu)
        np.testing.assert_allclose(found.grid.origin_mm, wanted.grid.origin_mm, atol=1e-4)
        np.testing.assert_allclose(found.grid.direction, np.eye(3), atol=1e-5)


def test_oblique_file_keeps_world_positions(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "oblique.nii.gz", phantom(), OBLIQUE)
    volume, report = check_ct(path)
    assert volume is not None
    image = sitk.ReadImage(str(path))
    for index_zyx in [(0, 0, 0), (27, 5, 40), (13, 20, 30)]:
        point = image.TransformIndexToPhysicalPoint([int(i) for i in index_zyx[::-1]])
        np.testing.assert_allclose(volume.grid.index_to_world(index_zyx), point, atol=1e-3)
        assert volume.hu[index_zyx] == image[index_zyx[::-1]]
    assert [f.rule for f in report.findings] == ["oblique"]


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_every_format_reads_the_same(tmp_path: Path, suffix: str) -> None:
    volume, report = check_ct(write_volume(tmp_path / f"scan{suffix}", phantom()))
    assert volume is not None
    np.testing.assert_array_equal(volume.hu, phantom())
    assert volume.grid.shape == (28, 40, 44)
    np.testing.assert_allclose(volume.grid.origin_mm, axial_positions()[0], atol=1e-4)
    assert report.status == "accepted"
    assert report.facts["format"] in ("NIfTI", "NRRD", "MetaImage")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_in_a_file_becomes_air_not_water(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = phantom().astype(dtype)
    values[10, 20, 30], values[5, 6, 7] = np.nan, np.inf
    volume, report = check_ct(write_volume(tmp_path / f"scan{suffix}", values))
    assert volume is not None
    assert (volume.hu[10, 20, 30], volume.hu[5, 6, 7]) == (-1024, -1024)
    np.testing.assert_array_equal(np.argwhere(volume.hu != phantom()), [[5, 6, 7], [10, 20, 30]])
    assert report.findings[0].message == "set 2 NaN or infinite voxels to -1024 HU"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_four_dimensions_are_rejected(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(phantom())
    path = tmp_path / f"phases{suffix}"
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(path))
    with pytest.raises(IntakeError, match=r"4 dimensions \(44 x 40 x 28 x 2\); one CT volume has 3"):
        read_ct(path)


def test_colour_and_flat_images_are_rejected(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(phantom())
    sitk.WriteImage(sitk.Compose([image] * 3), str(tmp_path / "colour.mha"))
    with pytest.raises(IntakeError, match="voxels have 3 components"):
        read_ct(tmp_path / "colour.mha")
    sitk.WriteImage(image[:, :, 5], str(tmp_path / "flat.mha"))
    with pytest.raises(IntakeError, match=r"2 dimensions \(44 x 40\)"):
        read_ct(tmp_path / "flat.mha")


def test_series_uid_makes_no_sense_for_a_file(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.mha", phantom())
    with pytest.raises(IntakeError, match="Leave series_uid out"):
        read_ct(path, series_uid="1.2")


def test_nifti_without_orientation_is_rejected(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.nii", phantom())
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code (NIfTI-1 header)
    path.write_bytes(content)
    with pytest.raises(IntakeError, match=r"state the patient's orientation \(qform_code and sform_code are both 0"):
        read_ct(path)


def test_nrrd_without_orientation_is_rejected(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.nrrd", phantom())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"left-posterior-superior", b"scanner-xyz"))
    with pytest.raises(IntakeError, match="'space' is scanner-xyz, not an anatomical one"):
        read_ct(path)


def test_nrrd_in_ras_is_turned_to_lps(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.nrrd", phantom())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"left-posterior-superior", b"right-anterior-superior"))
    np.testing.assert_array_equal(read_ct(path).hu, phantom()[:, ::-1, ::-1])


def test_metaimage_without_orientation_is_rejected(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.mhd", phantom())
    lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("TransformMatrix", "AnatomicalOrientation"))]
    path.write_text("".join(kept), encoding="ascii")
    with pytest.raises(IntakeError, match="there is no TransformMatrix"):
        read_ct(path)


def test_two_nifti_orientations_are_noted(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.nii", phantom())
    content = bytearray(path.read_bytes())
    # ITK falls back to the qform when the sform is sheared, and says nothing.
    content[288:292] = np.float32(3.0).tobytes()  # srow_x[2]
    path.write_bytes(content)
    _, report = check_ct(path)
    assert [f.rule for f in report.findings] == ["two_orientations"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.9])
def test_truncated_file_is_rejected(tmp_path: Path, suffix: str, keep: float) -> None:
    path = write_volume(tmp_path / f"scan{suffix}", phantom())
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    volume, report = check_ct(path)
    assert volume is None
    assert [(f.rule, f.outcome) for f in report.findings] == [("damaged_file", "rejected")]


def test_nifti_shorter_than_its_header_says_is_rejected(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "scan.nii", phantom())
    short = tmp_path / "short.nii.gz"
    short.write_bytes(gzip.compress(path.read_bytes()[:-1000]))
    with pytest.raises(IntakeError, match="the file holds 97912 bytes, its header asks for 98912: truncated"):
        read_ct(short)


def test_label_map_is_rejected(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "labels.nii.gz", (phantom() < -500).astype(np.uint8))
    with pytest.raises(IntakeError, match=r"labels\.nii\.gz was rejected by rule 'value_range': .*a mask or label map"):
        read_ct(path)


@pytest.mark.data
def test_real_scans_are_read(data_root: Path) -> None:
    expected = {
        "cap_001": ((168, 512, 512), 1.0),
        "covid_P001": ((148, 512, 512), 0.982),
        "lidc_0314.nii.gz": ((220, 400, 400), 0.975),
        "lowres_01.nii.gz": ((64, 128, 128), 0.783),
        "lowres_02.nii.gz": ((64, 128, 128), 0.782),
        "lowres_03.nii.gz": ((64, 128, 128), 0.783),
        "lowres_04.nii.gz": ((64, 128, 128), 0.783),
        "normal_001": ((154, 512, 512), 1.0),
    }
    scans = find_scans(data_root / "ct")
    assert [scan.name for scan in scans] == list(expected)
    for scan in scans:
        volume, report = check_ct(scan)
        assert volume is not None
        assert report.status == "accepted"
        assert (volume.grid.shape, round(report.facts["scanned_fraction"], 3)) == expected[scan.name]
        np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-6)
        assert volume.hu.min() >= -1024
        # The spine lies behind the middle: bone is denser at the back (large y) than at the front.
        bone = (volume.hu > 300).mean(axis=(0, 2))
        half = len(bone) // 2
        assert bone[half:].sum() > bone[:half].sum()


def test_axes_that_are_not_at_right_angles_are_named_as_such(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "tilted.nii", phantom())
    content = bytearray(path.read_bytes())
    content[252:256] = struct.pack("<hh", 0, 1)  # qform_code, sform_code (NIfTI-1 header)
    content[280:328] = struct.pack("<12f", -5, 0, 0, 0, 0, -5, 1.5, 0, 0, 0, 5, 0)
    path.write_bytes(content)
    with pytest.raises(IntakeError, match=r"sheared_axes.*not at right angles.*gantry tilt.*Give the DICOM series"):
        read_ct(path)


def test_voxels_in_metres_are_shown_with_enough_digits(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "metres.nrrd", phantom())
    image = sitk.ReadImage(str(path))
    image.SetSpacing((0.005, 0.005, 0.005))
    sitk.WriteImage(image, str(path))
    with pytest.raises(IntakeError, match=r"0\.22 x 0\.2 x 0\.14 mm"):
        read_ct(path)
