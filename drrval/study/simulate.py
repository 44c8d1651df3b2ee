"""Writing a virtual cohort: CTs, label maps and the truth, for drrval or any other tool."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from drrval import __version__
from drrval.errors import DrrvalError, StudyError
from drrval.simulation import Recipe, truth_row
from drrval.simulation.files import FORMATS, Format, write_scan
from drrval.study.cohort import plan_cohort
from drrval.study.cohort_settings import CohortSettings
from drrval.study.executor import run_all
from drrval.study.fingerprint import written_key
from drrval.study.measurements import MISSING
from drrval.study.store import atomic_folder, clear_unfinished, held_folder, is_new, write_json, write_text

COLUMNS = (
    "subject", "session", "day", "path", "lesion_cm3", "lung_cm3", "ratio_percent", "ratio_right_percent",
    "ratio_left_percent", "ggo_cm3", "consolidation_cm3",
)  # fmt: skip
_NUMBER = "%.9g"  # enough to tell the number of voxels from the volume

log = logging.getLogger("drrval")

Row = dict[str, Any]


def write_cohort(
    cohort: CohortSettings,
    out: Path,
    *,
    data_root: Path = Path(),
    file_format: Format = "nifti",
    jobs: int = 1,
    progress: bool | None = None,
) -> list[str]:
    """Write every scan of a virtual cohort, or those that an earlier run has not finished.

    ``out`` gets ``truth.tsv`` (one row per scan), ``cohort.json`` (the settings) and, per scan,
    ``sub-*/ses-*/``: the CT, ``*_labels.nii.gz`` and ``scan.json``. All files but the logs are the same bytes whenever,
    and with as many jobs as, they are written.

    Args:
        cohort: with ``simulate`` or ``insert``.
        out: output folder; new, empty, or that of an earlier run with the same settings.
        data_root: folder that paths of the cohort are relative to.
        file_format: ``nifti`` or ``dicom``, of the CTs; label maps are NIfTI.
        jobs: scans made at the same time, each in a process of its own.
        progress: show a progress bar; by default when the output is a terminal.

    Returns:
        The scans that failed; ``logs/crash-*.txt`` says why.

    Raises:
        StudyError: a cohort or output folder that breaks a rule, or a folder in which another run works.
    """
    if file_format not in FORMATS:
        raise StudyError(f"format={file_format!r}. Expected one of: {', '.join(FORMATS)}.")
    recipes = [scan.recipe for scan in plan_cohort(cohort, data_root) if scan.recipe is not None]
    with held_folder(out):
        _claim(out, cohort, file_format)
        clear_unfinished(out / "work")
        rows = _make_all(recipes, out, file_format, jobs, progress)
        _write_truth(out, [row for recipe in recipes if (row := rows[recipe.scan_id]) is not None])
        shutil.rmtree(out / "work", ignore_errors=True)
    failed = [recipe.scan_id for recipe in recipes if rows[recipe.scan_id] is None]
    log.info("%d of %d scans written to %s", len(recipes) - len(failed), len(recipes), out)
    return failed


def _claim(out: Path, cohort: CohortSettings, file_format: Format) -> None:
    """Describe the cohort in a new folder, or make sure that the folder holds this cohort.

    Raises:
        StudyError: it holds foreign files, or another cohort.
    """
    description = {"drrval": __version__, "format": file_format, "cohort": cohort.model_dump(mode="json")}
    path = out / "cohort.json"
    if not path.exists() and not is_new(out):
        raise StudyError(f"The output folder {out} holds foreign files. Give a new or empty folder with --out.")
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != description:
        raise StudyError(
            f"The output folder {out} holds a cohort with other settings, of another format or drrval version (see "
            f"{path.name} there). Give another folder with --out."
        )
    write_json(path, description)


def _make_all(
    recipes: list[Recipe], out: Path, file_format: Format, jobs: int, progress: bool | None
) -> dict[str, Row | None]:
    """The rows of the truth table by scan; None for a scan that failed."""
    rows: dict[str, Row | None] = {}
    shown = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=len(recipes), unit="scan", disable=not shown) as bar:
        for recipe, row in run_all(partial(_finish, out=out, file_format=file_format), recipes, jobs, _died):
            rows[recipe.scan_id] = row
            bar.set_postfix_str(recipe.scan_id)
            bar.update()
    return rows


def _finish(recipe: Recipe, out: Path, file_format: Format) -> Row | None:
    """The scan's row of the truth table, written now or by an earlier run; None if it failed."""
    crash = out / "logs" / f"crash-{recipe.scan_id}.txt"
    try:
        row = _finished(recipe, out, file_format) or _write(recipe, out, file_format)
    except Exception as error:  # one bad scan never stops a cohort
        expected = isinstance(error, DrrvalError | OSError)
        log.error("%s failed: %s", recipe.scan_id, error if expected else f"{type(error).__name__}: {error}")
        write_text(crash, traceback.format_exc())
        return None
    crash.unlink(missing_ok=True)
    return row


def _died(recipe: Recipe) -> None:
    log.error("%s failed: its process was killed, most likely for want of memory. Use fewer --jobs.", recipe.scan_id)


def _finished(recipe: Recipe, out: Path, file_format: Format) -> Row | None:
    """The row that an earlier run left, if recipe and code are the same and all files are there."""
    folder = out / recipe.folder
    try:
        record = json.loads((folder / "scan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if record.get("key") != written_key(recipe, file_format):
        return None
    return record["truth"] if all((folder / name).is_file() for name in record["files"]) else None


def _write(recipe: Recipe, out: Path, file_format: Format) -> Row:
    """Make a scan and write its folder."""
    scan = recipe.make()
    with atomic_folder(out / recipe.folder, out / "work") as folder:
        name = write_scan(folder, scan, file_format, recipe.series_labels())
        row = truth_row(recipe, scan) | {"path": (recipe.folder / name).as_posix()}
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        write_json(folder / "scan.json", {"key": written_key(recipe, file_format), "truth": row, "files": files})
    return row


def _write_truth(out: Path, rows: list[Row]) -> None:
    columns = [*COLUMNS, *(name for name in (rows[0] if rows else ()) if name not in COLUMNS)]
    table = pd.DataFrame(rows, columns=columns)
    text = table.to_csv(sep="\t", index=False, na_rep=MISSING, float_format=_NUMBER, lineterminator="\n")
    write_text(out / "truth.tsv", text)
