"""Tables of CTs: ``path`` and what a task compares, one row per scan, or per labelled slice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from drrval.evaluation.cases import RATIOS, Cases
from drrval.evaluation.table import Row, grouped, read_table

#: Names under which COVID-CT-MD's slice labels come.
ALIASES = {"scan": "path", "index_head_to_feet": "slice", "infected": "label"}
_OF_SCAN = ("patient", "series_uid", "lungs", "lesions", *RATIOS)


@dataclass(frozen=True)
class LabelledSlice:
    """One labelled axial slice.

    Attributes:
        number: 0 for the slice nearest the head, then towards the feet.
        label: 1 diseased, 0 not.
        z_mm: where it lies, DICOM's z, or NaN.
        line: row of the table.
    """

    number: int
    label: float
    z_mm: float
    line: int


@dataclass(frozen=True)
class CTCase:
    """One CT of a table.

    Attributes:
        name: as the table names the scan.
        path: of the scan.
        line: row of the table, the first one where it has several.
        patient: of the scan.
        series_uid: DICOM series to take, or None.
        lungs, lesions: files of the label maps, or None.
        ratios: true ratio of both lungs, the right and the left, 0-100 %, or NaN.
        slices: labelled slices, in the order of the table; empty in a table of scans.
    """

    name: str
    path: Path
    line: int
    patient: str
    series_uid: str | None
    lungs: Path | None
    lesions: Path | None
    ratios: tuple[float, ...]
    slices: tuple[LabelledSlice, ...] = ()


def read_ct_table(path: Path, filled: Collection[str] = (), truth: bool = False) -> Cases[CTCase]:
    """Read a table with one row per CT.

    Args:
        path: CSV or TSV with ``path`` (a file or a folder of DICOM slices) and, as wanted, ``patient, series_uid,
            lungs, lesions, ratio_percent, ratio_right_percent, ratio_left_percent``; paths are relative to its folder.
        filled: columns that must be filled in every row.
        truth: whether every row must tell the true ratio: ``ratio_percent``, or ``lungs`` and ``lesions``.

    Raises:
        StudyError: the file is no such table, or rows break rules; all of them are named.
    """
    table = read_table(path, ("path", *filled))
    groups = grouped(table, "path", "scan", (), repeats=False)
    cases = []
    for name, (row, *_) in groups.items():
        for column in filled:
            row.needed(column, "This task needs it: fill it in, or remove the row.")
        if truth and not row.text(RATIOS[0]) and not (row.text("lungs") and row.text("lesions")):
            row.fault("tells no true ratio. Give lungs and lesions (label maps), or ratio_percent.")
        cases.append(_case(name, row))
    table.check()
    return Cases(tuple(cases), "patient" in table.columns)


def read_slice_table(path: Path) -> Cases[CTCase]:
    """Read a table with one row per labelled slice.

    Args:
        path: CSV or TSV with ``path`` (or ``scan``), ``slice`` (or ``index_head_to_feet``: 0 for the slice nearest the
            head) and ``label`` (or ``infected``: 0 or 1), and as wanted ``patient, series_uid, z_mm``.

    Raises:
        StudyError: the file is no such table, or rows break rules; all of them are named.
    """
    table = read_table(path, ("path", "slice", "label"), ALIASES)
    groups = grouped(table, "path", "scan", _OF_SCAN, repeats=True)
    cases = []
    for name, rows in groups.items():
        seen: dict[int, int] = {}
        for row, found in zip(rows, slices := [_slice(row) for row in rows], strict=True):
            if found.number in seen:
                row.fault(f"slice {found.number} of {name} stands in row {seen[found.number]} already. Keep one row.")
            seen[found.number] = row.line
        cases.append(_case(name, rows[0], tuple(slices)))
    table.check()
    return Cases(tuple(cases), "patient" in table.columns)


def _case(name: str, row: Row, slices: tuple[LabelledSlice, ...] = ()) -> CTCase:
    return CTCase(
        name=name,
        path=row.table.path.parent / name,
        line=row.line,
        patient=row.patient(otherwise=name),
        series_uid=row.text("series_uid") or None,
        lungs=row.file("lungs"),
        lesions=row.file("lesions"),
        ratios=tuple(row.number(column, 0, 100) for column in RATIOS),
        slices=slices,
    )


def _slice(row: Row) -> LabelledSlice:
    number = row.number("slice", 0)
    if number != int(number if number == number else 0):
        row.fault(f"column 'slice' holds {row.text('slice')!r}. Count slices in whole numbers, the head's slice is 0.")
    return LabelledSlice(int(number) if number == number else -1, row.label("label"), row.number("z_mm"), row.line)
