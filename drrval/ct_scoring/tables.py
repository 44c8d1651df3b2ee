"""The tables of ``drrval score-ct``: what their columns mean, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ct_models.contract import CTScore
from drrval.ct_scoring.flags import MEANINGS
from drrval.study.measurements import to_tsv
from drrval.study.slices import SLICE_DICTIONARY

_RATIO = {"Units": "%", "Range": "0-100"}

SCORE_DICTIONARY: dict[str, dict[str, Any]] = {
    "scan": {"Description": "Name of the scan, and of its folder beside this table."},
    "lung_cm3": {"Description": "Volume of both lungs, disease included.", "Units": "cm3"},
    "corona_cm3": {"Description": "Volume of the lesions (with the scorer corona: the Corona Score).", "Units": "cm3"},
    "ratio_percent": {
        "Description": "CT pneumonia ratio: lesion volume by lung volume, both lungs; n/a if one is missing or cut.",
        **_RATIO,
    },
    "ratio_right_percent": {"Description": "The same of the right lung.", **_RATIO},
    "ratio_left_percent": {"Description": "The same of the left lung.", **_RATIO},
    "opacity_ratio_percent": {
        "Description": "The ratio of the classical scorer opacity, which shares nothing with a trained one: a check.",
        **_RATIO,
    },
    "p_pneumonia": {
        "Description": "Probability of pneumonia; n/a where the scorer gives none, or the scan has no ratio.",
        "Range": "0-1",
    },
    "flags": {"Description": "Warnings, separated by ';'; n/a when there are none.", "Levels": MEANINGS},
    "seconds": {"Description": "Wall-clock time of the scorer; reading, control and files not counted.", "Units": "s"},
    "scorer": {"Description": "Name of the scorer."},
    "intake": {
        "Description": "What intake said of the files; n/a where it was not reached.",
        "Levels": {"accepted": "", "repaired": "", "rejected": ""},
    },
    "status": {
        "Description": "ok, incomplete or failed; the message says why a scan is not ok.",
        "Levels": {"ok": "", "incomplete": "no ratio of both lungs", "failed": "not scored"},
    },
    "message": {"Description": "Why the scan is incomplete or failed; n/a for a scan that is ok."},
    "path": {"Description": "Where the scan lies."},
}
SCAN_SLICE_DICTIONARY: dict[str, dict[str, Any]] = {
    "scan": {"Description": "Name of the scan, as in scores.tsv."},
    **SLICE_DICTIONARY,
    "instance_number": {"Description": "InstanceNumber of the DICOM image of the slice; n/a where there is none."},
    "sop_instance_uid": {
        "Description": "SOPInstanceUID of that image; of a multi-frame file followed by '#' and the frame, from 1."
    },
}
_DIGITS = 6


def score_row(score: CTScore) -> dict[str, Any]:
    """What a scorer found, under the names of :data:`SCORE_DICTIONARY`; JSON-ready, unknown numbers are None."""
    return {
        "lung_cm3": number(score.lung_cm3),
        "corona_cm3": number(score.lesion_cm3),
        "ratio_percent": number(score.ratio_percent),
        "ratio_right_percent": number(score.ratio_right_percent),
        "ratio_left_percent": number(score.ratio_left_percent),
        "p_pneumonia": number(score.p_pneumonia),
    }


def scores_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """``scores.tsv``: one row per scan."""
    return to_tsv(pd.DataFrame([_plain(row) for row in rows], columns=list(SCORE_DICTIONARY)))


def slices_text(table: pd.DataFrame) -> str:
    """``slices.tsv`` of one scan."""
    return to_tsv(table[list(SCAN_SLICE_DICTIONARY)])


def joined_slices(files: Iterable[Path]) -> str:
    """``slices.tsv`` of all scans: their tables below each other, under one header."""
    header = "\t".join(SCAN_SLICE_DICTIONARY) + "\n"
    return header + "".join(file.read_text(encoding="utf-8").partition("\n")[2] for file in files)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without tabs and line breaks, which would start another cell."""
    return {name: " ".join(cell.split()) if isinstance(cell, str) else cell for name, cell in row.items()}


def number(value: float) -> float | None:
    """A number with 6 significant digits; None for NaN."""
    return None if math.isnan(value) else float(f"{value:.{_DIGITS}g}")
