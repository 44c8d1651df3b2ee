"""Intake of DICOM folders: headers, series choice, decoding, rescaling, orientation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import (
    CORONAL,
    SAGITTAL,
    assert_is_phantom,
    axial_positions,
    edit,
    phantom_hu,
    plane_points,
    write_series,
    write_slice,
)
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from drrval.errors import IntakeError
from drrval.intake import check_ct, read_ct
from drrval.intake.report import IntakeReport


def rules(report: IntakeReport) -> dict[str, str]:
    """Outcome by rule."""
    return {finding.rule: finding.outcome for finding in report.findings}


def message(report: IntakeReport, rule: str) -> str:
    return next(f.message for f in report.findings if f.rule == rule)


def test_clean_series_is_accepted_in_world_position(tmp_path: Path) -> None:
    write_series(tmp_path)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert report.status == "accepted"
    assert report.findings == []
    assert volume.hu.dtype == np.float32
    assert volume.hu.flags.c_contiguous
    assert volume.grid.shape == (28, 40, 44)
    np.testing.assert_allclose(volume.grid.spacing_mm, (5, 5, 5))
    np.testing.assert_allclose(volume.grid.origin_mm, axial_positions()[0])
    np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-12)
    assert volume.scanned.shape == (40, 44)
    assert volume.scanned.all()
    assert_is_phantom(volume)
    facts = report.facts
    assert (facts["format"], facts["modality"], facts["n_files"], facts["n_slices"]) == ("DICOM", "CT", 28, 28)
    assert (facts["kvp"], facts["study_date"], facts["patient_position"]) == (120.0, "2020-01-02", "HFS")
    assert (facts["hu_min"], facts["hu_max"]) == (-1000.0, 700.0)
    assert "Not^Reported" not in str(report.to_dict())


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000", "RLE"])
def test_compressed_pixels_decode_exactly(tmp_path: Path, codec: str) -> None:
    paths = write_series(tmp_path, codec=codec)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID.is_compressed
    assert_is_phantom(read_ct(tmp_path))


def test_implicit_syntax_without_preamble_is_read(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert_is_phantom(read_ct(tmp_path))


def test_order_follows_position_not_names_or_instance_numbers(tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(28).tolist()
    write_series(tmp_path, order=order)
    assert_is_phantom(read_ct(tmp_path))


def test_rescale_slope_is_applied_per_slice(tmp_path: Path) -> None:
    write_series(tmp_path, axial_positions()[::2])
    for k, position in enumerate(axial_positions()[1::2]):
        hu = phantom_hu(plane_points(position))
        # Odd multiples of half a unit exist only with this slope: a reader that keeps integers would lose them.
        write_slice(tmp_path / f"odd{k}.dcm", hu + 0.5, position, slope=0.5, intercept=-2000)
    volume = read_ct(tmp_path)
    index = np.stack(np.indices(volume.grid.shape), axis=-1)
    expected = phantom_hu(volume.grid.index_to_world(index))
    expected[1::2] += 0.5
    np.testing.assert_array_equal(volume.hu, expected)


def test_missing_rescale_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleSlope=None, RescaleIntercept=None)
    with pytest.raises(IntakeError, match=r"rule 'rescale': 28 of 28 slices state no RescaleSlope.*Export the"):
        read_ct(tmp_path)


def test_missing_rescale_is_accepted_when_pixels_are_hu(tmp_path: Path) -> None:
    write_series(tmp_path, slope=None, intercept=None, signed=True)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert_is_phantom(volume)
    assert rules(report) == {"rescale": "accepted"}


def test_zero_slope_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path)
    edit(tmp_path / "slice004.dcm", RescaleSlope=0)
    with pytest.raises(IntakeError, match="RescaleSlope is 0"):
        read_ct(tmp_path)


def test_largest_axial_ct_series_is_chosen(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_series(tmp_path, axial_positions(40, 3.5), prefix="thin", SeriesInstanceUID="1.9", SeriesNumber=9)
    write_series(tmp_path, axial_positions(60, 2.0), prefix="mr", SeriesInstanceUID="1.8", Modality="MR")
    coronal = np.array([[-107.5, y, 70.0] for y in np.linspace(-98, 98, 50)])
    write_series(tmp_path, coronal, prefix="cor", orientation=CORONAL, SeriesInstanceUID="1.7")
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert report.facts["series_uid"] == "1.9"
    assert volume.grid.shape[0] == 40
    text = message(report, "series_choice")
    assert "took 40 CT images, axial, 1.9" in text
    for left_out in ("28 CT images, axial, 1.2.3.4", "60 MR images, axial, 1.8", "50 CT images, coronal, 1.7"):
        assert left_out in text


def test_equal_series_are_chosen_by_number(tmp_path: Path) -> None:
    write_series(tmp_path, prefix="a", SeriesInstanceUID="1.1", SeriesNumber=7)
    write_series(tmp_path, prefix="b", SeriesInstanceUID="1.2", SeriesNumber=3)
    assert check_ct(tmp_path)[1].facts["series_uid"] == "1.2"


def test_series_uid_names_the_series(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_series(tmp_path, axial_positions(40, 3.5), prefix="thin", SeriesInstanceUID="1.9")
    assert read_ct(tmp_path, series_uid="1.2.3.4").grid.shape[0] == 28
    with pytest.raises(
        IntakeError, match=r"no series 5\.5 here\. Expected one of: 28 CT images, axial, 1\.2\.3\.4; 40"
    ):
        read_ct(tmp_path, series_uid="5.5")


def test_localizers_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path)
    localizer = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_series(tmp_path, axial_positions()[:2] + 1.0, prefix="scout", ImageType=localizer)
    write_series(tmp_path, [[-107.5, 0.0, 70.0]], prefix="side", orientation=SAGITTAL)  # told by orientation only
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert volume.grid.shape == (28, 40, 44)
    assert message(report, "localizer") == "left out 2 localizer image(s)"
    assert "left out: 1 CT images, sagittal" in message(report, "series_choice")


def test_only_localizers_are_rejected(tmp_path: Path) -> None:
    write_series(tmp_path, axial_positions()[:2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(IntakeError, match="all 2 images are localizers"):
        read_ct(tmp_path)


def test_other_modality_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path, Modality="MR")
    with pytest.raises(IntakeError, match="Modality is MR; only CT can be used"):
        read_ct(tmp_path)


def test_inverted_greyscale_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path, PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(IntakeError, match="PhotometricInterpretation is MONOCHROME1"):
        read_ct(tmp_path)


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_without_geometry_are_rejected(tmp_path: Path, tag: str) -> None:
    write_series(tmp_path, **{tag: None})
    with pytest.raises(IntakeError, match="no image states ImagePositionPatient"):
        read_ct(tmp_path)


@pytest.mark.parametrize("codec", ["", "JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.3, 0.9])
def test_truncated_slice_is_rejected_by_name(tmp_path: Path, codec: str, keep: float) -> None:
    write_series(tmp_path, codec=codec)
    victim = tmp_path / "slice011.dcm"
    content = victim.read_bytes()
    victim.write_bytes(content[: int(keep * len(content))])
    volume, report = check_ct(tmp_path)
    assert volume is None
    assert report.status == "rejected"
    assert rules(report) == {"damaged_file": "rejected"}
    assert "slice011.dcm" in message(report, "damaged_file")


def test_stray_files_are_ignored_with_a_note(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("report of the reader", encoding="utf-8")
    (tmp_path / ".hidden").write_bytes(b"x")
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert_is_phantom(volume)
    assert message(report, "stray_files") == "ignored, not a DICOM image: notes.txt"


def test_empty_folder_missing_path_and_unknown_file(tmp_path: Path) -> None:
    (tmp_path / "scan.txt").write_text("no scan", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntakeError, match=r"no DICOM image among 0 file\(s\). Name the folder"):
        read_ct(tmp_path / "empty")
    with pytest.raises(IntakeError, match=r"nowhere was rejected by rule 'path': there is no such file or folder"):
        read_ct(tmp_path / "nowhere")
    with pytest.raises(IntakeError, match=r"ends in '\.txt' and the content is not DICOM. Expected"):
        read_ct(tmp_path / "scan.txt")
    assert check_ct(tmp_path / "nowhere")[0] is None


def test_single_slice_is_rejected(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    with pytest.raises(IntakeError, match="Give the folder with the whole CT series"):
        read_ct(paths[3])


def test_few_slices_and_short_scans_are_rejected(tmp_path: Path) -> None:
    write_series(tmp_path / "few", axial_positions(19, 7.0))
    with pytest.raises(IntakeError, match="at least 20 slices are needed"):
        read_ct(tmp_path / "few")
    write_series(tmp_path / "short", axial_positions(24, 4.0))
    with pytest.raises(IntakeError, match="each side must measure at least 100 mm"):
        read_ct(tmp_path / "short")


def test_coarse_slices_are_noted_or_rejected(tmp_path: Path) -> None:
    write_series(tmp_path / "note", axial_positions(22, 6.0))
    assert rules(check_ct(tmp_path / "note")[1]) == {"coarse_spacing": "note"}
    write_series(tmp_path / "reject", axial_positions(22, 10.5))
    with pytest.raises(IntakeError, match=r"voxel spacing is 10\.5 mm; the limit is 10 mm"):
        read_ct(tmp_path / "reject")


@pytest.mark.parametrize(
    ("patient_position", "orientation", "corner_signs"),
    [
        ("HFP", [[-1, 0, 0], [0, -1, 0]], (-1, -1)),
        ("FFS", [[-1, 0, 0], [0, 1, 0]], (-1, 1)),
        ("FFP", [[1, 0, 0], [0, -1, 0]], (1, -1)),
    ],
)
def test_patient_positions_come_out_canonical(
    tmp_path: Path, patient_position: str, orientation: list[list[int]], corner_signs: tuple[int, int]
) -> None:
    positions = axial_positions() * [*corner_signs, 1]
    write_series(tmp_path, positions, orientation=np.array(orientation, float), PatientPosition=patient_position)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert_is_phantom(volume)
    np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-9)
    assert rules(report) == {"patient_position": "note"}


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_stacks_of_other_planes_become_axial(tmp_path: Path, plane: str) -> None:
    along = np.linspace(-97.5, 97.5, 40)
    if plane == "coronal":
        positions = np.stack([np.full(40, -107.5), along, np.full(40, 97.5)], axis=1)
    else:
        positions = np.stack([along, np.full(40, -107.5), np.full(40, 97.5)], axis=1)
    write_series(tmp_path, positions, orientation=CORONAL if plane == "coronal" else SAGITTAL)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert_is_phantom(volume)
    assert f"{plane} slices" in message(report, "orientation")


def test_oblique_slices_keep_their_rotation_and_world_positions(tmp_path: Path) -> None:
    turn = np.deg2rad(12)
    orientation = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0]])
    corner = plane_points([0, 0, 0], orientation)[-1, -1] / -2
    positions = [corner + np.array([0, 0, (k - 13.5) * 5.0]) for k in range(28)]
    write_series(tmp_path, positions, orientation=orientation)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    np.testing.assert_allclose(volume.grid.direction[:, 0], orientation[0], atol=1e-6)
    # Positions are rounded to 1e-6 mm in the file, which may tip a voxel on a boundary of the phantom.
    assert_is_phantom(volume, share=0.001)
    assert rules(report) == {"oblique": "note"}
    assert "12.00 degrees" in message(report, "oblique")


def test_two_acquisitions_at_the_same_positions_are_rejected(tmp_path: Path) -> None:
    write_series(tmp_path)
    for path in write_series(tmp_path, prefix="late", AcquisitionNumber=2):
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array.copy()
        pixels[20, 20] += 7
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
    with pytest.raises(IntakeError, match=r"28 position.* hold more than one image.*Keep one acquisition"):
        read_ct(tmp_path)


def test_copies_of_files_are_dropped(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths[4:9]:
        shutil.copy(path, path.with_name("copy of " + path.name))
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert_is_phantom(volume)
    assert (report.status, rules(report)) == ("repaired", {"duplicate_slices": "repaired"})


def test_missing_files_are_interpolated(tmp_path: Path) -> None:
    write_series(tmp_path, skip=[9])
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert volume.grid.shape[0] == 28
    np.testing.assert_allclose(volume.hu[9], (volume.hu[8] + volume.hu[10]) / 2)
    assert report.status == "repaired"
    assert "interpolated 1 missing slice(s) linearly, at -22.5 mm" in message(report, "missing_slices")


def test_gantry_tilt_is_undone_in_world_coordinates(tmp_path: Path) -> None:
    turn = np.deg2rad(15)
    orientation = np.array([[1, 0, 0], [0, np.cos(turn), np.sin(turn)]])
    write_series(tmp_path, axial_positions(36, 4.0), orientation=orientation, GantryDetectorTilt=15)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert "slices stacked 15.0 degrees off their normal" in message(report, "gantry_tilt")
    np.testing.assert_allclose(volume.grid.spacing_mm[2], 4.0 * np.cos(turn), rtol=1e-6)
    index = np.stack(np.indices(volume.grid.shape), axis=-1)
    expected = phantom_hu(volume.grid.index_to_world(index))
    inside = (volume.hu > -1000.5)[1:-1]  # what no slice covers is -1024
    wrong = np.abs(volume.hu - expected)[1:-1] > 300  # linear resampling blurs edges by up to one voxel
    off_by_two = np.abs(np.roll(volume.hu, 2, axis=1) - expected)[1:-1] > 300
    assert np.mean(wrong[inside]) < 0.05
    assert np.mean(off_by_two[inside]) > 0.15  # the test can tell a shear that is off by two pixels


@pytest.mark.parametrize("padding", [63536, -2000])
@pytest.mark.parametrize("implicit", [False, True])
def test_stated_padding_outside_the_circle(tmp_path: Path, padding: int, implicit: bool) -> None:
    corner = np.hypot(*np.mgrid[-19.5:20, -21.5:22]) > 21.5
    for path in write_series(tmp_path, slope=1, intercept=0, signed=True):
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array.copy()
        pixels[corner] = -2000
        dataset.PixelData = pixels.tobytes()
        dataset.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
        if implicit:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
    volume, report = check_ct(tmp_path)
    assert volume is not None
    assert volume.hu.min() == -1024
    np.testing.assert_array_equal(volume.scanned, ~corner)
    assert report.status == "repaired"


def test_two_patients_in_one_folder_are_rejected_unless_one_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, prefix="a")
    for path in write_series(tmp_path, prefix="b"):
        edit(path, PatientID="P2", StudyInstanceUID="9.9", SeriesInstanceUID="9.9.1")
    volume, report = check_ct(tmp_path)
    assert volume is None
    assert "different patients or examinations" in message(report, "examination")
    named, _ = check_ct(tmp_path, series_uid="9.9.1")
    assert named is not None
