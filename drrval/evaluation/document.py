"""What an evaluation found, as ``metrics.json`` holds it and as the command prints it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from drrval import __version__
from drrval.evaluation.numbers import number_json
from drrval.evaluation.task import Findings, Scored, Task
from drrval.report.text import interval_text
from drrval.stats.resampling import Resampling
from drrval.study.fingerprint import code_digest, library_versions

_SIZES = ("n_images", "n_scans", "n_slices", "n_patients")
_NOT_PRINTED = ("slope", "intercept", "auc_clustered")
_NAMED = "named by the table"
_OWN = (
    "the table has no column patient, so each image or scan is taken as a patient of its own; if some are of one "
    "patient, the intervals are too narrow"
)


def describe(
    task: Task, table: Path, predictions: pd.DataFrame, named_patients: bool, how: Resampling
) -> dict[str, Any]:
    """What was evaluated, how, and with which versions; ``results`` is still empty."""
    case = predictions.columns[0]
    sizes = {f"n_{'image' if task.modality == 'cxr' else 'scan'}s": int(predictions[case].nunique())}
    if task.unit == "slice":
        sizes["n_slices"] = len(predictions[[case, "slice"]].drop_duplicates())
    return {
        "task": task.name,
        "compared": task.summary,
        "table": table.name,
        "table_sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        **sizes,
        "n_patients": int(predictions["patient"].nunique()),
        "patients": _NAMED if named_patients else _OWN,
        "intervals": {**how, "by": "patient bootstrap"},
        "failed": [],
        "results": [],
        "versions": {"drrval": __version__, "python": platform.python_version(), **library_versions()},
        "code_sha256": code_digest(),
    }


def describe_result(scored: Scored, scorer: Any, found: Findings, unit: str) -> dict[str, Any]:
    """What was found of one scorer, JSON-ready."""
    threshold = scored.threshold
    return {
        "scorer": scored.label,
        "scorer_name": scorer.name,
        "weights_sha256": getattr(scorer, "weights_sha256", None),
        "threshold": None if threshold is None else {"value": threshold.value, "from": threshold.source},
        f"n_{unit}s": len(scored.table),
        "n_patients": int(scored.table["patient"].nunique()),
        "numbers": {
            group: {name: number_json(number, unit) for name, number in numbers.items()}
            for group, numbers in found.numbers.items()
        },
        "details": found.details,
        "flags": _flag_counts(scored.table),
        "notes": [*found.notes],
    }


def _flag_counts(table: pd.DataFrame) -> dict[str, int]:
    """Rows with each flag, most frequent first."""
    if "flags" not in table:
        return {}
    flags = table["flags"].dropna().astype(str).str.split(";").explode()
    return {str(flag): int(n) for flag, n in flags[flags != ""].value_counts().items()}


def _interval_notes(groups: dict[str, dict[str, dict[str, Any]]]) -> Iterable[str]:
    """What is to beware of in the intervals, each remark once, with the numbers that it is about."""
    about: dict[str, list[str]] = {}
    for group, numbers in groups.items():
        for name, number in numbers.items():
            if number["note"] and name not in _NOT_PRINTED and not name.endswith("_sd"):
                about.setdefault(number["note"], []).append(name if len(groups) == 1 else f"{group} {name}")
    return (f"{', '.join(names)}: {note}" for note, names in about.items())


def summary(document: dict[str, Any]) -> Iterable[str]:
    """The numbers of ``metrics.json`` as lines of a short table, some of the lesser ones left out."""
    sizes = [
        f"{document[key]} {key[2:]}" for key in ("n_images", "n_scans", "n_slices", "n_patients") if key in document
    ]
    yield f"{document['task']} ({document['compared']}): {', '.join(sizes)}"
    if document["patients"] != _NAMED:
        yield f"patients: {document['patients']}"
    for result in document["results"]:
        threshold = result["threshold"]
        at = f", threshold {threshold['value']:g} ({threshold['from']})" if threshold else ""
        yield f"\n{result['scorer']}{at}"
        width = max((len(group) for group in result["numbers"]), default=0)
        for group, numbers in result["numbers"].items():
            for name, number in numbers.items():
                if name in _NOT_PRINTED or name.endswith("_sd"):
                    continue
                n = next(f"{number[key]} {key[2:]}" for key in _SIZES if key in number)
                size = f"{n}, {number['n_patients']} patients"
                yield f"  {group:<{width}} {name:<26} {interval_text(number, 3):<26} {size}"
        yield from (f"  note: {note}" for note in [*result["notes"], *_interval_notes(result["numbers"])])
        if flags := result["flags"]:
            counts = ", ".join(f"{flag} {n}" for flag, n in flags.items())
            yield f"  flags: {counts} (predictions.csv says which rows, the documentation what they mean)"
    if failed := document["failed"]:
        yield f"\n{len(failed)} failed:"
        yield from (f"  row {one['row']}, {one['case']}: {one['message']}" for one in failed)
