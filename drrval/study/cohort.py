"""From the cohort section of a study to a list of scans."""

from __future__ import annotations

import csv
import datetime
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drrval.errors import StudyError
from drrval.intake import find_scans
from drrval.simulation import RealScan, Recipe, insert_cohort, simulate_cohort
from drrval.stats import natural_key
from drrval.study.cohort_settings import CohortSettings, GlobSettings, InsertSettings

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COLUMNS = ("subject", "session", "date", "path", "series_uid", "lungs")


@dataclass(frozen=True)
class PlannedScan:
    """One scan of a study.

    Attributes:
        subject, session: labels (letters, digits, ``.``, ``_``, ``-``).
        date: ISO date, or empty.
        path: file or folder of the CT; for a virtual scan None.
        source: what to call the scan in reports: its path below the data root.
        series_uid: DICOM series to take, or empty.
        lungs: file of its lung mask, or None.
        recipe: how to make a virtual scan, or None.
    """

    subject: str
    session: str
    date: str
    path: Path | None
    source: str
    series_uid: str = ""
    lungs: Path | None = None
    recipe: Recipe | None = None

    @property
    def scan_id(self) -> str:
        """``sub-SUBJECT_ses-SESSION``."""
        return f"sub-{self.subject}_ses-{self.session}"

    @property
    def folder(self) -> Path:
        """Folder of the scan's results below the output folder."""
        return Path(f"sub-{self.subject}") / f"ses-{self.session}"


def plan_cohort(cohort: CohortSettings, data_root: Path) -> list[PlannedScan]:
    """List the scans of a study, sorted by subject, date and session.

    Args:
        cohort: the study's cohort section.
        data_root: what relative paths in it are relative to.

    Raises:
        StudyError: nothing found, a broken table, or two scans with the same subject and session.
    """
    if cohort.simulate is not None:
        scans = [_virtual(recipe) for recipe in simulate_cohort(cohort.simulate)]
    elif cohort.insert is not None:
        scans = [_virtual(recipe) for recipe in _inserted(cohort.insert, data_root, cohort.instructions)]
    else:
        scans = _existing(cohort, data_root, cohort.instructions)
    _refuse_twins(scans)
    return sorted(scans, key=lambda s: (natural_key(s.subject), s.date, natural_key(s.session)))


def _virtual(recipe: Recipe) -> PlannedScan:
    source = f"sourcedata/{recipe.folder.as_posix()}/ct.nii.gz"
    return PlannedScan(recipe.subject, recipe.session, recipe.date.isoformat(), None, source, recipe=recipe)


def _inserted(settings: InsertSettings, data_root: Path, instructions: str) -> Sequence[Recipe]:
    """Recipes of disease in real scans, each real scan a virtual patient."""
    real = _existing(settings, data_root, instructions)
    for scan in real:
        if sum(other.subject == scan.subject for other in real) > 1:
            raise StudyError(
                f"cohort.insert: two scans have the subject {scan.subject!r}, and each real scan becomes one virtual "
                "patient. Give each its own subject."
            )
    return insert_cohort(
        settings, [RealScan(s.subject, s.path, s.series_uid, s.lungs) for s in real if s.path is not None]
    )


def _existing(cohort: CohortSettings | InsertSettings, data_root: Path, instructions: str) -> list[PlannedScan]:
    """Scans of a table or glob."""
    if cohort.table is not None:
        return _from_table(data_root / cohort.table, data_root, instructions)
    assert cohort.glob is not None  # the settings guarantee one of the two
    return _from_glob(cohort.glob, data_root, instructions)


def _from_table(table: Path, data_root: Path, instructions: str) -> list[PlannedScan]:
    if not table.is_file():
        raise StudyError(_with_instructions(f"The cohort table {table} does not exist.", instructions))
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{table} cannot be read: {error}. Save it as UTF-8 text.") from None
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file, delimiter="," if table.suffix.lower() == ".csv" else "\t")
        header = reader.fieldnames or []
        missing = {"subject", "path"} - set(header)
        if missing:
            raise StudyError(
                f"{table}: column {sorted(missing)} is missing; it has {list(header)}. "
                "Needed: subject, path; optional: session, date, "
                "series_uid. A .csv file must be comma-separated, any other tab-separated."
            )
        rows = [{k: (row.get(k) or "").strip() for k in _COLUMNS} for row in reader]
    if not rows:
        raise StudyError(f"{table} lists no scans. Add one row per scan.")
    scans: list[PlannedScan] = []
    for number, row in enumerate(rows, start=2):
        where = f"{table}, line {number}"
        if not row["path"]:
            raise StudyError(
                f"{where}: path is empty. Give the CT's file or folder, relative to the data root {data_root}."
            )
        session = row["session"] or f"{sum(s.subject == row['subject'] for s in scans) + 1:02d}"
        scans.append(
            PlannedScan(
                _label(row["subject"], f"{where}: subject"),
                _label(session, f"{where}: session"),
                _iso_date(row["date"], where),
                data_root / row["path"],
                row["path"],
                row["series_uid"],
                data_root / row["lungs"] if row["lungs"] else None,
            )
        )
    return scans


def _from_glob(glob: GlobSettings, data_root: Path, instructions: str) -> list[PlannedScan]:
    if not data_root.is_dir():
        raise StudyError(
            _with_instructions(f"The data root {data_root} is not a folder. Give one with --data-root.", instructions)
        )
    matched = set(data_root.glob(glob.pattern))
    paths = [p for p in find_scans(data_root) if p in matched or p.parent in matched]
    if not paths:
        raise StudyError(_with_instructions(f"No CT below {data_root} matches {glob.pattern!r}.", instructions))
    found = []
    for path in paths:
        relative = data_root.resolve().name if path == data_root else path.relative_to(data_root).as_posix()
        match = re.search(glob.name, relative)
        if match is None:
            raise StudyError(
                f"{relative}: cohort.glob.name {glob.name!r} does not match this path. Adapt the expression."
            )
        groups = {key: value or "" for key, value in match.groupdict().items()}
        date = _iso_date(groups.get("date", ""), relative)
        found.append((_safe_label(groups["subject"]), groups.get("session", ""), date, relative, path))
    scans: list[PlannedScan] = []
    for subject, session, date, relative, path in sorted(found, key=lambda f: (f[0], f[2], natural_key(f[3]))):
        number = f"{sum(scan.subject == subject for scan in scans) + 1:02d}"
        label = _safe_label(session) if session else number
        scans.append(PlannedScan(subject, label, date, path, relative))
    return scans


def _safe_label(name: str) -> str:
    """A path's part as a label: accents dropped, anything but letters, digits, ``.``, ``_`` and ``-`` made a ``-``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._") or "unnamed"


def _with_instructions(message: str, instructions: str) -> str:
    return f"{message}\n{instructions.strip()}" if instructions else message


def _label(value: str, where: str) -> str:
    if not _LABEL.fullmatch(value):
        raise StudyError(
            f"{where} is {value!r}. Use letters, digits, '.', '_' and '-', beginning with a letter or digit."
        )
    return value


def _iso_date(value: str, where: str) -> str:
    if not value:
        return ""
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        raise StudyError(f"{where}: date {value!r} is not a date. Write it as YYYY-MM-DD.") from None


def _refuse_twins(scans: list[PlannedScan]) -> None:
    seen: dict[str, PlannedScan] = {}
    for scan in scans:
        if scan.scan_id in seen:
            raise StudyError(
                f"Two scans are called {scan.scan_id}: {seen[scan.scan_id].source} and {scan.source}. "
                "Give each scan of a subject "
                "its own session (table column, or group (?P<session>...) in cohort.glob.name)."
            )
        seen[scan.scan_id] = scan
