"""Tables of an evaluation: what they may hold, and that every fault is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluate_factory import write_csv

from drrval.cli import evaluate as command
from drrval.errors import StudyError
from drrval.evaluation import TASKS
from drrval.evaluation.ct_table import read_ct_table, read_slice_table
from drrval.evaluation.cxr_table import read_cxr_table


def test_every_task_can_be_named() -> None:
    assert tuple(TASKS) == command.TASKS


def test_boxes_of_an_image_are_gathered(tmp_path: Path) -> None:
    rows = [("a.png", "p1", 1, 2, 3, 4), ("b.png", "p2", "", "", "", ""), ("a.png", "p1", 5, 6, 7, 8)]
    path = write_csv(tmp_path / "t.csv", "image,patient,x,y,width,height", rows)
    first, second = read_cxr_table(path, ("x", "y", "width", "height")).items
    np.testing.assert_array_equal(first.boxes, [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert (first.path, first.patient, first.line) == (tmp_path / "a.png", "p1", 2)
    assert second.boxes.shape == (0, 4)


def test_without_a_patient_column_each_image_is_its_own(tmp_path: Path) -> None:
    cases = read_cxr_table(write_csv(tmp_path / "t.csv", "image,label", [("a.png", 1), ("b.png", 0)]), ("label",))
    assert not cases.named_patients
    assert [case.patient for case in cases.items] == ["a.png", "b.png"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    header = "image,patient,label,score,x,y,width,height"
    rows = [
        ("a.png", "p", "maybe", 3, "", "", "", ""),
        ("b.png", "", 1, 9, "", "", "", ""),
        ("c.png", "p", 1, "", 1, 2, "", 4),
        ("d.png", "p", 1, "", 1, 2, 0, 4),
        ("e.png", "p", 1, "", "", "", "", ""),
        ("e.png", "q", 1, "", "", "", "", ""),
        ("", "p", 1, "", "", "", "", ""),
    ]
    with pytest.raises(StudyError) as caught:
        read_cxr_table(write_csv(tmp_path / "t.csv", header, rows), ("label",))
    lines = str(caught.value).splitlines()
    assert "breaks 7 rule(s)" in lines[0]
    for part in (
        "row 2: column 'label' holds 'maybe'. Expected 1 (diseased) or 0",
        "row 3: column 'patient' is empty. Name the patient",
        "row 3: column 'score' holds '9'. Expected a number from 0 to 8",
        "row 4: a box needs x, y, width and height",
        "row 5: the box is 0 x 4 pixels",
        "row 7: e.png has patient 'q', but 'p' in row 6",
        "row 8: column 'image' is empty",
    ):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "file,label\na,1\n", "has no column 'image'. Its columns are: file, label"),
        ("t.csv", "image\na\n", "has no column 'label'"),
        ("t.csv", "image,label\n", "has a header and no row"),
        ("t.csv", "image,label,image\na,1,b\n", "more than one column 'image'"),
        ("t.csv", "image,label\na\n", "row 2: 1 cells where the header has 2"),
        ("t.csv", "image,label\na,1\na,1\n", "row 3: a stands in row 2 already"),
        ("t.txt", "image,label\na,1\n", "ends in '.txt'. Expected a table"),
    ],
)
def test_broken_tables(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        read_cxr_table(path, ("label",))


def test_usual_spellings_of_a_view_are_read(tmp_path: Path) -> None:
    views = {"AP Supine": "AP", "ap erect": "AP", "PA Erect": "PA", "antero-posterior": "AP", "P.A.": "PA", "": ""}
    rows = [(f"{place}.png", 1, view) for place, view in enumerate(views)]
    cases = read_cxr_table(write_csv(tmp_path / "t.csv", "image,label,view", rows), ("label",)).items
    assert [case.view for case in cases] == list(views.values())


def test_unknown_views_stop_the_table_once(tmp_path: Path) -> None:
    rows = [("a.png", 1, "PA"), ("b.png", 0, "frontal"), ("c.png", 0, "AP axial")]
    with pytest.raises(StudyError, match="breaks 2 rule") as caught:
        read_cxr_table(write_csv(tmp_path / "t.csv", "image,label,view", rows), ("label",))
    assert "row 3: column 'view' holds 'frontal'. Expected PA or AP" in str(caught.value)
    assert "row 4: column 'view' holds 'AP axial'" in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"Cannot read the table .*none\.csv"):
        read_cxr_table(tmp_path / "none.csv")


def test_severity_needs_a_truth_in_every_row(tmp_path: Path) -> None:
    read = TASKS["cxr-severity"].read
    with pytest.raises(StudyError, match="none of the columns score, ratio_percent, lesion_mask"):
        read(write_csv(tmp_path / "t.csv", "image,label", [("a", 1)]))
    rows = [("a", "", ""), ("b", 3, ""), ("c", "", "lesion.png")]
    with pytest.raises(StudyError) as caught:
        read(write_csv(tmp_path / "t.csv", "image,score,lesion_mask", rows))
    assert "row 2: has none of score, ratio_percent, lesion_mask" in str(caught.value)
    assert "row 4: has a lesion_mask without a mask" in str(caught.value)


def test_slices_under_the_names_of_covid_ct_md(tmp_path: Path) -> None:
    rows = [("s1", 0, -52.1, 0), ("s1", 1, -54.1, 1), ("s2", 0, 8, 0)]
    cases = read_slice_table(write_csv(tmp_path / "t.csv", "scan,index_head_to_feet,z_mm,infected", rows))
    first, second = cases.items
    assert [(one.number, one.label, one.z_mm) for one in first.slices] == [(0, 0.0, -52.1), (1, 1.0, -54.1)]
    assert (first.patient, second.name, second.line) == ("s1", "s2", 4)


def test_faults_of_ct_tables(tmp_path: Path) -> None:
    rows = [("s", 0, 1), ("s", 0, 0), ("s", 1.5, 1), ("s", -1, 1)]
    with pytest.raises(StudyError) as caught:
        read_slice_table(write_csv(tmp_path / "t.csv", "path,slice,label", rows))
    assert "row 3: slice 0 of s stands in row 2 already" in str(caught.value)
    assert "row 4: column 'slice' holds '1.5'. Count slices in whole numbers" in str(caught.value)
    assert "row 5: column 'slice' holds '-1'. Expected a number from 0" in str(caught.value)
    table = write_csv(tmp_path / "t.csv", "path,lungs,lesions", [("a", "l", "l"), ("b", "l", "")])
    with pytest.raises(StudyError, match="row 3: tells no true ratio"):
        read_ct_table(table, truth=True)
    with pytest.raises(StudyError, match="no column 'slice' \\(or index_head_to_feet\\)"):
        read_slice_table(table)
