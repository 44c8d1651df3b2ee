"""``drrval simulate``: the files of a virtual cohort."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from simulation_factory import NO_FINDINGS, write_real_scan

from drrval.cli import main
from drrval.errors import StudyError
from drrval.intake import find_scans, read_ct
from drrval.simulation import SimulateSettings
from drrval.study import simulate
from drrval.study.cohort import plan_cohort
from drrval.study.cohort_settings import CohortSettings, load_virtual_cohort
from drrval.study.simulate import COLUMNS, write_cohort

COHORT = "simulate: {patients: 2, timepoints: {min: 1, max: 2}, seed: 5, spacing_mm: 8.0}\n"


def cohort_file(folder: Path, text: str = COHORT) -> Path:
    path = folder / "cohort.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def files(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    assert main(["simulate", str(cohort_file(folder)), "--out", str(folder / "nifti")]) == 0
    assert main(["simulate", str(folder / "cohort.yaml"), "--out", str(folder / "dicom"), "--format", "dicom"]) == 0
    return folder


def truth(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "truth.tsv", sep="\t", dtype={"subject": str, "session": str}, na_values="n/a")


def test_truth_table_has_the_stated_columns_and_a_row_per_scan(written):
    table = truth(written / "nifti")
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert len(table) == len(plan_cohort(load_virtual_cohort(written / "cohort.yaml"), written))
    assert table.equals(truth(written / "dicom").assign(path=table["path"]))
    assert all((written / "nifti" / path).is_file() for path in table["path"])


def test_truth_is_the_number_of_voxels_of_the_label_maps(written):
    for row in truth(written / "nifti").itertuples():
        folder = (written / "nifti" / row.path).parent
        lungs, lesions = (sitk.ReadImage(str(folder / f"{name}_labels.nii.gz")) for name in ("lungs", "lesions"))
        voxel_cm3 = float(np.prod(lesions.GetSpacing())) / 1000
        inside = sitk.GetArrayFromImage(lesions) > 0
        assert row.lesion_cm3 == pytest.approx(inside.sum() * voxel_cm3, rel=1e-8)
        lung = sitk.GetArrayFromImage(lungs)
        assert row.lung_cm3 == pytest.approx((lung > 0).sum() * voxel_cm3, rel=1e-8)
        assert row.ratio_right_percent == pytest.approx(
            100 * (inside & (lung == 1)).sum() / (lung == 1).sum(), rel=1e-8
        )


def test_both_formats_hold_the_same_ct(written):
    for path in truth(written / "nifti")["path"]:
        nifti = read_ct(written / "nifti" / path)
        series = read_ct(written / "dicom" / Path(path).parent / "ct")
        np.testing.assert_array_equal(nifti.hu, series.hu)
        np.testing.assert_allclose(nifti.grid.origin_mm, series.grid.origin_mm, atol=1e-3)
        np.testing.assert_allclose(nifti.grid.spacing_mm, series.grid.spacing_mm, atol=1e-5)


@pytest.mark.parametrize("file_format", ["nifti", "dicom"])
def test_label_maps_are_not_taken_for_scans(written, file_format):
    assert len(find_scans(written / file_format)) == len(truth(written / file_format))


def test_truth_table_serves_as_the_cohort_of_a_study(written):
    planned = plan_cohort(CohortSettings(table="truth.tsv"), written / "nifti")
    virtual = plan_cohort(load_virtual_cohort(written / "cohort.yaml"), written)
    assert [(s.scan_id, s.date) for s in planned] == [(s.scan_id, s.date) for s in virtual]
    assert all(scan.path.is_file() for scan in planned)


@pytest.mark.slow
def test_other_jobs_give_the_same_bytes(written, tmp_path):
    out = tmp_path / "two"
    assert main(["simulate", str(written / "cohort.yaml"), "--out", str(out), "--format", "dicom", "--jobs", "2"]) == 0
    assert files(out) == files(written / "dicom")


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """A folder with one small real CT."""
    folder = tmp_path_factory.mktemp("real")
    write_real_scan(folder, "p")
    return folder


def inserted(out: Path, real: Path) -> list[str]:
    """Write a cohort of one real chest at two time points, which takes less than a procedural one."""
    (real / "scans.tsv").write_text("subject\tpath\tlungs\np\tp.nii.gz\tp_lungs.nii.gz\n", encoding="utf-8")
    insert = {"table": "scans.tsv", "timepoints": 2, "seed": 5, "confounders": NO_FINDINGS}
    return write_cohort(CohortSettings.model_validate({"insert": insert}), out, data_root=real)


def test_a_second_run_makes_only_what_is_missing(real, tmp_path, monkeypatch):
    assert inserted(tmp_path, real) == []
    before = files(tmp_path)
    (tmp_path / "sub-p" / "ses-02" / "ct.nii.gz").unlink()
    made = []
    write = simulate._write
    monkeypatch.setattr(simulate, "_write", lambda recipe, *rest: made.append(recipe.scan_id) or write(recipe, *rest))
    assert inserted(tmp_path, real) == []
    assert made == ["sub-p_ses-02"]
    assert files(tmp_path) == before


def test_a_failing_scan_does_not_stop_the_others(real, tmp_path, monkeypatch):
    write = simulate._write

    def broken(recipe, *rest):
        if recipe.session == "01":
            raise StudyError("no lungs")
        return write(recipe, *rest)

    monkeypatch.setattr(simulate, "_write", broken)
    assert inserted(tmp_path, real) == ["sub-p_ses-01"]
    assert truth(tmp_path)["session"].tolist() == ["02"]
    crash = tmp_path / "logs" / "crash-sub-p_ses-01.txt"
    assert "no lungs" in crash.read_text()
    monkeypatch.undo()
    assert inserted(tmp_path, real) == []
    assert not crash.exists()


def test_output_of_another_cohort_is_refused(written, tmp_path):
    other = CohortSettings(simulate=SimulateSettings(seed=6))
    with pytest.raises(StudyError, match="holds a cohort with other settings"):
        write_cohort(other, written / "nifti")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds foreign files"):
        write_cohort(other, tmp_path)
    with pytest.raises(StudyError, match="is a file"):
        write_cohort(other, tmp_path / "notes.txt")
    with pytest.raises(StudyError, match="Expected one of: nifti, dicom"):
        write_cohort(other, tmp_path / "new", file_format="png")


def test_one_scan_needs_no_file(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(simulate, "write_cohort", lambda cohort, out, **rest: made.append(cohort.simulate) or [])
    assert main(["simulate", "--seed", "7", "--out", str(tmp_path / "one")]) == 0
    assert (made[0].patients, made[0].timepoints.max, made[0].seed) == (1, 1, 7)


@pytest.mark.parametrize(
    "text",
    [COHORT, f"cohort:\n  {COHORT}", f"name: s\nviews: [PA]\ncohort:\n  {COHORT}"],
    ids=["alone", "key", "study"],
)
def test_cohort_files(tmp_path, text):
    assert load_virtual_cohort(cohort_file(tmp_path, text)).simulate.patients == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simulate: {patient: 2}", r"cohort\.simulate\.patient: unknown key\. Expected one of: .*patients"),
        ("simulate: {confounders: {cold: 1}}", r"confounders\.cold: unknown key. Expected one of: effusion"),
        ("cohort: {table: a.tsv}", "needs simulate or insert; the scans of a table or glob exist already"),
        ("insert: {seed: 1}", "needs exactly one of glob, table; got none"),
        ("insert: {table: a.tsv, glob: {}}", "got both"),
        ("{}", "needs exactly one of simulate, insert, table, glob; got none"),
        ("3", "must hold a mapping of keys"),
    ],
)
def test_broken_cohort_files_name_key_and_rule(tmp_path, text, message):
    with pytest.raises(StudyError, match=message):
        load_virtual_cohort(cohort_file(tmp_path, text))
