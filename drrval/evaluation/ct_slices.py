"""Does the probability of each axial slice tell diseased slices from others?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ct_models.contract import CTScorer
from drrval.errors import ScorerError, StudyError
from drrval.evaluation.ct_scoring import OpenedCT, open_ct
from drrval.evaluation.ct_table import LabelledSlice, read_slice_table
from drrval.evaluation.figures import roc_figure
from drrval.evaluation.numbers import detection_numbers
from drrval.evaluation.task import Drawing, Findings, PredictionRow, Scored, Task
from drrval.stats import roc_curve
from drrval.stats.resampling import MIN_PATIENTS
from drrval.study.scorers import score_ct
from drrval.volume import Grid


def measure(scorer: CTScorer, opened: OpenedCT) -> list[PredictionRow]:
    """One row per labelled slice: its probability and its label."""
    case, grid = opened.case, opened.ct.grid
    places = [array_index(one, grid, case.name) for one in case.slices]
    score = score_ct(scorer, opened.ct)
    if score.slice_probability is None:
        raise ScorerError(
            f"Scorer {scorer.name!r} gives no probability of each slice. Name one with a slice classifier, such as "
            "corona."
        )
    return [
        {
            "path": case.name,
            "patient": case.patient,
            "slice": one.number,
            "z_mm": z_of(index, grid),
            "probability": float(score.slice_probability[index]),
            "label": one.label,
        }
        for one, index in zip(case.slices, places, strict=True)
    ]


def array_index(one: LabelledSlice, grid: Grid, scan: str) -> int:
    """Index of a labelled slice in ``[z, y, x]``, whose z grows to the head.

    Raises:
        StudyError: the scan has no such slice, or its z is another than the table's by more than half a slice.
    """
    n_slices = grid.shape[0]
    if one.number >= n_slices:
        raise StudyError(
            f"row {one.line}: slice {one.number} of {scan} is beyond its {n_slices} slices. Count from 0 at the head, "
            f"to {n_slices - 1}."
        )
    index = n_slices - 1 - one.number
    z_mm = z_of(index, grid)
    if abs(one.z_mm - z_mm) > grid.spacing_mm[2] / 2:
        raise StudyError(
            f"row {one.line}: slice {one.number} of {scan} lies at z = {z_mm:.1f} mm, the table says {one.z_mm:g} mm. "
            "Count all slices of the scan from 0 at the head; if slices are missing in the folder, add them."
        )
    return index


def z_of(index: int, grid: Grid) -> float:
    """Where an axial slice lies, mm: DICOM's z, which grows to the head."""
    return float(grid.index_to_world(np.array([index, 0, 0]))[2])


def analyse(scored: Scored) -> Findings:
    """Area under the ROC curve over all slices, the rates at the scorer's threshold, and the same scan by scan."""
    scans, numbers = detection_numbers(scored, "probability")
    notes = [scans.problem] if scans.problem else []
    n_patients = scans.patients.n_patients
    if n_patients < MIN_PATIENTS:
        notes.append(
            f"No intervals: slices of one patient are not independent, and {n_patients} patient(s) say nothing about "
            f"how patients differ. At least {MIN_PATIENTS} are needed, and many more for a narrow interval."
        )
    curve = roc_curve(scans)
    drawings = [] if scans.problem else [Drawing("roc", lambda: roc_figure(curve, numbers, scored))]
    by_scan = [_of_scan(str(name), rows, scored) for name, rows in scored.table.groupby("path", sort=False)]
    return Findings({"slices": numbers}, {"by_scan": by_scan}, drawings, notes)


def _of_scan(name: str, rows: pd.DataFrame, scored: Scored) -> dict[str, Any]:
    """Numbers of one scan, without intervals: it is one patient."""
    scans, numbers = detection_numbers(Scored(rows, scored.label, scored.threshold, scored.how), "probability")
    found = {key: number.estimate for key, number in numbers.items()}
    return {"path": name, "n_slices": len(rows), "n_diseased": int(scans.truths.sum()), **found}


TASK = Task(
    name="ct-slices",
    summary="probability of each slice against label (0, 1), one row per slice",
    modality="ct",
    unit="slice",
    scorers=("corona",),
    read=read_slice_table,
    open=open_ct,
    measure=measure,
    analyse=analyse,
    threshold_attribute="slice_threshold",
)
