"""Operating points, chosen on validation data (the paper's section V-B)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxr_models.boxes import Boxes, boxes_of, mean_average_precision

Floats = npt.NDArray[np.float64]


def choose_detection_threshold(probability: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The probability whose point on the ROC curve lies closest to perfect (sensitivity 1, false-positive rate 0).

    Args:
        probability: ``[image]``, 0-1.
        positive: ``[image]``.

    Raises:
        ValueError: no positive or no negative image.
    """
    if positive.all() or not positive.any():
        raise ValueError("A detection threshold needs images with and without pneumonia.")
    candidates = np.unique(probability)
    sensitivity = np.array([(probability[positive] >= c).mean() for c in candidates])
    false_positive = np.array([(probability[~positive] >= c).mean() for c in candidates])
    return float(candidates[np.hypot(1.0 - sensitivity, false_positive).argmin()])


def choose_localisation_threshold(
    maps: Sequence[npt.NDArray[np.float32]], truth: Sequence[Boxes], candidates: Floats
) -> tuple[float, float]:
    """The map threshold with the highest mean average precision.

    Args:
        maps: localisation maps of images with boxes, 0-1.
        truth: their boxes (:mod:`cxr_models.boxes`).
        candidates: thresholds to try; the paper tries 0.5 to 0.9.

    Returns:
        The threshold and its mean average precision.
    """
    precision = [mean_average_precision([boxes_of(m, c) for m in maps], truth) for c in candidates]
    best = int(np.nanargmax(precision))
    return float(candidates[best]), precision[best]
