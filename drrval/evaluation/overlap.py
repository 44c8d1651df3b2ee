"""How far a segmentation and the true lungs overlap, in one picture or volume and over many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ct_models.contract import LEFT, RIGHT
from drrval.evaluation.figures import overlap_figure
from drrval.evaluation.numbers import mean_and_sd
from drrval.evaluation.task import Drawing, Findings, Scored

Mask = npt.NDArray[np.bool_]

SIDES = {"right": RIGHT, "left": LEFT}
_SUFFIXES = {"both": "", "right": "_right", "left": "_left"}


def has_sides(labels: npt.NDArray[np.uint8]) -> bool:
    """Whether a lung mask tells right from left."""
    return bool((labels == LEFT).any())


def dice(first: Mask, second: Mask) -> float:
    """2 |A and B| / (|A| + |B|) (Dice 1945), 0-1; NaN if both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else float("nan")


def jaccard(first: Mask, second: Mask) -> float:
    """|A and B| / |A or B| (Jaccard 1912), 0-1; NaN if both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else float("nan")


def overlap_cells(found: Mask, truth: Mask, lungs: str = "both") -> dict[str, float]:
    """Dice and Jaccard as cells of the predictions; ``lungs`` is both, right or left."""
    suffix = _SUFFIXES[lungs]
    return {f"dice{suffix}": dice(found, truth), f"jaccard{suffix}": jaccard(found, truth)}


def overlap_findings(scored: Scored, unit: str) -> Findings:
    """Mean and standard deviation over images or scans of every overlap that is known, and a figure of Dice."""
    columns = {lungs: (f"dice{suffix}", f"jaccard{suffix}") for lungs, suffix in _SUFFIXES.items()}
    known = {lungs: names for lungs, names in columns.items() if has_values(scored, names[0])}
    numbers = {
        lungs: mean_and_sd(scored.table, dice_column, "dice", scored.how)
        | mean_and_sd(scored.table, jaccard_column, "jaccard", scored.how)
        for lungs, (dice_column, jaccard_column) in known.items()
    }
    values = {lungs: scored.table[names[0]].dropna() for lungs, names in known.items()}
    return Findings(numbers, drawings=[Drawing("dice", lambda: overlap_figure(values, scored.label, unit))])


def has_values(scored: Scored, column: str) -> bool:
    """Whether a column is there and not all of it is missing."""
    return column in scored.table and bool(scored.table[column].notna().any())
