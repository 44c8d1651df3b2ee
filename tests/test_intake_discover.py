"""Finding scans under a folder, fingerprints, and the intake report."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_factory import write_series

from drrval.errors import IntakeError
from drrval.intake import IntakeReport, check_ct, find_scans, input_digest, is_mask_name


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16)), str(path))
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_series(tmp_path / "b_dicom" / "series")
    write_series(tmp_path / ".hidden")
    for name in ("a.nii.gz", "c/scan.nrrd", "c/scan.mhd", "c/scan_lungs.nii.gz", "c/scan-seg.mha", "c/mask.nii"):
        write_image(tmp_path / name)
    (tmp_path / "table.csv").write_text("a,b", encoding="utf-8")
    (tmp_path / "c" / "DICM.txt").write_text("DICM", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_scans_are_found_in_order(tree: Path) -> None:
    found = [path.relative_to(tree).as_posix() for path in find_scans(tree)]
    assert found == ["a.nii.gz", "b_dicom/series", "c/scan.mhd", "c/scan.nrrd"]


def test_root_may_be_a_scan_itself(tree: Path) -> None:
    assert find_scans(tree / "b_dicom" / "series") == [tree / "b_dicom" / "series"]
    assert find_scans(tree / "a.nii.gz") == [tree / "a.nii.gz"]


def test_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match=r"nowhere does not exist\. Check the path"):
        find_scans(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["a_lungs.nii.gz", "a_mask.nii", "A_SEG.mha", "x-label.nrrd", "x_labels.mhd", "mask.nii"]
)
def test_mask_names(name: str) -> None:
    assert is_mask_name(name)


@pytest.mark.parametrize("name", ["a.nii.gz", "lungs_01.nii.gz", "unmask.nii", "relabel.mha", "covid_P001"])
def test_scan_names(name: str) -> None:
    assert not is_mask_name(name)


def test_digest_is_over_names_and_contents(tmp_path: Path) -> None:
    write_series(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = input_digest(tmp_path / "one")
    assert len(first) == 64
    assert input_digest(tmp_path / "two") == first  # the folder's own name plays no part

    victim = tmp_path / "two" / "slice003.dcm"
    os.rename(victim, victim.with_name("renamed.dcm"))
    assert input_digest(tmp_path / "two") != first
    os.rename(victim.with_name("renamed.dcm"), victim)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    assert input_digest(tmp_path / "two") != first


def test_digest_covers_the_data_file_of_a_header(tmp_path: Path) -> None:
    for header, data in (("scan.mhd", "scan.raw"), ("scan.nhdr", "scan.raw.gz")):
        path = write_image(tmp_path / header)
        before = input_digest(path)
        candidates = [f for f in tmp_path.iterdir() if f.name.startswith("scan.raw")]
        assert candidates, data
        for file in candidates:
            file.write_bytes(file.read_bytes() + b"x")
        assert input_digest(path) != before
        for file in candidates:
            file.unlink()


def test_digest_of_a_missing_scan_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match="does not exist"):
        input_digest(tmp_path / "nowhere")


def test_report_as_row_and_json(tmp_path: Path) -> None:
    write_series(tmp_path, skip=[9])
    _, report = check_ct(tmp_path)
    row = report.to_row()
    assert row["path"] == str(tmp_path)
    assert (row["status"], row["shape"], row["spacing_mm"]) == ("repaired", "28 x 40 x 44", "5 x 5 x 5")
    assert (row["n_slices"], row["kvp"], row["kernel"]) == (27, 120.0, "")
    assert str(row["findings"]).startswith("missing_slices (repaired): interpolated 1 missing slice")
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert report.to_dict()["findings"][0]["outcome"] == "repaired"


def test_rows_have_the_same_columns(tmp_path: Path) -> None:
    rejected = check_ct(tmp_path / "nowhere")[1]
    assert rejected.status == "rejected"
    assert list(rejected.to_row()) == list(IntakeReport("x").to_row())


def test_status_is_the_worst_outcome() -> None:
    report = IntakeReport("scan")
    report.add("a", "note", "n")
    report.add("b", "accepted", "n")
    assert report.status == "accepted"
    report.add("c", "repaired", "n")
    assert report.status == "repaired"
    with pytest.raises(IntakeError, match="scan was rejected by rule 'd': why"):
        report.reject("d", "why")
    assert report.status == "rejected"
