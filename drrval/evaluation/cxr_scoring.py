"""Scoring a plain radiograph: what every radiograph task and ``drrval score`` have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from cxr_models.contract import CXRInput, CXRScore, CXRScorer
from drrval.evaluation.cxr_table import CXRCase
from drrval.evaluation.radiographs import PlainRadiograph, read_radiograph
from drrval.evaluation.task import PredictionRow
from drrval.study.scorers import cxr_input, score_cxr

DEFAULT_VIEW = "PA"
SCORE_COLUMNS = (
    "p_pneumonia",
    "ratio_percent",
    "ratio_right_percent",
    "ratio_left_percent",
    "score_0_8",
    "severity",
)


@dataclass(frozen=True)
class OpenedRadiograph:
    """A radiograph with its case: image and view position."""

    case: CXRCase
    radiograph: PlainRadiograph
    view: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.radiograph.image.shape[0], self.radiograph.image.shape[1]


def open_radiograph(case: CXRCase) -> OpenedRadiograph:
    """Read the image of a case.

    Raises:
        IntakeError: it cannot be read.
    """
    radiograph = read_radiograph(case.path)
    return OpenedRadiograph(case, radiograph, chosen_view(case.view, radiograph))


def chosen_view(given: str, radiograph: PlainRadiograph) -> str:
    """The view position: what the user says, else what the file says, else PA."""
    return given or radiograph.view or DEFAULT_VIEW


def score_radiograph_file(
    scorer: CXRScorer, radiograph: PlainRadiograph, view: str, path: Path
) -> tuple[CXRInput, CXRScore]:
    """Bring a radiograph to a scorer's contract and score it.

    Raises:
        ScorerError: the image does not fit the contract, or the scorer failed.
    """
    given = cxr_input(scorer, radiograph.image, radiograph.pixel_mm, view, str(path))
    shape = radiograph.image.shape[0], radiograph.image.shape[1]
    return given, score_cxr(scorer, given, str(path), shape)


def score_opened(scorer: CXRScorer, opened: OpenedRadiograph) -> tuple[CXRInput, CXRScore, PredictionRow]:
    """Score an opened case.

    Returns:
        The scorer's input, its score, and the first cells of the row of the predictions.

    Raises:
        ScorerError: the image does not fit the contract, or the scorer failed.
    """
    given, score = score_radiograph_file(scorer, opened.radiograph, opened.view, opened.case.path)
    row: PredictionRow = {"image": opened.case.name, "patient": opened.case.patient, "view": opened.view}
    told = {"flags": ";".join(score.flags), "grey_values": opened.radiograph.grey_values}
    return given, score, row | score_cells(score) | told


def score_cells(score: CXRScore) -> dict[str, float]:
    """The numbers of a score by :data:`SCORE_COLUMNS`; NaN where the scorer does not measure one."""
    values = (
        score.p_pneumonia,
        score.ratio_percent,
        score.ratio_right_percent,
        score.ratio_left_percent,
        score.score,
        score.severity,
    )
    return {
        name: float(value) if value is not None else math.nan for name, value in zip(SCORE_COLUMNS, values, strict=True)
    }
