"""Labelled radiographs of real chests with disease put in, and of chests that are near twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from synthesis_factory import chest, settings, write_scans

from drrval.errors import StudyError
from drrval.intake import read_ct
from drrval.rendering import position
from drrval.synthesis import read_masks, synthesize
from drrval.synthesis.scans import plan_scans
from drrval.synthesis.settings import SplitSettings
from drrval.synthesis.splits import assign_splits, chest_pattern

SPLIT = {"train": 0.34, "val": 0.33, "test": 0.33, "twin_correlation": 0.985}  # these chests are much alike
NO_FINDINGS = dict.fromkeys(("effusion", "atelectasis", "nodules", "emphysema", "tubes", "leads"), 0.0)


def inserted(table: str, **changes: object) -> dict[str, object]:
    course = {"timepoints": 2, "seed": 1, "severity": {"severe": 1}, "pattern": {"covid": 1}, "nuisance": False}
    return {"insert": {"table": table, "confounders": NO_FINDINGS, **course, **changes}}


def resampled(path: Path, to: Path, spacing: tuple[float, float, float]) -> Path:
    """A copy of a CT with other voxels, between the old ones, turned by two degrees."""
    ct = sitk.ReadImage(str(path))
    size = [int(n * s / t) - 1 for n, s, t in zip(ct.GetSize(), ct.GetSpacing(), spacing, strict=True)]
    middle = ct.TransformContinuousIndexToPhysicalPoint([n / 2 for n in ct.GetSize()])
    turn = sitk.Euler3DTransform(middle, 0.0, 0.0, 0.035)
    origin = ct.TransformContinuousIndexToPhysicalPoint((0.4, 0.3, 0.35))
    copy = sitk.Resample(ct, size, turn, sitk.sitkLinear, origin, spacing, ct.GetDirection(), -1000.0)
    sitk.WriteImage(copy, str(to))
    return to


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three chests without disease; A's lung mask names both lungs with one label."""
    folder = write_scans(tmp_path_factory.mktemp("data"), {name: chest(n, ()) for n, name in enumerate("ABC", 1)})
    mask = sitk.ReadImage(str(folder / "A_lungs_labels.nii.gz"))
    sitk.WriteImage(sitk.Cast(mask > 0, sitk.sitkUInt8), str(folder / "A_lungs_labels.nii.gz"))
    rows = [f"{name}\t{name}.nii.gz\t{name}_lungs_labels.nii.gz" for name in "ABC"]
    (folder / "insert.tsv").write_text("\n".join(["subject\tpath\tlungs", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def table(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("set") / "out"
    wanted = settings(split=SPLIT, views_per_scan=1, cohorts=[inserted("insert.tsv")])
    assert synthesize(wanted, out, data_root=data) == []
    return out, pd.read_csv(out / "images.csv")


def test_disease_put_into_real_chests_is_labelled_exactly(table: tuple[Path, pd.DataFrame]) -> None:
    out, rows = table
    assert set(rows["label_source"]) == {"truth"}
    assert len(rows) == 6
    assert (rows.groupby("subject")["ct_ratio_percent"].max() > 0.0).all(), "disease in every patient"
    for row in rows.itertuples():
        masks = read_masks(out / row.labels)
        sick = masks["lesion_right"] | masks["lesion_left"]
        assert sick.any() == (row.ratio_percent > 0.0)
        right, left = (np.nonzero(masks[f"lung_{side}"])[1].mean() for side in ("right", "left"))
        assert right < left, "the patient's right lung is on the left of the image"


def test_scans_of_one_inserted_patient_stay_together(table: tuple[Path, pd.DataFrame]) -> None:
    _, rows = table
    assert set(rows["split"]) == {"train", "val", "test"}
    assert not rows[["subject", "split"]].drop_duplicates()["subject"].duplicated().any()


def test_a_real_chest_that_is_also_in_another_cohort_is_not_parted(data: Path, tmp_path: Path) -> None:
    twice = settings(split=SPLIT, views_per_scan=1, cohorts=[inserted("insert.tsv"), inserted("insert.tsv", seed=2)])
    synthesize(twice, tmp_path / "out", data_root=data)
    rows = pd.read_csv(tmp_path / "out" / "images.csv")
    assert set(rows["cohort"]) == {1, 2}
    assert not rows[["subject", "split"]].drop_duplicates()["subject"].duplicated().any()


def test_a_resampled_copy_with_other_disease_is_caught(data: Path, tmp_path: Path) -> None:
    for name in ("A", "C"):
        (tmp_path / f"{name}.nii.gz").write_bytes((data / f"{name}.nii.gz").read_bytes())
    resampled(data / "A.nii.gz", tmp_path / "TWIN.nii.gz", (3.1, 3.1, 4.3))
    rows = ["subject\tpath", *(f"{name}\t{name}.nii.gz" for name in ("A", "C", "TWIN"))]
    (tmp_path / "three.tsv").write_text("\n".join(rows) + "\n")
    split = {**SPLIT, "twin_correlation": 0.95}
    alike = settings(split=split, views_per_scan=1, cohorts=[inserted("three.tsv", timepoints=1)])
    with pytest.raises(StudyError, match=r"splits leak, 1 time.*\n.*sub-A_.* and .*sub-TWIN_.* show the same chest"):
        synthesize(alike, tmp_path / "out", data_root=tmp_path)


@pytest.mark.data
def test_the_default_tells_resampled_copies_from_other_patients(data_root: Path, tmp_path: Path) -> None:
    scans = [data_root / "ct" / f"lowres_0{n}.nii.gz" for n in (3, 4)]
    copy = resampled(scans[1], tmp_path / "copy.nii.gz", (2.6, 2.6, 4.1))
    other, one, twin = (chest_pattern(position(read_ct(path))) for path in (*scans, copy))
    assert one @ other < SplitSettings().twin_correlation < one @ twin


def test_the_same_virtual_patient_in_two_cohorts_is_not_parted(tmp_path: Path) -> None:
    simulate = {"patients": 2, "timepoints": 1, "seed": 5, "spacing_mm": 6.0}
    twice = settings(cohorts=[{"simulate": simulate}, {"simulate": {**simulate, "patients": 3}}])
    scans = plan_scans(twice, tmp_path)
    parts = assign_splits([scan.chests for scan in scans], SplitSettings(train=0.4, val=0.3, test=0.3), seed=1)
    by_subject: dict[str, set[str]] = {}
    for scan, part in zip(scans, parts, strict=True):
        by_subject.setdefault(scan.planned.subject, set()).add(part)
    assert [len(found) for found in by_subject.values()] == [1, 1, 1]
