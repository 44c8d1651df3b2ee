"""What a study run writes about itself: its folder, settings, commands, versions, seeds, hashes and log."""

from __future__ import annotations

import datetime
import json
import logging
import platform
import sys
from pathlib import Path
from typing import Any

from drrval import __version__
from drrval.errors import StudyError
from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.fingerprint import code_digest, library_versions, study_sha256
from drrval.study.records import Record
from drrval.study.scorer_cache import weights_sha256
from drrval.study.store import is_new, write_json

# Settings that may change between scoring and a rebuilt report.
_REPORT_ONLY = ("description", "statistics", "acceptance", "output", "cohort")


def claim_folder(folder: Path, study: Study) -> None:
    """Describe the study in a new output folder, or make sure that the folder is this study's.

    Raises:
        StudyError: it holds foreign files, or belongs to another study.
    """
    description = folder / "dataset_description.json"
    if not description.exists() and not is_new(folder):
        raise StudyError(f"The output folder {folder} holds foreign files. Give a new or empty folder with --out.")
    if description.exists() and (name := _load(description).get("Name")) != study.name:
        raise StudyError(
            f"The output folder {folder} belongs to the study {name!r}, not {study.name!r}. Give another with --out."
        )
    (folder / "logs").mkdir(exist_ok=True)
    write_json(
        description,
        {
            "Name": study.name,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "drrval", "Version": __version__, "CodeSHA256": code_digest()}],
        },
    )


def start_log(log: logging.Logger, folder: Path) -> logging.Handler:
    """Begin to write the log to ``logs/run.log``; the caller removes the handler."""
    handler = logging.FileHandler(folder / "logs" / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


def write_study(study: Study, scans: list[PlannedScan], folder: Path) -> None:
    """Write ``logs/study.json``: every setting with its value, and the planned scans."""
    planned = [
        {
            "scan_id": scan.scan_id,
            "subject": scan.subject,
            "session": scan.session,
            "date": scan.date,
            "source": scan.source,
            "folder": scan.folder.as_posix(),
        }
        for scan in scans
    ]
    write_json(folder / "logs" / "study.json", {**study.resolved(), "scans": planned})


def finished_plan(study: Study, folder: Path) -> list[PlannedScan]:
    """The scans of the run in ``folder``, for a report that reads no CT.

    Raises:
        StudyError: nothing was run there, or it was run with other settings.
    """
    path = folder / "logs" / "study.json"
    if not path.is_file():
        raise StudyError(f"{folder} holds no finished study. Run it without --reports-only first.")
    ran = _load(path)
    given = study.resolved()
    changed = [key for key in given if key not in _REPORT_ONLY and given[key] != ran.get(key)]
    if changed:
        raise StudyError(f"{folder} was made with other settings of {', '.join(changed)}. Run without --reports-only.")
    return [PlannedScan(s["subject"], s["session"], s["date"], None, s["source"]) for s in ran["scans"]]


def write_run(study: Study, folder: Path, command: str) -> None:
    """Write ``logs/run-TIME.json``: command, versions, hashes of the code and of the scorers' weights."""
    started = datetime.datetime.now(datetime.UTC)
    write_json(
        folder / "logs" / f"run-{started:%Y%m%dT%H%M%S.%fZ}.json",
        {
            "command": command or " ".join(sys.argv),
            "started": started.isoformat(),
            "drrval": __version__,
            "code_sha256": code_digest(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "libraries": library_versions(),
            "study_seed": study.seed,
            "study_sha256": study_sha256(study),
            "weights_sha256": weights_sha256(study),
        },
    )


def write_scans(records: list[Record], folder: Path) -> None:
    """Write ``logs/scans.json``: input hash, resume key and noise seeds of every scan."""
    write_json(
        folder / "logs" / "scans.json",
        [
            {
                **{key: record[key] for key in ("scan_id", "source", "status", "input_sha256", "key")},
                "seeds": {view: content["seed"] for view, content in record["views"].items()},
            }
            for record in records
        ],
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Delete the output folder or give another.") from None
    if not isinstance(values, dict):
        raise StudyError(f"{path} does not hold what drrval writes. Delete the output folder or give another.")
    return values
