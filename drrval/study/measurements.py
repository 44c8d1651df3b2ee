"""The measurement table: one row per scan, view and scorer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from ct_models.contract import CTScore
from cxr_models.contract import CXRScore
from drrval.study.cohort import PlannedScan

MISSING = "n/a"

DICTIONARY: dict[str, dict[str, Any]] = {
    "subject": {"Description": "Patient label."},
    "session": {"Description": "Label of the scan within the patient."},
    "date": {"Description": "Date of the scan, or of the cohort table.", "Format": "YYYY-MM-DD"},
    "view": {
        "Description": "DICOM view position of the radiograph; n/a for CT.",
        "Levels": {"PA": "", "AP": "", "LL": "left lateral"},
    },
    "scorer": {"Description": "Name of the scorer."},
    "modality": {
        "Description": "What was scored.",
        "Levels": {"CT": "the CT", "CXR": "the rendered radiograph"},
    },
    "ratio_percent": {
        "Description": "Pneumonia ratio of both lungs: diseased over whole lung.",
        "Units": "%",
        "Range": "0-100",
    },
    "ratio_right_percent": {
        "Description": "Pneumonia ratio of the right lung.",
        "Units": "%",
        "Range": "0-100",
    },
    "ratio_left_percent": {
        "Description": "Pneumonia ratio of the left lung.",
        "Units": "%",
        "Range": "0-100",
    },
    "p_pneumonia": {
        "Description": "Probability of pneumonia; n/a where the scorer gives none.",
        "Range": "0-1",
    },
    "score": {"Description": "Severity: 0-4 per lung, summed.", "Range": "0-8"},
    "severity": {"Description": "Calibrated continuous severity; n/a where the scorer gives none.", "Range": "0-8"},
    "status": {
        "Description": "ok, or failed (the scan's page says why).",
        "Levels": {"ok": "", "failed": ""},
    },
    "flags": {"Description": "Warnings on the scan or view, separated by ';'; n/a when there are none."},
}
COLUMNS = tuple(DICTIONARY)


def measurement(
    scan: PlannedScan, date: str, view: str, scorer: str, score: CTScore | CXRScore, flags: Iterable[str]
) -> dict[str, Any]:
    """One row, JSON-ready: numbers rounded to 6 significant digits, missing values as None."""
    return {
        **_who(scan, date, view, scorer, "CT" if isinstance(score, CTScore) else "CXR"),
        "ratio_percent": _number(score.ratio_percent),
        "ratio_right_percent": _number(score.ratio_right_percent),
        "ratio_left_percent": _number(score.ratio_left_percent),
        "p_pneumonia": _number(score.p_pneumonia),
        "score": None if isinstance(score, CTScore) else _number(score.score),
        "severity": None if isinstance(score, CTScore) else _number(score.severity),
        "status": "ok",
        "flags": ";".join(flags) or None,
    }


def failed_measurement(scan: PlannedScan, date: str, scorer: str, modality: str, view: str) -> dict[str, Any]:
    """The row of something that should have been measured and was not."""
    return {**dict.fromkeys(COLUMNS), **_who(scan, date, view, scorer, modality), "status": "failed"}


def to_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the columns of :data:`COLUMNS`."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numeric = [c for c in COLUMNS if c.startswith(("ratio", "p_")) or c in ("score", "severity")]
    return table.astype(dict.fromkeys(numeric, float))


def to_tsv(table: pd.DataFrame) -> str:
    """Tab-separated text, missing values as ``n/a`` (BIDS)."""
    return table.to_csv(sep="\t", index=False, na_rep=MISSING, float_format="%.6g", lineterminator="\n")


def _who(scan: PlannedScan, date: str, view: str, scorer: str, modality: str) -> dict[str, Any]:
    """The columns that say whose row it is."""
    return {
        "subject": scan.subject,
        "session": scan.session,
        "date": date or None,
        "view": view or None,
        "scorer": scorer,
        "modality": modality,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")
