"""Running an evaluation: read the table, score every case, write predictions, numbers and figures in this order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from drrval.errors import DrrvalError, StudyError
from drrval.evaluation.document import describe, describe_result
from drrval.evaluation.task import PredictionRow, Scored, Task, Threshold
from drrval.report.figures import save_figure
from drrval.report.text import file_label
from drrval.stats.resampling import Resampling
from drrval.study.config import ScorerSpec
from drrval.study.scorers import load_ct_scorer, load_cxr_scorer
from drrval.study.store import write_json, write_text

_LOADERS: dict[str, Callable[[ScorerSpec], Any]] = {"cxr": load_cxr_scorer, "ct": load_ct_scorer}


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        task: see :data:`drrval.evaluation.TASKS`.
        table: the table file.
        out: output folder.
        scorers: which scorers run; empty: the task's own.
        threshold: operating point in place of the scorer's own, 0-1, or None.
        how: how intervals are found.
    """

    task: Task
    table: Path
    out: Path
    scorers: tuple[ScorerSpec, ...]
    threshold: float | None
    how: Resampling


def evaluate(request: Request, progress: bool | None = None) -> dict[str, Any]:
    """Evaluate scorers on a table.

    Args:
        request: what to evaluate.
        progress: show a progress bar; None: when the output is a terminal.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        StudyError: a broken table, a threshold outside 0-1, or no case that could be scored.
        ScorerError: a scorer that cannot be loaded.
    """
    task = request.task
    _check(request)
    cases = task.read(request.table)
    specs = request.scorers or tuple(ScorerSpec(use=name) for name in task.scorers)
    if len({spec.label for spec in specs}) < len(specs):
        raise StudyError(f"A scorer is named twice: {', '.join(spec.label for spec in specs)}. Name each once.")
    scorers = {spec.label: _LOADERS[task.modality](spec) for spec in specs}
    rows, failed = _predict(task, cases.items, scorers, progress)
    if not rows:
        raise StudyError(
            f"None of the {len(cases.items)} cases of {request.table} could be scored. {failed[0]['message']}"
        )
    predictions = pd.DataFrame(rows)
    # First of all, so that nothing that follows can lose them.
    write_text(
        request.out / "predictions.csv", predictions.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    )
    document = describe(task, request.table, predictions, cases.named_patients, request.how) | {"failed": failed}
    findings = {}
    for label, scorer in scorers.items():
        own = predictions[predictions["scorer"] == label].drop(columns="scorer")
        if own.empty:
            continue
        scored = Scored(own.reset_index(drop=True), label, _threshold(task, scorer, request.threshold), request.how)
        findings[label] = task.analyse(scored)
        document["results"].append(describe_result(scored, scorer, findings[label], task.unit))
    write_json(request.out / "metrics.json", document)
    for label, found in findings.items():
        for drawing in found.drawings:
            save_figure(drawing.draw(), request.out / "figures" / f"{file_label(label)}_{drawing.kind}")
    return document


def _check(request: Request) -> None:
    """Refuse, before anything is scored, what would break the analysis."""
    if request.threshold is not None and not 0 <= request.threshold <= 1:
        raise StudyError(f"--threshold must lie between 0 and 1, got {request.threshold:g}.")
    if not 0 < request.how["level"] < 1:
        raise StudyError(f"--level must lie between 0 and 1, got {request.how['level']:g}. 0.95 is usual.")


def _predict(
    task: Task, cases: Sequence[Any], scorers: dict[str, Any], progress: bool | None
) -> tuple[list[PredictionRow], list[dict[str, Any]]]:
    """Rows of the predictions, and the cases that failed with the reason."""
    rows: list[PredictionRow] = []
    failed: list[dict[str, Any]] = []

    def note(case: Any, scorer: str | None, error: DrrvalError) -> None:
        failed.append({"case": case.name, "row": case.line, "scorer": scorer, "message": str(error)})

    shown = sys.stderr.isatty() if progress is None else progress
    for case in tqdm(cases, unit="image" if task.modality == "cxr" else "scan", disable=not shown):
        try:
            opened = task.open(case)
        except DrrvalError as error:
            note(case, None, error)
            continue
        for label, scorer in scorers.items():
            try:
                measured = task.measure(scorer, opened)
            except DrrvalError as error:
                note(case, label, error)
                continue
            rows += [_with_scorer(row, label) for row in measured]
    return rows, failed


def _with_scorer(row: PredictionRow, label: str) -> PredictionRow:
    """The row with the scorer's name behind those of case and patient."""
    cells = list(row.items())
    return dict([*cells[:2], ("scorer", label), *cells[2:]])


def _threshold(task: Task, scorer: Any, given: float | None) -> Threshold | None:
    if not task.threshold_attribute:
        return None
    if given is not None:
        return Threshold(given, "--threshold")
    own = getattr(scorer, task.threshold_attribute, None)
    return None if own is None else Threshold(float(own), f"the scorer's {task.threshold_attribute}")
