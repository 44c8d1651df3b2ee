"""Working through the scans of a study: what a study run and a sensitivity sweep have in common."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tqdm import tqdm

from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.executor import run_all
from drrval.study.records import Record, empty_record, write_failure

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


def log_failures(records: list[Record]) -> int:
    """Log why scans failed; return their number."""
    failed = [record for record in records if record["status"] != "ok"]
    for record in failed:
        log.error("%s failed: %s", record["scan_id"], record["message"])
    return len(failed)


def _died(scan: PlannedScan, study: Study, out: Path) -> tuple[Record, str]:
    message = "The worker process was killed, most likely for want of memory. Run again with a smaller --jobs."
    return write_failure(empty_record(scan), scan, study, out, message, message), "failed"
