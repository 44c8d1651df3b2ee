"""Agreement of two columns of any table: read and check them, write numbers, tables and figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drrval.errors import StudyError
from drrval.report.agreement import comparison_figures
from drrval.report.figures import PlottedScans, save_figure
from drrval.stats import ComparisonSettings, change_table, compare, make_courses
from drrval.stats.comparison import to_json, to_table

MISSING_CELLS = frozenset({"", "n/a", "N/A", "NA", "NaN", "nan", "null", "None"})
SEPARATORS = {".tsv": "\t", ".csv": ","}


def write_comparison(
    path: Path, columns: Mapping[str, str | None], out: Path, settings: ComparisonSettings, unit: str = ""
) -> tuple[dict[str, Any], list[Path]]:
    """Compare two columns of a table file.

    Args:
        path: table with a header line, one row per scan.
        columns: names of the columns ``reference, test, patient`` and ``time`` (None: no trends).
        out: folder for ``agreement.json``, ``agreement_table.tsv``, ``scans.tsv``, with times ``intervals.tsv``, and
            ``figures/*.png`` and ``*.svg`` with their ``captions.json``.
        settings: of the analyses.
        unit: of both columns, for the figures.

    Returns:
        What ``agreement.json`` holds, and the paths written.

    Raises:
        StudyError: the file cannot be read, or a column or cell breaks a rule; the message names file, column and row.
    """
    courses, rows = read_courses(path, columns)
    names = (str(columns["reference"]), str(columns["test"]))
    timed = columns["time"] is not None
    sections = to_json(compare(courses, settings, names))
    row = {**_counts(courses, sections, timed), **sections}
    document: dict[str, Any] = {
        "table": path.name,
        "columns": dict(columns),
        "rows": rows,
        "time_read_as": ("days" if courses["days"].notna().all() else "labels in order") if timed else None,
        "settings": asdict(settings),
        "results": [row],
    }
    scans = PlottedScans(courses, f"{names[1]} against {names[0]}", *names, short=names, unit=unit)
    out.mkdir(parents=True, exist_ok=True)
    tables = {"agreement_table": to_table(sections), "scans": courses}
    if timed:
        tables["intervals"] = change_table(courses)
    written = [_write_table(table, out / f"{name}.tsv") for name, table in tables.items()]
    captions = {}
    for drawing in comparison_figures(scans, row, document["settings"]):
        written += save_figure(drawing.figure, out / "figures" / drawing.kind)
        captions[drawing.kind] = drawing.caption
    written += [_write_json(captions, out / "figures" / "captions.json"), _write_json(document, out / "agreement.json")]
    return document, written


def read_courses(path: Path, columns: Mapping[str, str | None]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read a table file into courses (:func:`drrval.stats.make_courses`; without times ``time`` is missing).

    Returns:
        The courses, and how many rows were ``read`` and ``left_out`` for want of reference or test.

    Raises:
        StudyError: see :func:`write_comparison`.
    """
    cells = _read_cells(path, columns)
    reference, test, patient, time = (columns[role] for role in ("reference", "test", "patient", "time"))
    if reference == test:
        raise StudyError(f"--reference and --test both name the column {reference!r} of {path}. Name two columns.")
    table = pd.DataFrame({role: _numbers(path, cells[name]) for role, name in (("x", reference), ("y", test))})
    table["patient"] = cells[patient]
    usable = table["x"].notna() & table["y"].notna()
    counts = {"read": len(table), "left_out": int((~usable).sum())}
    if not usable.any():
        raise StudyError(
            f"None of the {len(table)} rows of {path} has both {reference!r} and {test!r}. Check the columns."
        )
    table["time"] = _times(cells[time]) if time is not None else range(len(table))
    for name in filter(None, (patient, time)):
        _check_named(path, cells[name][usable])
    try:
        courses = make_courses(table[usable], patient="patient", time="time", reference="x", test="y")
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    return (courses if time is not None else courses.assign(time=None, days=np.nan)), counts


def _read_cells(path: Path, columns: Mapping[str, str | None]) -> pd.DataFrame:
    """The wanted columns as text, missing cells as NaN; the index is the line of the file."""
    if path.suffix.lower() not in SEPARATORS:
        raise StudyError(f"{path} ends in {path.suffix!r}. Expected a table that ends in .tsv or .csv.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _wanted_columns(
                path, csv.reader(file, delimiter=SEPARATORS[path.suffix.lower()], strict=True), columns
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"Cannot read the table {path}: {error}. Give a UTF-8 text file with a header line.") from None


def _wanted_columns(path: Path, lines: Iterator[list[str]], columns: Mapping[str, str | None]) -> pd.DataFrame:
    header = [name.strip() for name in next(lines, [])]
    for role, name in columns.items():
        if name is not None and header.count(name) != 1:
            found = "no" if name not in header else "more than one"
            raise StudyError(f"{path} has {found} column {name!r} (--{role}). Its columns are: {', '.join(header)}.")
    # One list of all cells: a million lists of one row each keep the garbage collector busy.
    index: list[int] = []
    cells: list[str] = []
    for number, row in enumerate(lines, start=2):
        if not "".join(row).strip():
            continue
        if len(row) != len(header):
            raise StudyError(f"{path}, row {number}: {len(row)} cells where the header has {len(header)}. Mend it.")
        index.append(number)
        cells += row
    texts = {name: map(str.strip, cells[header.index(name) :: len(header)]) for name in columns.values() if name}
    return pd.DataFrame(
        {name: [None if cell in MISSING_CELLS else cell for cell in column] for name, column in texts.items()},
        index=pd.Index(index, dtype=int),
        dtype=object,
    )


def _numbers(path: Path, cells: pd.Series) -> pd.Series:
    values = pd.to_numeric(cells, errors="coerce")
    bad = cells[cells.notna() & ~np.isfinite(values.to_numpy(dtype=float))]
    if not bad.empty:
        more = f" ({len(bad)} such cells)" if len(bad) > 1 else ""
        raise StudyError(
            f"{path}, row {bad.index[0]}: column {cells.name!r} holds {bad.iloc[0]!r}, not a finite number{more}. "
            "Write numbers with a decimal point; leave a missing value empty or write n/a."
        )
    return values.astype(float)


def _times(cells: pd.Series) -> pd.Series:
    """Numbers where all times are numbers without leading zeros (01 is a label, not a day); else as they are."""
    known = pd.Series(cells.dropna().unique(), dtype=str)
    if pd.to_numeric(known, errors="coerce").notna().all() and not known.str.fullmatch(r"0\d+").any():
        return pd.to_numeric(cells)
    return cells


def _check_named(path: Path, cells: pd.Series) -> None:
    if cells.isna().any():
        rows = cells.index[cells.isna()]
        raise StudyError(
            f"{path}, row {rows[0]}: column {cells.name!r} is empty, and {len(rows)} rows with values lack it. "
            "Name the patient and the time of every row, or remove the row."
        )


def _counts(courses: pd.DataFrame, sections: Mapping[str, Any], timed: bool) -> dict[str, Any]:
    """What the figures and the summary need beside the analyses, under the names of a study's results."""
    line = sections["regression"]["least_squares"]["numbers"]
    accuracy = sections["trends"]["trend_direction"]["numbers"]["trend_accuracy"] if timed else None
    notes = [line["slope"]["note"] if line["slope"]["estimate"] is None else ""]
    notes.append("" if timed else "No trends: no column with times was named.")
    return {
        "n_scans": len(courses),
        "n_patients": int(courses["patient"].nunique()),
        "n_intervals": int(courses.duplicated("patient").sum()) if timed else 0,
        **{name: line[name]["estimate"] for name in ("pearson_r", "p_value", "slope", "intercept", "r_squared")},
        "trend_accuracy": accuracy["estimate"] if accuracy else None,
        "note": " ".join(filter(None, notes)),
    }


def _write_table(table: pd.DataFrame, path: Path) -> Path:
    # One format for all rows: DataFrame.to_csv takes half a minute for a million rows with a float format.
    columns, forms = zip(*(_cells(table[name]) for name in table), strict=True)
    row = "\t".join(forms) + "\n"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(table.columns) + "\n")
        file.writelines(map(row.__mod__, zip(*columns, strict=True)))
    return path


def _cells(column: pd.Series) -> tuple[list[Any], str]:
    """Cells of a column and how to print one: numbers with 6 digits, a missing one as ``n/a``."""
    missing = np.flatnonzero(column.isna())
    if pd.api.types.is_float_dtype(column):
        if missing.size == 0:
            return column.tolist(), "%.6g"
        cells = list(map("{:.6g}".format, column.tolist()))
    else:
        texts = column.astype(str)
        cells = texts.map({text: _quoted(text) for text in texts.dropna().unique()}).tolist()
    for place in missing:
        cells[place] = "n/a"
    return cells, "%s"


def _quoted(text: str) -> str:
    """A cell as tables quote it where it holds a tab, a line break or a quotation mark."""
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if set(text) & set('\t\r\n"') else text


def _write_json(content: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
