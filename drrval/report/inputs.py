"""Read back what a study run wrote, so that reports need neither the raw CTs nor the run's memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from drrval.errors import StudyError
from drrval.stats import time_order


@dataclass(frozen=True)
class StudyOutput:
    """The parts of an output folder that the report shows.

    Attributes:
        folder: the output folder.
        dataset: ``dataset_description.json``.
        study: ``logs/study.json``, the resolved study.
        measurements: ``results/measurements.tsv``; names are str, numbers float, ``n/a`` is NaN.
        agreement: ``results/agreement.json``.
        ct_scorers: ``results/ct_scorers.json``.
        acceptance: ``results/acceptance.json``.
        intake: ``results/intake.tsv``, all columns str.
        scans: ``failed.json`` or else ``scan.json`` of every scan that ``study`` lists (other folders are passed over),
            subjects in natural order, scans in time order.
    """

    folder: Path
    dataset: dict[str, Any]
    study: dict[str, Any]
    measurements: pd.DataFrame
    agreement: dict[str, Any]
    ct_scorers: dict[str, Any]
    acceptance: dict[str, Any]
    intake: pd.DataFrame
    scans: list[dict[str, Any]]


_NAMES = ["subject", "session", "date", "view", "scorer", "modality", "status", "flags"]


def read_output(folder: Path) -> StudyOutput:
    """Read an output folder of ``drrval run-study``.

    Raises:
        StudyError: a file is missing or damaged, or a scan's file names another scan than its folder.
    """
    study = _read_json(folder / "logs" / "study.json")
    return StudyOutput(
        folder=folder,
        dataset=_read_json(folder / "dataset_description.json"),
        study=study,
        measurements=_read_table(folder / "results" / "measurements.tsv", dict.fromkeys(_NAMES, str)),
        agreement=_read_json(folder / "results" / "agreement.json"),
        ct_scorers=_read_json(folder / "results" / "ct_scorers.json"),
        acceptance=_read_json(folder / "results" / "acceptance.json"),
        intake=_read_table(folder / "results" / "intake.tsv", str),
        scans=_read_scans(folder, [scan["folder"] for scan in study.get("scans", [])]),
    )


def _read_scans(folder: Path, places: list[str]) -> list[dict[str, Any]]:
    scans = []
    for planned in places:
        failure = folder / planned / "failed.json"
        path = failure if failure.exists() else folder / planned / "scan.json"
        scan = _read_json(path)
        place = f"sub-{scan.get('subject')}/ses-{scan.get('session')}"
        if place != planned:
            raise StudyError(f"{path} says that it is {place}. Remove that scan's folder and run the study again.")
        scans.append(scan)
    if not scans:
        return []
    table = pd.DataFrame([{key: scan.get(key) for key in ("subject", "session", "date")} for scan in scans])
    return [scans[row] for row in time_order(table).sort_values().index]


def _read_json(path: Path) -> dict[str, Any]:
    _check_exists(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"{path} is not readable as JSON ({error}). Remove it and run the study again.") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} must hold a JSON object, got {type(content).__name__}. Run the study again.")
    return content


def _read_table(path: Path, types: Any) -> pd.DataFrame:
    _check_exists(path)
    return pd.read_csv(path, sep="\t", dtype=types, keep_default_na=False, na_values=["n/a"])


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise StudyError(f"{path} is missing. Give the output folder of `drrval run-study`, or run the study again.")
