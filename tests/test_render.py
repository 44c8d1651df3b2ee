from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from conftest import box_thorax
from PIL import Image

import drrval as dv
from drrval.cli import main
from drrval.cli import render as render_command
from drrval.errors import DrrvalError, GeometryError
from drrval.identity import examination_of
from drrval.intake import find_scans
from drrval.radiograph import Radiograph
from drrval.rendering import BACKENDS, position
from drrval.settings import DetectorSettings, DisplaySettings


@pytest.fixture(scope="module")
def drr() -> Radiograph:
    return dv.render(box_thorax(), "PA", seed=7)


def marked_thorax() -> dv.CTVolume:
    """The box thorax with a dense marker in the upper front of the patient's left lung."""
    ct = box_thorax()
    hu = ct.hu.copy()
    hu[44:48, 26:30, 66:70] = 2000.0
    return replace(ct, hu=hu)


def brightest_change(view: str) -> tuple[float, float]:
    """Row and column, 0-1 from the top left, of the marker's image."""
    quiet = DetectorSettings(noise=False)
    with_marker, without = (
        dv.render(ct, view, detector=quiet).area_density.sum(0) for ct in (marked_thorax(), box_thorax())
    )
    row, column = np.unravel_index(np.argmax(with_marker - without), without.shape)
    return float(row) / without.shape[0], float(column) / without.shape[1]


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_frontal_views_show_the_patients_left_on_the_right_and_the_head_up(view: str) -> None:
    row, column = brightest_change(view)
    assert row < 0.45
    assert column > 0.6


def test_lateral_view_shows_the_front_on_the_left() -> None:
    row, column = brightest_change("LL")
    assert row < 0.45
    assert column < 0.45


def test_lungs_are_darker_than_mediastinum_and_outside_is_black(drr: Radiograph) -> None:
    image = drr.image.astype(int)
    lung, spine, outside = image[480:544, 330:380].mean(), image[480:544, 500:524].mean(), image[480:544, :20].mean()
    assert outside < lung < spine
    assert outside < 3


def test_table_leaves_no_trace() -> None:
    with_table, without = (dv.render(box_thorax(table=t), "PA", seed=1) for t in (True, False))
    assert with_table.area_density == pytest.approx(without.area_density, abs=1e-4)


def test_noise_is_that_of_the_seed(drr: Radiograph) -> None:
    again = dv.render(box_thorax(), "PA", seed=7)
    other = dv.render(box_thorax(), "PA", seed=8)
    assert np.array_equal(drr.signal, again.signal)
    assert not np.array_equal(drr.signal, other.signal)
    assert np.array_equal(drr.area_density, other.area_density)


def test_field_ends_where_the_scan_ends(drr: Radiograph) -> None:
    rows = np.flatnonzero((drr.signal < 0.9).any(axis=1))
    # 60 slices of 4 mm, magnified 1.104 at the centre.
    assert (rows[-1] - rows[0] + 1) * 0.42 == pytest.approx(240 * 1800 / 1630, abs=1.0)
    assert (drr.image[: rows[0]] == 0).all()


def test_a_patient_is_positioned_once_for_all_views(drr: Radiograph) -> None:
    patient = position(box_thorax())
    assert np.array_equal(dv.render(patient, "PA", seed=7).signal, drr.signal)


def test_display_can_change_without_projecting_again(drr: Radiograph) -> None:
    darker = replace(drr, display=DisplaySettings(window=(1.0, 8.0)))
    assert darker.image.mean() < drr.image.mean()


def test_oblique_volume_gives_the_same_picture_as_an_upright_one() -> None:
    ct = box_thorax()
    turn = np.array([[0.98480775, -0.17364818, 0.0], [0.17364818, 0.98480775, 0.0], [0.0, 0.0, 1.0]])
    oblique = replace(ct, grid=replace(ct.grid, direction=turn))
    centre = position(ct).centre_mm
    upright = dv.view_geometry("PA", isocentre_mm=centre)
    turned = dv.view_geometry("PA", isocentre_mm=position(oblique).centre_mm).rotated(
        (0, 0, 1), 10.0, position(oblique).centre_mm
    )
    first, second = dv.render(ct, geometry=upright), dv.render(oblique, geometry=turned)
    assert second.area_density == pytest.approx(first.area_density, abs=2e-3)


def test_errors() -> None:
    with pytest.raises(GeometryError, match=r"Unknown view 'XX'. Expected one of: PA, AP, LL"):
        dv.render(box_thorax(), "XX")
    with pytest.raises(DrrvalError, match=r"Unknown backend 'siddon'\. .* cuda, deepdrr\."):
        dv.render(box_thorax(), "PA", backend="siddon")


def test_saved_files_hold_the_image(drr: Radiograph, tmp_path: Path) -> None:
    assert np.array_equal(np.asarray(Image.open(drr.save(tmp_path / "a.png"))), drr.image)
    assert np.array_equal(np.asarray(Image.open(drr.save(tmp_path / "a.tif"))), drr.shown(16))
    signal = sitk.ReadImage(str(drr.save(tmp_path / "a.nii.gz")))
    assert np.array_equal(sitk.GetArrayFromImage(signal)[0], drr.signal)
    assert signal.GetSpacing()[:2] == pytest.approx((0.42, 0.42))
    with pytest.raises(DrrvalError, match=r"Cannot write 'a.bmp'. Expected one of: .png"):
        drr.save(tmp_path / "a.bmp")


def test_dicom_is_a_synthetic_radiograph(drr: Radiograph, tmp_path: Path) -> None:
    ds = pydicom.dcmread(drr.save(tmp_path / "a.dcm"))
    assert (ds.SyntheticData, ds.Modality, ds.ViewPosition, ds.PatientOrientation) == ("YES", "DX", "PA", ["L", "F"])
    assert ds.PhotometricInterpretation == "MONOCHROME2"
    assert ds.DistanceSourceToDetector == 1800
    assert list(ds.ImagerPixelSpacing) == [0.42, 0.42]
    assert np.array_equal(ds.pixel_array, drr.shown(16) >> 4)
    assert drr.save(tmp_path / "b.dcm").read_bytes() == (tmp_path / "a.dcm").read_bytes()


def test_cts_of_the_same_name_are_different_patients_and_a_ct_is_the_same_one_under_any_name() -> None:
    ct = box_thorax()
    other = replace(ct, hu=np.roll(ct.hu, 8, axis=2))
    first, second, renamed = (examination_of(scan) for scan in (ct, other, replace(ct, name="elsewhere/ct.nii.gz")))
    for tag in ("PatientID", "StudyInstanceUID"):
        assert first[tag] == renamed[tag] != second[tag]
    assert (first["PatientName"], renamed["PatientName"]) == ("box thorax", "ct")


def test_a_radiograph_of_a_dicom_ct_is_a_new_series_of_its_study(drr: Radiograph, tmp_path: Path) -> None:
    headers = {"PatientID": "P7", "PatientName": "Müller^Ä", "StudyInstanceUID": "1.2.3", "StudyDate": "20200305"}
    whose = examination_of(replace(box_thorax(), examination=headers | {"PatientSex": "?" * 99}))
    ds = pydicom.dcmread(replace(drr, examination=whose).save(tmp_path / "a.dcm"))
    assert {tag: str(ds[tag].value) for tag in headers} == headers
    assert not ds.PatientSex  # breaks a rule of DICOM
    made = pydicom.dcmread(drr.save(tmp_path / "b.dcm"))
    assert made.PatientID.startswith("DRRVAL-")
    assert len({ds.SeriesInstanceUID, made.SeriesInstanceUID, ds.StudyInstanceUID, made.StudyInstanceUID}) == 4


def test_the_command_tells_of_repairs_and_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], drr: Radiograph
) -> None:
    hu = box_thorax(table=False).hu.copy()
    hu[0, 0, 0] = np.nan
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((4.0, 4.0, 4.0))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    monkeypatch.setattr("drrval.rendering.render", lambda *_, **__: replace(drr, flags=("ct_clips_lungs_top",)))
    assert main(["render", str(tmp_path / "ct.nii.gz"), "--out", str(tmp_path / "a.png")]) == 0
    printed = capsys.readouterr().out
    assert "(repaired): " in printed
    assert "note: ct_clips_lungs_top: the CT ends within the lungs at the top" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.jpg"], "Expected a name that ends in one of: .png"),
        (["--out", "file/x.png"], "The output folder file is a file"),
        (["--out", "folder.png"], "is a folder"),
        (["--out", "x.nii.gz", "--display", "minmax"], "--display minmax plays no part in x.nii.gz"),
        (["--out", "x.png", "--view", "XX"], "Unknown view 'XX'"),
        (["--out", "x.png", "--preset", "foo"], "Unknown geometry preset 'foo'"),
    ],
)
def test_the_command_refuses_bad_options_before_it_reads_the_ct(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder.png").mkdir()
    assert main(["render", "absent.nii.gz", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_misspelt_backend_is_a_bad_argument_and_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["render", "absent.nii.gz", "--out", "x.png", "--backend", "foo"])
    assert "deepdrr" in capsys.readouterr().err
    assert render_command.BACKENDS == BACKENDS


@pytest.mark.data
@pytest.mark.slow
def test_real_scans_lie_whole_in_the_field_and_the_cropped_one_is_flagged(data_root: Path) -> None:
    scans = find_scans(data_root / "ct")
    assert len(scans) == 8
    for scan in scans:
        ct = dv.read_ct(scan)
        drr = dv.render(ct, "PA")
        assert "lungs_outside_field" not in drr.flags, scan
        if scan.name == "cap_001":
            assert "ct_clips_body_laterally" in drr.flags
        # The heart lies on the right of the image: more tissue there in the lower chest, where no disease outweighs it.
        if scan.name in ("covid_P001", "normal_001", "lowres_03.nii.gz", "lowres_04.nii.gz"):
            rows = np.flatnonzero((drr.signal < 0.9).any(axis=1))
            lower = drr.area_density.sum(0)[int(np.quantile(rows, 0.5)) : int(np.quantile(rows, 0.65))]
            middle = lower.shape[1] // 2
            assert lower[:, middle + 30 : middle + 180].mean() > lower[:, middle - 180 : middle - 30].mean(), scan
