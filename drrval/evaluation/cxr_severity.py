"""Does the severity follow experts' scores, and the pneumonia ratio the ratio of lesion masks?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from ct_models.contract import LEFT, RIGHT
from cxr_models.contract import CXRScorer
from drrval.errors import IntakeError
from drrval.evaluation.agreement import Pairing, agreement
from drrval.evaluation.cases import RATIOS
from drrval.evaluation.cxr_scoring import OpenedRadiograph, open_radiograph, score_opened
from drrval.evaluation.cxr_table import CXRCase, read_cxr_table
from drrval.evaluation.figures import confusion_figure
from drrval.evaluation.masks import read_mask
from drrval.evaluation.overlap import has_sides, has_values
from drrval.evaluation.task import Drawing, Findings, Numbers, PredictionRow, Scored, Task
from drrval.stats.categories import cohen_kappa, label_counts, linear_weights, observed_agreement
from drrval.stats.resampling import Floats
from drrval.stats.sums import bootstrap_sums

N_LEVELS = 9  # scores 0 to 8
_EXPERT = "experts' score, 0-8"
_SCORES = {"score_0_8": "predicted severity, 0-8", "severity": "predicted continuous severity"}
_LUNGS = ("both lungs", "right lung", "left lung")


@dataclass(frozen=True)
class GradedRadiograph:
    """A radiograph and its true ratios (both lungs, right, left; 0-100 % or NaN)."""

    opened: OpenedRadiograph
    ratios: tuple[float, ...]


def open_graded(case: CXRCase) -> GradedRadiograph:
    """Read the image of a case, and its true ratios: what the table says, or else what its masks say.

    Raises:
        IntakeError: the image or a mask cannot be read, or the lung mask is empty.
    """
    opened = open_radiograph(case)
    if case.lesion_mask is None or case.mask is None or not math.isnan(case.ratios[0]):
        return GradedRadiograph(opened, case.ratios)
    lungs, lesion = read_mask(case.mask, opened.shape), read_mask(case.lesion_mask, opened.shape) > 0
    if not lungs.any():
        raise IntakeError(f"{case.mask}: the lung mask is empty. Give the mask of this image, or leave the row out.")
    parts = [lungs > 0, *((lungs == RIGHT, lungs == LEFT) if has_sides(lungs) else ())]
    ratios = [100.0 * float(lesion[part].mean()) for part in parts]
    return GradedRadiograph(opened, (*ratios, *[math.nan] * (len(RATIOS) - len(ratios))))


def measure(scorer: CXRScorer, source: GradedRadiograph) -> list[PredictionRow]:
    """One row: the score, the experts' score and the true ratios."""
    _, _, row = score_opened(scorer, source.opened)
    truth = dict(zip((f"true_{name}" for name in RATIOS), source.ratios, strict=True))
    return [row | {"expert_score": source.opened.case.score} | truth]


def analyse(scored: Scored) -> Findings:
    """Correlation, error and confusion against experts' scores; correlation and agreement of the ratios."""
    numbers: dict[str, Numbers] = {}
    drawings: list[Drawing] = []
    details = {}
    notes: list[str] = []
    for kind, pairing in _pairings().items():
        if not has_values(scored, pairing.reference):
            continue
        numbers[kind], figures = agreement(scored, pairing, kind)
        drawings += figures
        if not numbers[kind]:
            notes.append(f"No image has both {pairing.test} and {pairing.reference}.")
        elif kind in _SCORES:
            counts, beyond_chance = _confusion(scored, kind)
            numbers[kind] = {**numbers[kind], **beyond_chance}
            details[f"confusion_{kind}"] = counts.astype(int).tolist()
            draw = partial(confusion_figure, counts, scored.label, pairing.names)
            drawings.append(Drawing(f"confusion_{kind}", draw))
    return Findings({kind: found for kind, found in numbers.items() if found}, details, drawings, notes)


def _pairings() -> dict[str, Pairing]:
    """What is compared, by the name of its group of numbers."""
    pairings = {name: Pairing(name, "expert_score", (_EXPERT, what)) for name, what in _SCORES.items()}
    ratio_name = "predicted pneumonia ratio, %"
    pairings["ratio_by_score"] = Pairing("ratio_percent", "expert_score", (_EXPERT, ratio_name), comparable=False)
    for name, lungs in zip(RATIOS, _LUNGS, strict=True):
        names = (f"ratio of the lesion mask, {lungs}", f"predicted pneumonia ratio, {lungs}")
        pairings[name] = Pairing(name, f"true_{name}", names, "%")
    return pairings


def rounded(scores: pd.Series) -> np.ndarray:
    """Whole scores, halves rounded up."""
    return np.floor(scores.to_numpy(dtype=float) + 0.5).astype(int)


def _confusion(scored: Scored, column: str) -> tuple[Floats, Numbers]:
    """Counts ``[expert, predicted]`` of rounded scores, their exact agreement and quadratic kappa."""
    table = scored.table.dropna(subset=["expert_score", column])
    cells = label_counts(rounded(table["expert_score"]), rounded(table[column]), N_LEVELS)
    quadratic = 1 - (1 - linear_weights(N_LEVELS)) ** 2

    def of_sums(sums: Floats) -> dict[str, Floats]:
        counts = sums.reshape(*sums.shape[:-1], N_LEVELS, N_LEVELS)
        return {"exact_agreement": observed_agreement(counts), "quadratic_kappa": cohen_kappa(counts, quadratic)}

    every = {"exact_agreement": np.ones(len(table), dtype=bool)}
    numbers = bootstrap_sums(cells, of_sums, table["patient"], "No image has both scores.", every, **scored.how)
    return cells.sum(axis=0).reshape(N_LEVELS, N_LEVELS), numbers


TASK = Task(
    name="cxr-severity",
    summary="severity against score (0-8), pneumonia ratio against ratio or lesion_mask",
    modality="cxr",
    unit="image",
    scorers=("dlnet-light",),
    read=lambda path: read_cxr_table(path, any_of=("score", "ratio_percent", "lesion_mask")),
    open=open_graded,
    measure=measure,
    analyse=analyse,
)
