"""How well does a scorer find the lung fields of a radiograph?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_models.contract import CXRScorer
from drrval.errors import IntakeError, ScorerError
from drrval.evaluation.cxr_scoring import OpenedRadiograph, open_radiograph, score_opened
from drrval.evaluation.cxr_table import CXRCase, read_cxr_table
from drrval.evaluation.masks import read_mask, to_pixels
from drrval.evaluation.overlap import SIDES, has_sides, overlap_cells, overlap_findings
from drrval.evaluation.task import PredictionRow, Task
from drrval.study.scorers import ReadingScorer, read_cxr


@dataclass(frozen=True)
class MaskedRadiograph:
    """A radiograph and its true lungs: uint8 ``[row, col]``, see :func:`drrval.evaluation.masks.read_mask`."""

    opened: OpenedRadiograph
    lungs: npt.NDArray[np.uint8]


def open_masked(case: CXRCase) -> MaskedRadiograph:
    """Read the image of a case and its lung mask.

    Raises:
        IntakeError: either cannot be read, or the mask is empty.
    """
    assert case.mask is not None  # the table reader sees to it
    opened = open_radiograph(case)
    lungs = read_mask(case.mask, opened.shape)
    if not lungs.any():
        raise IntakeError(f"{case.mask}: the lung mask is empty. Give the mask of this image, or leave the row out.")
    return MaskedRadiograph(opened, lungs)


def measure(scorer: CXRScorer, source: MaskedRadiograph) -> list[PredictionRow]:
    """One row: the score, Dice and Jaccard of both lungs, and of each where mask and scorer know the sides."""
    opened, truth = source.opened, source.lungs
    given, score, row = score_opened(scorer, opened)
    if score.lung_mask is None:
        raise ScorerError(f"Scorer {scorer.name!r} gives no lung mask, so there is nothing to compare. Name another.")
    row |= overlap_cells(_on_image(score.lung_mask, opened.shape), truth > 0)
    if has_sides(truth) and isinstance(scorer, ReadingScorer):
        lungs = read_cxr(scorer, given, str(opened.case.path)).lungs
        for side, label in SIDES.items():
            row |= overlap_cells(_on_image(getattr(lungs, side), opened.shape), truth == label, side)
    return [row]


def _on_image(mask: npt.NDArray[np.bool_], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return to_pixels(mask.astype(np.uint8), shape) > 0


TASK = Task(
    name="cxr-lungs",
    summary="lung mask against mask: Dice and Jaccard",
    modality="cxr",
    unit="image",
    scorers=("dlnet-light",),
    read=lambda path: read_cxr_table(path, ("mask",)),
    open=open_masked,
    measure=measure,
    analyse=lambda scored: overlap_findings(scored, "image"),
)
