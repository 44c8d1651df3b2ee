"""Do the boxes around the predicted pneumonia match radiologists' boxes? RSNA precision and mAP."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr_models.boxes import IOU_THRESHOLDS, Boxes, boxes_of, rsna_precision
from cxr_models.contract import CXRInput, CXRScore, CXRScorer
from drrval.errors import IntakeError, ScorerError
from drrval.evaluation.cxr_scoring import OpenedRadiograph, open_radiograph, score_opened
from drrval.evaluation.cxr_table import CXRCase, read_cxr_table
from drrval.evaluation.figures import precision_figure
from drrval.evaluation.numbers import mean_and_sd
from drrval.evaluation.overlap import has_values
from drrval.evaluation.task import Drawing, Findings, PredictionRow, Scored, Task
from drrval.stats.resampling import Interval
from drrval.study.scorers import ReadingScorer, read_cxr

_OUTSIDE_PIXELS = 1.0  # what a box may leave the image by, for boxes that were rounded
PRECISIONS = {f"precision_iou_{iou:.2f}": float(iou) for iou in IOU_THRESHOLDS}


def open_boxed(case: CXRCase) -> OpenedRadiograph:
    """Read the image of a case and hold its boxes against it.

    Raises:
        IntakeError: the image cannot be read, or a box leaves it.
    """
    opened = open_radiograph(case)
    ends = case.boxes[:, :2] + case.boxes[:, 2:]
    rows, cols = opened.shape
    if (ends > np.array([cols, rows]) + _OUTSIDE_PIXELS).any():
        raise IntakeError(
            f"{case.path}: a box reaches x, y = {ends[:, 0].max():g}, {ends[:, 1].max():g}, but the image has {cols} "
            f"columns and {rows} rows. Give boxes in pixels of this image."
        )
    return opened


def measure(scorer: CXRScorer, opened: OpenedRadiograph) -> list[PredictionRow]:
    """One row: the score, the numbers of boxes, and the precision at each IoU threshold."""
    given, score, row = score_opened(scorer, opened)
    used, unasked = predicted_boxes(scorer, given, score, str(opened.case.path))
    rows, cols = opened.shape
    size = np.array([cols, rows, cols, rows], dtype=float)
    truth = opened.case.boxes / size
    precisions = {name: rsna_precision(used, truth, iou) for name, iou in PRECISIONS.items()}
    row |= {"n_true_boxes": len(truth), "n_predicted_boxes": len(used), "predicted_boxes": _text(used * size)}
    row |= {**precisions, "average_precision": _mean(precisions.values())}
    if unasked is not None:
        row["average_precision_map"] = _mean(rsna_precision(unasked, truth, iou) for iou in PRECISIONS.values())
    return [row]


def predicted_boxes(scorer: CXRScorer, given: CXRInput, score: CXRScore, source: str) -> tuple[Boxes, Boxes | None]:
    """Boxes around what a scorer localises, as shares of the image's width and height.

    A scorer that shows its localisation map (:class:`drrval.study.scorers.ReadingScorer`) is taken by the map at the
    scorer's localisation threshold, as in the paper; any other by its lesion mask.

    Returns:
        The boxes as the scorer is used (none below its detection threshold), and those of the map whatever its
        detection says (None for a scorer without a map).

    Raises:
        ScorerError: it gives neither map nor mask.
    """
    if isinstance(scorer, ReadingScorer):
        found = boxes_of(read_cxr(scorer, given, source).localisation, scorer.localisation_threshold)
        called = not score.p_pneumonia < getattr(scorer, "detection_threshold", -math.inf)
        return (found if called else found[:0]), found
    if score.lesion_mask is None:
        raise ScorerError(f"Scorer {scorer.name!r} gives neither a localisation map nor a lesion mask. Name another.")
    return boxes_of(score.lesion_mask.astype(np.float32), 0.5), None


def analyse(scored: Scored) -> Findings:
    """Mean average precision (the paper's equation 5) and the mean precision at each IoU threshold.

    Images without a true and without a predicted box do not count, as in the challenge.
    """
    table = scored.table
    numbers = {
        "localisation": {
            "map": _number(table, "average_precision", scored),
            "map_images_with_boxes": _number(table[table["n_true_boxes"] > 0], "average_precision", scored),
            **{name: _number(table, name, scored) for name in PRECISIONS},
        }
    }
    if has_values(scored, "average_precision_map"):
        numbers["localisation_whatever_detection_says"] = {
            "map": _number(table, "average_precision_map", scored),
            "map_images_with_boxes": _number(table[table["n_true_boxes"] > 0], "average_precision_map", scored),
        }
    n_boxes = {name: int(table[name].sum()) for name in ("n_true_boxes", "n_predicted_boxes")}
    points = {iou: numbers["localisation"][name] for name, iou in PRECISIONS.items()}
    overall = numbers["localisation"]["map"]
    return Findings(
        numbers, n_boxes, [Drawing("precision_by_iou", lambda: precision_figure(points, overall, scored.label))]
    )


def _number(table: pd.DataFrame, column: str, scored: Scored) -> Interval:
    found = mean_and_sd(table, column, "precision", scored.how)["precision"]
    return found if found.n_scans else replace(found, note="No image has a true or predicted box.")


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _text(boxes: npt.NDArray[np.float64]) -> str:
    """Boxes in pixels: ``x y width height``, separated by ``;``."""
    return "; ".join(" ".join(f"{value:.1f}" for value in box) for box in boxes)


TASK = Task(
    name="cxr-localisation",
    summary="boxes around the localisation against x, y, width, height: RSNA precision and mAP",
    modality="cxr",
    unit="image",
    scorers=("dlnet-light",),
    read=lambda path: read_cxr_table(path, ("x", "y", "width", "height")),
    open=open_boxed,
    measure=measure,
    analyse=analyse,
)
