from pathlib import Path

import pytest

from drrval.errors import StudyError
from drrval.study.cohort import plan_cohort
from drrval.study.cohort_settings import CohortSettings


def table(tmp_path: Path, *rows: str, header: str = "subject\tsession\tdate\tpath") -> CohortSettings:
    (tmp_path / "scans.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return CohortSettings(table="scans.tsv")


def test_table_is_sorted_by_subject_then_date(tmp_path: Path) -> None:
    cohort = table(tmp_path, "10\tb\t2020-01-09\tx", "2\ta\t2020-03-01\ty", "10\tc\t2020-01-02\tz")
    assert [s.scan_id for s in plan_cohort(cohort, tmp_path)] == ["sub-2_ses-a", "sub-10_ses-c", "sub-10_ses-b"]


def test_sessions_are_numbered_when_left_out(tmp_path: Path) -> None:
    cohort = table(tmp_path, "a\tx", "a\ty", header="subject\tpath")
    assert [s.session for s in plan_cohort(cohort, tmp_path)] == ["01", "02"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a b\t1\t\tx", "line 2: subject is 'a b'. Use letters"),
        ("a\t1\t02.01.2020\tx", "date '02.01.2020' is not a date. Write it as YYYY-MM-DD"),
        ("a\t1\t\t", "path is empty"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        plan_cohort(table(tmp_path, row), tmp_path)


def test_twins_missing_columns_and_empty_tables_are_errors(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="Two scans are called sub-a_ses-1"):
        plan_cohort(table(tmp_path, "a\t1\t\tx", "a\t1\t\ty"), tmp_path)
    with pytest.raises(StudyError, match=r"column \['path'\] is missing"):
        plan_cohort(table(tmp_path, "a", header="subject"), tmp_path)
    with pytest.raises(StudyError, match="lists no scans"):
        plan_cohort(table(tmp_path), tmp_path)


def test_missing_table_shows_the_instructions(tmp_path: Path) -> None:
    cohort = CohortSettings(table="scans.tsv", instructions="Put the scans here.")
    with pytest.raises(StudyError, match=r"(?s)does not exist.*Put the scans here"):
        plan_cohort(cohort, tmp_path)


def test_glob_takes_labels_from_the_path_and_leaves_masks_out(tmp_path: Path) -> None:
    for name in ("p1/2020-01-02.nii.gz", "p1/2020-01-09.nii.gz", "p2/2020-02-01.nii.gz", "p2/2020-02-01_lungs.nii.gz"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    cohort = CohortSettings.model_validate(
        {"glob": {"pattern": "**", "name": r"(?P<subject>[^/]+)/(?P<session>(?P<date>[0-9-]+))\.nii"}}
    )
    scans = plan_cohort(cohort, tmp_path)
    assert [(s.subject, s.session, s.date) for s in scans] == [
        ("p1", "2020-01-02", "2020-01-02"),
        ("p1", "2020-01-09", "2020-01-09"),
        ("p2", "2020-02-01", "2020-02-01"),
    ]


def test_glob_errors(tmp_path: Path) -> None:
    cohort = CohortSettings.model_validate({"glob": {"pattern": "*.mha"}, "instructions": "Give CTs."})
    with pytest.raises(StudyError, match=r"(?s)No CT below .* matches '\*\.mha'.*Give CTs"):
        plan_cohort(cohort, tmp_path)
    with pytest.raises(StudyError, match="is not a folder"):
        plan_cohort(cohort, tmp_path / "none")


def test_simulated_scans_have_dates_and_need_no_files(tmp_path: Path) -> None:
    cohort = CohortSettings.model_validate({"simulate": {"patients": 2, "timepoints": 3, "seed": 5}})
    scans = plan_cohort(cohort, tmp_path)
    assert len(scans) == 6
    assert all(s.path is None and s.date.startswith("2020-") for s in scans)
    assert scans == plan_cohort(cohort, tmp_path)


def test_virtual_patients_in_real_chests(tmp_path: Path) -> None:
    rows = ["a\tx\tx_lungs.nii.gz", "b\ty\t"]
    (tmp_path / "real.tsv").write_text("\n".join(["subject\tpath\tlungs", *rows]) + "\n", encoding="utf-8")
    cohort = CohortSettings.model_validate({"insert": {"table": "real.tsv", "timepoints": 2, "seed": 5}})
    scans = plan_cohort(cohort, tmp_path)
    assert [s.scan_id for s in scans] == ["sub-a_ses-01", "sub-a_ses-02", "sub-b_ses-01", "sub-b_ses-02"]
    assert [s.recipe.inputs for s in scans[1:3]] == [(tmp_path / "x", tmp_path / "x_lungs.nii.gz"), (tmp_path / "y",)]


def test_two_real_scans_of_one_subject_are_refused(tmp_path: Path) -> None:
    make_files(tmp_path, "p1/a.nii.gz", "p1/b.nii.gz")
    cohort = CohortSettings.model_validate({"insert": {"glob": {"name": "(?P<subject>[^/]+)/"}}})
    with pytest.raises(StudyError, match="two scans have the subject 'p1', and each real scan becomes one virtual"):
        plan_cohort(cohort, tmp_path)


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_glob_numbers_the_scans_of_a_subject_by_date(tmp_path: Path) -> None:
    make_files(tmp_path, "p1/2020-01-09/ct.nii.gz", "p1/2020-01-02/ct.nii.gz", "p2/2020-02-01/ct.nii.gz")
    cohort = CohortSettings.model_validate({"glob": {"name": "(?P<subject>[^/]+)/(?P<date>[0-9-]+)/"}})
    assert [(s.subject, s.session, s.date) for s in plan_cohort(cohort, tmp_path)] == [
        ("p1", "01", "2020-01-02"),
        ("p1", "02", "2020-01-09"),
        ("p2", "01", "2020-02-01"),
    ]


def test_glob_makes_safe_labels_of_any_folder_name(tmp_path: Path) -> None:
    make_files(tmp_path, "Ünï cödé (1).nii.gz", "(!).nii.gz")
    cohort = CohortSettings.model_validate({"glob": {}})
    assert sorted(s.subject for s in plan_cohort(cohort, tmp_path)) == ["Uni-code-1", "unnamed"]


def test_table_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "scans.tsv").write_bytes("subject\tpath\nMüller\tx\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"cannot be read.*Save it as UTF-8"):
        plan_cohort(CohortSettings(table="scans.tsv"), tmp_path)
