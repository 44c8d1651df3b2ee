"""How well does a scorer find the lungs of a CT, and does it keep right and left apart?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ct_models.contract import CTScorer
from drrval.errors import StudyError
from drrval.evaluation.ct_scoring import OpenedCT, base_row, open_ct
from drrval.evaluation.ct_table import CTCase, read_ct_table
from drrval.evaluation.numbers import share
from drrval.evaluation.overlap import SIDES, has_sides, has_values, overlap_cells, overlap_findings
from drrval.evaluation.task import Findings, PredictionRow, Scored, Task
from drrval.study.scorers import score_ct


def open_with_lungs(case: CTCase) -> OpenedCT:
    """Read the CT of a case and its lung mask.

    Raises:
        IntakeError, StudyError: either cannot be used, or the mask is empty.
    """
    opened = open_ct(case)
    if opened.lungs is None or not opened.lungs.any():
        raise StudyError(f"The lung mask {case.lungs} is empty. Give the mask of this scan, or leave the row out.")
    return opened


def measure(scorer: CTScorer, opened: OpenedCT) -> list[PredictionRow]:
    """One row: the score, Dice and Jaccard of both lungs; where the mask has sides, of each, and whether they are
    swapped."""
    assert opened.lungs is not None  # open_with_lungs sees to it
    score, truth = score_ct(scorer, opened.ct), opened.lungs
    row = base_row(opened, score) | overlap_cells(score.lungs > 0, truth > 0)
    if has_sides(truth):
        for side, label in SIDES.items():
            row |= overlap_cells(score.lungs == label, truth == label, side)
        row["swapped"] = float(swapped(score.lungs, truth))
    return [row]


def swapped(found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> bool:
    """Whether more lung voxels carry the other side's label than their own."""
    both = (found > 0) & (truth > 0)
    return bool(2 * np.count_nonzero(found[both] != truth[both]) > np.count_nonzero(both))


def analyse(scored: Scored) -> Findings:
    """Overlaps, and the share of scans with swapped sides."""
    found = overlap_findings(scored, "scan")
    if not has_values(scored, "swapped"):
        return found
    sided = scored.table[scored.table["swapped"].notna()]
    numbers = {**found.numbers, "sides": {"swapped_share": share(sided["swapped"], sided["patient"], scored.how)}}
    return replace(
        found, numbers=numbers, details={"n_swapped": int(sided["swapped"].sum()), "n_with_sides": len(sided)}
    )


TASK = Task(
    name="ct-lungs",
    summary="lungs of a CT against lungs (label map): Dice of each lung, swapped sides",
    modality="ct",
    unit="scan",
    scorers=("corona",),
    read=lambda path: read_ct_table(path, ("lungs",)),
    open=open_with_lungs,
    measure=measure,
    analyse=analyse,
)
