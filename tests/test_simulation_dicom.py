"""A virtual CT as a DICOM series: what drrval's intake and pydicom read back."""

import datetime
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from conftest import box_thorax
from scipy.spatial.transform import Rotation

from drrval.intake import check_ct
from drrval.simulation.dicom import SeriesLabels, write_series
from drrval.volume import CTVolume

LABELS = SeriesLabels("07", "02", datetime.date(2020, 1, 10), origin="a")


def noisy(oblique: bool = False) -> CTVolume:
    ct = box_thorax()
    noise = np.random.default_rng(0).normal(0, 15, ct.hu.shape)
    turn = Rotation.from_euler("xyz", [2, -1, 3], degrees=True).as_matrix() if oblique else np.eye(3)
    grid = replace(ct.grid, spacing_mm=(4.0, 3.9, 10 / 3), origin_mm=(-200.1234567, -160.0, -120.5), direction=turn)
    return replace(ct, hu=np.maximum(ct.hu + noise, -1024).astype(np.float32), grid=grid)


@pytest.mark.parametrize("oblique", [False, True])
def test_intake_reads_the_same_values_and_grid(tmp_path, oblique):
    ct = noisy(oblique)
    write_series(tmp_path, ct, LABELS)
    read, report = check_ct(tmp_path)
    assert report.status == "accepted"
    assert [f.rule for f in report.findings] == (["oblique"] if oblique else [])
    np.testing.assert_array_equal(read.hu, np.rint(ct.hu))
    assert read.grid.shape == ct.grid.shape
    np.testing.assert_allclose(read.grid.spacing_mm, ct.grid.spacing_mm, atol=1e-6)
    np.testing.assert_allclose(read.grid.origin_mm, ct.grid.origin_mm, atol=1e-6)
    np.testing.assert_allclose(read.grid.direction, ct.grid.direction, atol=1e-9)


def test_pydicom_reads_one_series_of_one_patient_and_day(tmp_path):
    paths = write_series(tmp_path, noisy(), LABELS)
    slices = [pydicom.dcmread(path) for path in paths]
    assert len(slices) == 60
    for name, value in (
        ("PatientID", "07"),
        ("StudyDate", "20200110"),
        ("Modality", "CT"),
        ("RescaleIntercept", -1024),
        ("SyntheticData", "YES"),
    ):
        assert {getattr(s, name) for s in slices} == {value}
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({getattr(s, name) for s in slices}) == 1
    assert len({s.SOPInstanceUID for s in slices}) == 60
    assert [s.ImagePositionPatient[2] for s in slices] == sorted(s.ImagePositionPatient[2] for s in slices)
    assert all(s.file_meta.MediaStorageSOPInstanceUID == s.SOPInstanceUID for s in slices)
    assert all(pydicom.uid.UID(s.SOPInstanceUID).is_valid for s in slices)
    np.testing.assert_array_equal(slices[9].pixel_array.astype(float) - 1024, np.rint(noisy().hu[9]))


def test_same_labels_give_the_same_bytes_and_other_labels_other_uids(tmp_path):
    first = [p.read_bytes() for p in write_series(tmp_path / "a", noisy(), LABELS)]
    assert first == [p.read_bytes() for p in write_series(tmp_path / "b", noisy(), LABELS)]
    uids = {LABELS.uid("study")}
    for change in ({"patient": "08"}, {"origin": "b"}):
        uids.add(replace(LABELS, **change).uid("study"))
    assert len(uids) == 3
