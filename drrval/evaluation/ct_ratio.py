"""Does the CT pneumonia ratio agree with the truth?"""

from __future__ import annotations

from ct_models.contract import CTScorer
from drrval.evaluation.agreement import Pairing, agreement
from drrval.evaluation.cases import RATIOS
from drrval.evaluation.ct_scoring import OpenedCT, base_row, open_ct
from drrval.evaluation.ct_table import read_ct_table
from drrval.evaluation.task import Drawing, Findings, Numbers, PredictionRow, Scored, Task
from drrval.study.scorers import score_ct

_LUNGS = {"total": "both lungs", "right": "right lung", "left": "left lung"}


def measure(scorer: CTScorer, opened: OpenedCT) -> list[PredictionRow]:
    """One row: the score and the true ratios."""
    truth = dict(zip((f"true_{name}" for name in RATIOS), opened.ratios, strict=True))
    return [base_row(opened, score_ct(scorer, opened.ct)) | truth]


def analyse(scored: Scored) -> Findings:
    """Correlation, error, bias and limits of agreement of both lungs, the right and the left."""
    numbers: dict[str, Numbers] = {}
    drawings: list[Drawing] = []
    for (group, lungs), name in zip(_LUNGS.items(), RATIOS, strict=True):
        names = (f"true ratio, {lungs}", f"CT pneumonia ratio, {lungs}")
        found, figures = agreement(scored, Pairing(name, f"true_{name}", names, "%"), group)
        if found:
            numbers[group] = found
            drawings += figures
    return Findings(numbers, drawings=drawings)


TASK = Task(
    name="ct-ratio",
    summary="CT pneumonia ratio against lungs and lesions (label maps), or ratio_percent",
    modality="ct",
    unit="scan",
    scorers=("corona", "opacity"),
    read=lambda path: read_ct_table(path, truth=True),
    open=open_ct,
    measure=measure,
    analyse=analyse,
)
