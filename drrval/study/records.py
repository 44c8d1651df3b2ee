"""What a study keeps of each scan: ``scan.json`` of the finished scan, ``failed.json`` of a failure since.

A failure never touches finished results: when the input is back, the scan counts as finished again.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.measurements import failed_measurement
from drrval.study.store import write_json, write_text

log = logging.getLogger("drrval")

Record = dict[str, Any]


def empty_record(scan: PlannedScan) -> Record:
    """The record of a scan on which nothing has been done."""
    return {
        "scan_id": scan.scan_id,
        "subject": scan.subject,
        "session": scan.session,
        "date": scan.date,
        "source": scan.source,
        "input_sha256": "",
        "key": "",
        "status": "failed",
        "message": "",
        "flags": [],
        "intake": {"status": "unread", "findings": [], "facts": {}},
        "pictures": [],
        "views": {},
        "measurements": [],
    }


def finished_record(scan: PlannedScan, out: Path, key: str) -> Record | None:
    """Record of a finished scan with this resume key and all its files in place, or None."""
    folder = out / scan.folder
    record = _read(folder / "scan.json")
    if record is None or record.get("key") != key or record.get("status") != "ok":
        return None
    return record if all((folder / name).is_file() for name in record.get("files", [])) else None


def latest_record(scan: PlannedScan, out: Path) -> Record | None:
    """The scan's failure if there is one, else its finished record, else None."""
    return _read(out / scan.folder / "failed.json") or _read(out / scan.folder / "scan.json")


def write_failure(record: Record, scan: PlannedScan, study: Study, out: Path, message: str, details: str) -> Record:
    """Write and return the record of a scan that failed.

    Args:
        record: what was recorded before the failure (the intake findings and the date are kept).
        scan, study, out: the scan, its study and the output folder.
        message: what went wrong and how to mend it.
        details: the traceback, for the crash file.
    """
    failed = {**record, "status": "failed", "message": message, "pictures": [], "views": {}}
    planned = [(spec.label, "CT", "") for spec in study.scorers.ct]
    planned += [(spec.label, "CXR", view) for view in study.views for spec in study.scorers.cxr]
    failed["measurements"] = [failed_measurement(scan, record["date"], *row) for row in planned]
    try:
        write_text(_crash_file(scan, out), f"{scan.scan_id}: {scan.source}\n\n{details}")
        write_json(out / scan.folder / "failed.json", failed)
    except OSError as error:
        log.error("%s: its failure could not be written: %s", scan.scan_id, error)
    return failed


def clear_failure(scan: PlannedScan, out: Path) -> None:
    """Forget an earlier failure of a scan that is now finished."""
    (out / scan.folder / "failed.json").unlink(missing_ok=True)
    _crash_file(scan, out).unlink(missing_ok=True)


def _crash_file(scan: PlannedScan, out: Path) -> Path:
    return out / "logs" / f"crash-{scan.scan_id}.txt"


def _read(path: Path) -> Record | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
