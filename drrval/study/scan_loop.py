"""Working through the scans of a study: what a study run and a sensitivity sweep have in common."""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tqdm import tqdm

from drrval.errors import DrrvalError
from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.executor import run_all
from drrval.study.fingerprint import input_sha256, scan_key
from drrval.study.records import Record, clear_failure, empty_record, finished_record, write_failure
from drrval.study.store import atomic_folder, write_json

log = logging.getLogger("drrval")

Work = Callable[[PlannedScan], tuple[Record, str]]
"""What is done with one scan; gives its record and ``ok``, ``cached`` or ``failed``, and never raises."""


def make_importable(study_file: Path) -> None:
    """Let a scorer's module lie beside the study file."""
    here = str(study_file.resolve().parent)
    if here not in sys.path:
        sys.path.append(here)


def work_through(
    work: Work, scans: list[PlannedScan], study: Study, out: Path, jobs: int, progress: bool | None
) -> list[Record]:
    """Do the work of every scan, with a progress bar and a log line each.

    Args:
        work: must be picklable when ``jobs`` > 1.
        scans: what to work on.
        study: their study, for the crash file of a scan whose worker process was killed.
        out: the output folder.
        jobs: scans worked on at the same time, each in a process of its own.
        progress: show a progress bar; None: when the output is a terminal.

    Returns:
        The records, in the order of the scans.
    """
    records: dict[str, Record] = {}
    shown = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=len(scans), unit="scan", disable=not shown) as bar:
        for scan, (record, state) in run_all(work, scans, jobs, partial(_died, study=study, out=out)):
            records[scan.scan_id] = record
            log.info("%s %s (key %s)", scan.scan_id, state, record["key"][:12])
            bar.set_postfix_str(f"{scan.scan_id} {state}")
            bar.update()
    return [records[scan.scan_id] for scan in scans]


def finish_scan(
    scan: PlannedScan, study: Study, out: Path, fill: Callable[[Path, Record], None], settings: str = ""
) -> tuple[Record, str]:
    """Do the work of one scan, or take the finished result of an earlier run.

    Args:
        scan, study, out: the scan, its study and the output folder.
        fill: puts files into the folder and results into the record that it is given. A ``message`` in the record says
            that a part failed.
        settings: what the results depend on besides scan and study; part of the resume key.

    Returns:
        The scan's record and ``"cached"``, ``"ok"`` or ``"failed"``. A failing scan never raises: its record says why,
        and ``logs/crash-*.txt`` holds the traceback.
    """
    record = empty_record(scan)
    try:
        record["input_sha256"] = input_sha256(scan)
        key = scan_key(scan, study, record["input_sha256"])
        record["key"] = hashlib.sha256(f"{key}|{settings}".encode()).hexdigest() if settings else key
        finished = finished_record(scan, out, record["key"])
        if finished is not None:
            clear_failure(scan, out)
            return finished, "cached"
        with atomic_folder(out / scan.folder, out / "work") as folder:
            fill(folder, record)
            record["status"] = "failed" if record["message"] else "ok"
            record["files"] = sorted(path.name for path in folder.iterdir())
            write_json(folder / "scan.json", record)
        clear_failure(scan, out)
        return record, str(record["status"])
    except (Exception, SystemExit) as error:  # one bad scan never stops the others
        expected = isinstance(error, DrrvalError | OSError)
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        return write_failure(record, scan, study, out, message, traceback.format_exc()), "failed"


def log_failures(records: list[Record]) -> int:
    """Log why scans failed; return their number."""
    failed = [record for record in records if record["status"] != "ok"]
    for record in failed:
        log.error("%s failed: %s", record["scan_id"], record["message"])
    return len(failed)


def _died(scan: PlannedScan, study: Study, out: Path) -> tuple[Record, str]:
    message = "The worker process was killed, most likely for want of memory. Run again with a smaller --jobs."
    return write_failure(empty_record(scan), scan, study, out, message, message), "failed"
