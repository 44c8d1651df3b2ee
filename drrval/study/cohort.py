"""From the cohort section of a study to a list of scans."""

from __future__ import annotations

import csv
import datetime
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from drrval.errors import StudyError
from drrval.intake import find_scans
from drrval.phantom import SimulatedScan, simulate_cohort
from drrval.stats import natural_key
from drrval.study.config import CohortSettings, GlobSettings

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COLUMNS = ("subject", "session", "date", "path", "series_uid")
_FIRST_DAY = datetime.date(2020, 1, 1)  # of simulated courses, so that they have a time axis in days


@dataclass(frozen=True)
class PlannedScan:
    """One scan of a study.

    Attributes:
        subject, session: labels (letters, digits, ``.``, ``_``, ``-``).
        date: ISO date, or empty.
        path: file or folder of the CT; for a simulated scan None.
        source: what to call the scan in reports: its path below the data root.
        series_uid: DICOM series to take, or empty.
        recipe: how to make a simulated scan, or None.
    """

    subject: str
    session: str
    date: str
    path: Path | None
    source: str
    series_uid: str = ""
    recipe: SimulatedScan | None = None

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
        settings = cohort.simulate
        recipes = simulate_cohort(settings.patients, settings.timepoints, settings.seed, settings.spacing_mm)
        scans = [_simulated(recipe) for recipe in recipes]
    elif cohort.table is not None:
        scans = _from_table(data_root / cohort.table, data_root, cohort.instructions)
    else:
        assert cohort.glob is not None  # the model guarantees one of the three
        scans = _from_glob(cohort.glob, data_root, cohort.instructions)
    _refuse_twins(scans)
    return sorted(scans, key=lambda s: (natural_key(s.subject), s.date, natural_key(s.session)))


def _simulated(recipe: SimulatedScan) -> PlannedScan:
    date = (_FIRST_DAY + datetime.timedelta(days=recipe.day)).isoformat()
    source = f"sourcedata/sub-{recipe.subject}/ses-{recipe.session}/ct.nii.gz"
    return PlannedScan(recipe.subject, recipe.session, date, None, source, recipe=recipe)


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
