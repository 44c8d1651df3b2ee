"""``drrval agree``: any two columns of any table."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from drrval.cli import agree
from drrval.errors import StudyError
from drrval.report.text import number

NAMES = ["--reference", "ct", "--test", "cxr", "--patient", "who"]


def run(table: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    agree.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["agree", str(table), *NAMES, *arguments])
    return int(parsed.run(parsed))


def write_table(folder: Path, n_patients: int = 6, n_scans: int = 3, name: str = "t.tsv") -> Path:
    draw = np.random.default_rng(7)
    patient = np.repeat(np.arange(n_patients), n_scans)
    ct = draw.uniform(5, 60, patient.size)
    table = pd.DataFrame(
        {
            "who": [f"{p:02d}" for p in patient],
            "when": [f"2021-01-{1 + 9 * (k % n_scans):02d}" for k in range(patient.size)],
            "ct": ct.round(3),
            "cxr": (3 + 0.9 * ct + draw.normal(0, 3, patient.size)).round(3),
            "remark": "free text",
        }
    )
    path = folder / name
    table.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


def test_an_output_that_is_a_file_is_refused_before_the_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "o").touch()
    with pytest.raises(StudyError, match="is a file"):
        run(tmp_path / "absent.tsv", "--out", str(tmp_path / "o"))


def replaced(path: Path, row: int, column: int, cell: str) -> Path:
    """Change one cell; row 2 is the first below the header."""
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    lines[row - 1][column] = cell
    path.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    return path


def test_writes_numbers_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path)
    assert run(path, "--time", "when", "--out", str(tmp_path / "o"), "--resamples", "200", "--seed", "4") == 0
    document = json.loads((tmp_path / "o/agreement.json").read_text())
    row = document["results"][0]
    table = pd.read_csv(path, sep="\t")
    slope, intercept = np.polyfit(table["ct"], table["cxr"], 1)
    assert (row["slope"], row["intercept"]) == (pytest.approx(slope), pytest.approx(intercept))
    assert (row["n_scans"], row["n_patients"], row["n_intervals"]) == (18, 6, 12)
    assert document["rows"] == {"read": 18, "left_out": 0}
    assert document["time_read_as"] == "days"
    assert (document["settings"]["n_resamples"], document["settings"]["seed"]) == (200, 4)
    tidy = pd.read_csv(tmp_path / "o/agreement_table.tsv", sep="\t")
    assert {"least_squares", "limits_of_agreement", "trend_direction"} <= set(tidy["analysis"])
    assert len(pd.read_csv(tmp_path / "o/intervals.tsv", sep="\t")) == 12
    figures = {file.name for file in (tmp_path / "o/figures").iterdir()}
    kinds = ("regression", "course", "bland-altman", "four-quadrant", "forest")
    assert figures == {"captions.json", *(f"{kind}.{ending}" for kind in kinds for ending in ("png", "svg"))}
    captions = json.loads((tmp_path / "o/figures/captions.json").read_text())
    assert "18 scans of 6 patients" in captions["bland-altman"]
    said = capsys.readouterr().out
    assert "18 scans of 6 patients, 12 intervals" in said
    bias = row["agreement"]["limits_of_agreement"]["numbers"]["bias"]["estimate"]
    assert any(line.split()[:2] == ["bias,", "points"] and number(bias, 1) in line for line in said.splitlines())


@pytest.mark.usefixtures("no_figures")
def test_same_seed_same_bytes_and_commas_read_alike(tmp_path: Path) -> None:
    for name in ("t.tsv", "t.csv"):
        run(write_table(tmp_path, name=name), "--time", "when", "--out", str(tmp_path / name[2:]), "--resamples", "100")
    first, second = (json.loads((tmp_path / kind / "agreement.json").read_text()) for kind in ("tsv", "csv"))
    assert first["results"] == second["results"]
    assert (tmp_path / "tsv/agreement_table.tsv").read_bytes() == (tmp_path / "csv/agreement_table.tsv").read_bytes()


def test_without_times_there_are_no_trends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(write_table(tmp_path), "--out", str(tmp_path / "o"), "--resamples", "100")
    row = json.loads((tmp_path / "o/agreement.json").read_text())["results"][0]
    assert (row["trends"], row["n_intervals"]) == ({}, 0)
    assert "No trends: no column with times was named." in capsys.readouterr().out
    assert not (tmp_path / "o/figures/course.png").exists()
    assert not (tmp_path / "o/intervals.tsv").exists()


@pytest.mark.usefixtures("no_figures")
def test_missing_values_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = replaced(replaced(write_table(tmp_path), 3, 2, "n/a"), 7, 3, "")
    path.write_text(path.read_text() + "\t\t\t\t\n")
    run(path, "--out", str(tmp_path / "o"), "--resamples", "100")
    document = json.loads((tmp_path / "o/agreement.json").read_text())
    assert document["rows"] == {"read": 18, "left_out": 2}
    assert document["results"][0]["n_scans"] == 16
    assert "2 of 18 rows left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("times", "read_as", "days"),
    [
        (["0", "5", "12"], "days", 5),
        (["01", "02", "10"], "labels in order", None),
        (["a", "b", "c"], "labels", None),
        (["2020-1-30", "2020-2-1", "2020-02-10"], "days", 2),
        (["2020-01-30T12:00", "2020-01-31T00:00", "2020-02-10T00:00"], "days", 0.5),
    ],
)
@pytest.mark.usefixtures("no_figures")
def test_how_times_are_read(tmp_path: Path, times: list[str], read_as: str, days: float | None) -> None:
    path = write_table(tmp_path)
    for row in range(18):
        replaced(path, row + 2, 1, times[row % 3])
    run(path, "--time", "when", "--out", str(tmp_path / "o"), "--resamples", "100")
    assert json.loads((tmp_path / "o/agreement.json").read_text())["time_read_as"].startswith(read_as)
    first = pd.read_csv(tmp_path / "o/intervals.tsv", sep="\t")["days"][0]
    assert pd.isna(first) if days is None else first == days


@pytest.mark.parametrize(
    ("times", "found"),
    [
        (["05/03/2020", "01/04/2020", "02/04/2020"], r"Time 05/03/2020 looks like a date"),
        (["5 Mar 2020", "1 Apr 2020", "2 Apr 2020"], r"Time 5 Mar 2020 looks like a date"),
        (["5.3.20", "1.4.20", "2.4.20"], r"Time 5.3.20 looks like a date"),
        (["2020-02-30", "2020-03-01", "2020-03-02"], r"Time 2020-02-30 looks like a date, but not all times are ISO"),
        (["2020-03-01", "visit 2", "visit 3"], r"Time 2020-03-01 looks like a date, but not all times are ISO"),
        (["20200131", "20200201", "20200210"], r"Time 20200131 is a date rather than a number of days"),
    ],
)
def test_dates_that_would_sort_or_count_wrong_are_refused(tmp_path: Path, times: list[str], found: str) -> None:
    path = write_table(tmp_path)
    for row in range(18):
        replaced(path, row + 2, 1, times[row % 3])
    with pytest.raises(StudyError, match=rf"t.tsv: {found}.*Write every date as 2020-03-05, or give days"):
        run(path, "--time", "when", "--out", str(tmp_path / "o"), "--resamples", "100")


def test_names_in_a_script_that_the_font_lacks(tmp_path: Path) -> None:
    path = write_table(tmp_path, n_patients=3)
    for row in range(9):
        replaced(path, row + 2, 0, ["\u674e", "\u0141ukasz", "a$b$"][row // 3])
    assert run(path, "--out", str(tmp_path / "o"), "--resamples", "50") == 0
    assert "\u674e" in (tmp_path / "o/figures/regression.svg").read_text(encoding="utf-8")
    assert "\u674e" in (tmp_path / "o/scans.tsv").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", ["1e+300", "1e-300"])
def test_numbers_whose_squares_overflow_are_refused(tmp_path: Path, size: str) -> None:
    path = write_table(tmp_path)
    for row in range(18):
        replaced(path, row + 2, 2, size)
    with pytest.raises(StudyError, match=rf"The ct are as large as {re.escape(size)}.*Give them in a unit"):
        run(path, "--out", str(tmp_path / "o"), "--resamples", "50")


def test_one_patient_and_negative_values_give_notes_and_no_crash(tmp_path: Path) -> None:
    path = write_table(tmp_path, n_patients=1, n_scans=2)
    replaced(path, 2, 2, "-4.5")
    run(path, "--time", "when", "--out", str(tmp_path / "o"))
    row = json.loads((tmp_path / "o/agreement.json").read_text())["results"][0]
    assert row["slope"] is None
    assert "at least 3 scans" in row["note"]
    assert "One patient" in row["agreement"]["limits_of_agreement"]["note"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ((5, 2, "12,5"), r"t.tsv, row 5: column 'ct' holds '12,5', not a finite number. Write numbers with a decimal"),
        ((5, 3, "inf"), r"row 5: column 'cxr' holds 'inf', not a finite number"),
        ((4, 0, ""), r"row 4: column 'who' is empty, and 1 rows with values lack it. Name the patient"),
        ((4, 1, "n/a"), r"row 4: column 'when' is empty"),
        ((3, 1, "2021-01-01"), r"t.tsv: Patient 00 has more than one row at time 2021-01-01. Keep one row"),
        ((3, 4, "a\tb"), r"row 3: 6 cells where the header has 5. Mend it"),
        ((1, 2, "CT"), r"t.tsv has no column 'ct' \(--reference\). Its columns are: who, when, CT, cxr, remark"),
        ((1, 4, "ct"), r"has more than one column 'ct' \(--reference\)"),
    ],
)
def test_bad_cells_name_file_row_column_and_remedy(tmp_path: Path, cell: tuple[int, int, str], message: str) -> None:
    path = replaced(write_table(tmp_path), *cell)
    with pytest.raises(StudyError, match=message):
        run(path, "--time", "when", "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_bad_files(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "o"))
    with pytest.raises(StudyError, match=r"Cannot read the table .*none.tsv"):
        run(tmp_path / "none.tsv", *out)
    with pytest.raises(StudyError, match=r"ends in '.xlsx'. Expected a table that ends in .tsv or .csv"):
        run(tmp_path / "t.xlsx", *out)
    for content in (b"", b"who\tct\tcxr\n", b"who\tct\tcxr\n1\t\t3\n"):
        (tmp_path / "e.tsv").write_bytes(content)
        with pytest.raises(StudyError, match=r"has no column 'ct'|None of the [01] rows"):
            run(tmp_path / "e.tsv", *out)
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="UTF-8"):
        run(tmp_path / "b.tsv", *out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resamples", "0"), "at least 1 resample"),
        (("--level", "95"), "level between 0 and 1"),
        (("--seed", "-1"), "--seed must be 0 or more, got -1"),
        (("--error-ratio", "0"), "ratio above 0, got 0"),
        (("--margin", "-1"), "margin above 0"),
        (("--zone", "-1", "--time", "when"), "at least 0 points, got -1"),
        (("--test", "ct"), "both name the column 'ct'"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        run(write_table(tmp_path), "--out", str(tmp_path / "o"), *arguments)
