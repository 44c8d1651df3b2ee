"""Does the probability of pneumonia tell diseased radiographs from others?"""

from __future__ import annotations

from cxr_models.contract import CXRScorer
from drrval.evaluation.cxr_scoring import OpenedRadiograph, open_radiograph, score_opened
from drrval.evaluation.cxr_table import read_cxr_table
from drrval.evaluation.figures import roc_figure
from drrval.evaluation.numbers import detection_numbers
from drrval.evaluation.task import Drawing, Findings, PredictionRow, Scored, Task
from drrval.stats import roc_curve


def measure(scorer: CXRScorer, opened: OpenedRadiograph) -> list[PredictionRow]:
    """One row: the score and the label."""
    _, _, row = score_opened(scorer, opened)
    return [row | {"label": opened.case.label}]


def analyse(scored: Scored) -> Findings:
    """Area under the ROC curve, and the rates at the scorer's threshold."""
    known = scored.table[scored.table["p_pneumonia"].notna()]
    if known.empty:
        return Findings(
            {}, notes=["The scorer gives no probability of pneumonia, so there is no detection to measure."]
        )
    scans, numbers = detection_numbers(Scored(known, scored.label, scored.threshold, scored.how), "p_pneumonia")
    curve = roc_curve(scans)
    notes = [scans.problem] if scans.problem else []
    drawings = [] if scans.problem else [Drawing("roc", lambda: roc_figure(curve, numbers, scored))]
    return Findings({"detection": numbers}, drawings=drawings, notes=notes)


TASK = Task(
    name="cxr-detection",
    summary="probability of pneumonia against label (0, 1)",
    modality="cxr",
    unit="image",
    scorers=("dlnet-light",),
    read=lambda path: read_cxr_table(path, ("label",)),
    open=open_radiograph,
    measure=measure,
    analyse=analyse,
    threshold_attribute="detection_threshold",
)
