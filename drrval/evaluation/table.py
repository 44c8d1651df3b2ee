"""Reading the CSV tables of an evaluation: text cells in, checked values out, every fault named by its row."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drrval.errors import StudyError
from drrval.report.tables import MISSING_CELLS, SEPARATORS

_MOST_FAULTS = 20


@dataclass
class Table:
    """A table file whose cells are read one by one; :meth:`check` raises what was found wrong on the way.

    Attributes:
        path: the file; paths in its cells are relative to its folder.
        columns: names of its columns, aliases replaced.
        cells: line of the file and cells of each row, missing cells as empty text.
        faults: what is wrong so far, one sentence each.
    """

    path: Path
    columns: tuple[str, ...]
    cells: list[tuple[int, dict[str, str]]]
    faults: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """The rows, in the order of the file."""
        for line, cells in self.cells:
            yield Row(self, line, cells)

    def check(self) -> None:
        """Raise all faults at once.

        Raises:
            StudyError: naming the file, and each fault with its row and remedy.
        """
        if self.faults:
            more = len(self.faults) - _MOST_FAULTS
            lines = [*self.faults[:_MOST_FAULTS], *([f"... and {more} more"] if more > 0 else [])]
            raise StudyError("\n  ".join([f"{self.path} breaks {len(self.faults)} rule(s):", *lines]))


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        table: whose row it is.
        line: of the file, from 1; the header is line 1.
        cells: text by column.
    """

    table: Table
    line: int
    cells: Mapping[str, str]

    def fault(self, message: str) -> None:
        """Note that this row breaks a rule."""
        self.table.faults.append(f"row {self.line}: {message}")

    def text(self, column: str) -> str:
        """A cell's text; empty where the cell or the column is missing."""
        return self.cells.get(column, "")

    def needed(self, column: str, remedy: str) -> str:
        """A cell's text; a missing one is a fault."""
        if not self.text(column):
            self.fault(f"column {column!r} is empty. {remedy}")
        return self.text(column)

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A number of a cell, NaN where it is missing; anything else, or a number out of its range, is a fault."""
        text = self.text(column)
        if not text:
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high):
            span = "a number" if math.isinf(low) and math.isinf(high) else f"a number from {low:g} to {high:g}"
            self.fault(f"column {column!r} holds {text!r}. Expected {span}, or an empty cell where it is not known.")
            return math.nan
        return value

    def label(self, column: str) -> float:
        """A cell of 0 or 1; anything else is a fault."""
        text = self.text(column)
        if text not in ("0", "1", "0.0", "1.0"):
            self.fault(f"column {column!r} holds {text!r}. Expected 1 (diseased) or 0, or leave the row out.")
            return math.nan
        return float(text)

    def file(self, column: str) -> Path | None:
        """The path of a cell, relative to the table's folder; None where it is missing."""
        return self.table.path.parent / self.text(column) if self.text(column) else None

    def patient(self, otherwise: str) -> str:
        """The patient; ``otherwise`` where the table does not name patients."""
        if "patient" not in self.table.columns:
            return otherwise
        return self.needed("patient", "Name the patient of every row, or leave the column out.")


def read_table(path: Path, needed: Collection[str], aliases: Mapping[str, str] | None = None) -> Table:
    """Read a CSV or TSV file with a header line, UTF-8.

    Args:
        path: the file.
        needed: columns that it must have; others may follow.
        aliases: other names of columns and the names that they stand for.

    Raises:
        StudyError: it cannot be read, a column is missing or there twice, a row has more or fewer cells than the
            header, or there is no row.
    """
    if path.suffix.lower() not in SEPARATORS:
        raise StudyError(f"{path} ends in {path.suffix!r}. Expected a table that ends in .csv or .tsv.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter=SEPARATORS[path.suffix.lower()], strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"Cannot read the table {path}: {error}. Give a UTF-8 text file with a header line.") from None
    written = [name.strip() for name in lines[0]] if lines else []
    header = [(aliases or {}).get(name, name) for name in written]
    for name in needed:
        if header.count(name) != 1:
            other = " or ".join(a for a, stands_for in (aliases or {}).items() if stands_for == name)
            found = "no" if name not in header else "more than one"
            raise StudyError(
                f"{path} has {found} column {name!r}{f' (or {other})' if other else ''}. "
                f"Its columns are: {', '.join(written) or 'none'}."
            )
    table = Table(path, tuple(header), [])
    for number, line in enumerate(lines[1:], start=2):
        texts = [cell.strip() for cell in line]
        if not any(texts):
            continue
        if len(texts) != len(header):
            table.faults.append(f"row {number}: {len(texts)} cells where the header has {len(header)}. Mend it.")
            continue
        cells = {name: "" if text in MISSING_CELLS else text for name, text in zip(header, texts, strict=True)}
        table.cells.append((number, cells))
    if not table.cells and not table.faults:
        raise StudyError(f"{path} has a header and no row. Add a row for each image or scan.")
    return table


def grouped(table: Table, column: str, what: str, shared: Collection[str], repeats: bool) -> dict[str, list[Row]]:
    """Rows by the text of a column, in the order of the file.

    Args:
        table: where faults are noted: an empty cell, a repetition that is not allowed, or rows of one group that differ
            in a shared column.
        column: to group by.
        what: what a group is, for the messages.
        shared: columns that all rows of a group must agree in.
        repeats: whether several rows may name the same group.
    """
    groups: dict[str, list[Row]] = {}
    for row in table.rows():
        name = row.needed(column, f"Name the {what} of every row, or remove the row.")
        group = groups.setdefault(name, [])
        group.append(row)
        if len(group) > 1:
            _check_repeated(row, group[0], name, shared, repeats)
    groups.pop("", None)
    return groups


def _check_repeated(row: Row, first: Row, name: str, shared: Collection[str], repeats: bool) -> None:
    if not repeats:
        row.fault(f"{name} stands in row {first.line} already. Keep one row.")
    for column in shared:
        if row.text(column) != first.text(column):
            row.fault(
                f"{name} has {column} {row.text(column)!r}, but {first.text(column)!r} in row {first.line}. "
                "Make them agree."
            )
