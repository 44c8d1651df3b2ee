"""Tables of radiographs: ``image`` and what a task compares, one row per image, or per box where there are boxes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drrval.errors import StudyError
from drrval.evaluation.cases import RATIOS, Cases
from drrval.evaluation.table import Row, grouped, read_table
from drrval.evaluation.views import KNOWN, view_position

ALIASES = {"ratio": RATIOS[0], "ratio_right": RATIOS[1], "ratio_left": RATIOS[2]}
_BOX = ("x", "y", "width", "height")
_OF_IMAGE = ("patient", "view", "label", "score", *RATIOS, "mask", "lesion_mask")


@dataclass(frozen=True)
class CXRCase:
    """One radiograph of a table.

    Attributes:
        name: as the table names the image.
        path: of the image.
        line: row of the table, the first one where it has several.
        patient: of the image.
        view: DICOM view position, or empty where the table does not say.
        label: 1 diseased, 0 not, or NaN.
        score: expert severity, 0-8, or NaN.
        ratios: true pneumonia ratio of both lungs, the right and the left, 0-100 %, or NaN.
        mask, lesion_mask: files of the lung and the lesion mask, or None.
        boxes: float ``[box, 4]``: x, y, width, height in pixels of the image.
    """

    name: str
    path: Path
    line: int
    patient: str
    view: str
    label: float
    score: float
    ratios: tuple[float, ...]
    mask: Path | None
    lesion_mask: Path | None
    boxes: npt.NDArray[np.float64]


def read_cxr_table(path: Path, filled: Collection[str] = (), any_of: Collection[str] = ()) -> Cases[CXRCase]:
    """Read a table of radiographs.

    Args:
        path: CSV or TSV with ``image`` and, as wanted, ``patient, view, label, score, ratio, ratio_right, ratio_left,
            mask, lesion_mask, x, y, width, height``; paths are relative to its folder.
        filled: columns that the task needs; all but those of boxes must be filled in every row.
        any_of: columns of which every row must have one.

    Raises:
        StudyError: the file is no such table, or rows break rules; all of them are named.
    """
    table = read_table(path, ("image", *filled), ALIASES)
    if any_of and not set(any_of) & set(table.columns):
        raise StudyError(f"{path} has none of the columns {', '.join(any_of)}. Add one of them.")
    boxed = set(_BOX) <= set(table.columns)
    groups = grouped(table, "image", "image", _OF_IMAGE, repeats=boxed)
    cases = []
    for name, rows in groups.items():
        _check_filled(rows[0], [column for column in filled if column not in (*_BOX, "label")], any_of)
        cases.append(_case(name, rows, labelled="label" in filled, boxed=boxed))
    table.check()
    return Cases(tuple(cases), "patient" in table.columns)


def _case(name: str, rows: list[Row], labelled: bool, boxed: bool) -> CXRCase:
    row = rows[0]
    boxes = [box for box in map(_box, rows) if box is not None] if boxed else []
    return CXRCase(
        name=name,
        path=row.table.path.parent / name,
        line=row.line,
        patient=row.patient(otherwise=name),
        view=_view(row),
        label=row.label("label") if labelled else row.number("label", 0, 1),
        score=row.number("score", 0, 8),
        ratios=tuple(row.number(column, 0, 100) for column in RATIOS),
        mask=row.file("mask"),
        lesion_mask=row.file("lesion_mask"),
        boxes=np.array(boxes, dtype=float).reshape(-1, 4),
    )


def _check_filled(row: Row, filled: Collection[str], any_of: Collection[str]) -> None:
    for column in filled:
        row.needed(column, "This task needs it: fill it in, or remove the row.")
    if any_of and not any(row.text(column) for column in any_of):
        row.fault(f"has none of {', '.join(any_of)}. Fill one in, or remove the row.")
    if row.text("lesion_mask") and not row.text("mask"):
        row.fault("has a lesion_mask without a mask. Give the lung mask that its ratio is taken of.")


def _view(row: Row) -> str:
    view = view_position(row.text("view"))
    if view is None:
        row.fault(f"column 'view' holds {row.text('view')!r}. Expected {KNOWN}, or an empty cell.")
    return view or ""


def _box(row: Row) -> tuple[float, ...] | None:
    """x, y, width and height; None for an image without a box."""
    empty = [not row.text(column) for column in _BOX]
    if all(empty):
        return None
    if any(empty):
        row.fault("a box needs x, y, width and height. Fill in all four, or leave all four empty for no box.")
        return None
    x, y, width, height = (row.number(column, 0) for column in _BOX)
    if width == 0 or height == 0:
        row.fault(f"the box is {width:g} x {height:g} pixels. A box has a width and a height above 0.")
    return x, y, width, height
