"""Boxes around localisation maps, and the RSNA challenge's precision (the paper's equations 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float64]

#: Intersection over union from which a box counts as found: 0.4 to 0.75 in steps of 0.05.
IOU_THRESHOLDS = np.linspace(0.4, 0.75, 8)

#: Regions smaller than this share of the map are not called a box: the smallest of the development data's boxes covers
#: 0.6 % of its image.
_LEAST_AREA = 0.0025


def boxes_of(localisation: Array, threshold: float) -> Boxes:
    """A tight box around each connected region of the map at or above a threshold.

    Args:
        localisation: ``[row, col]``, 0-1.
        threshold: where a pixel counts as diseased.

    Returns:
        ``[box, 4]``: x, y, width and height as shares of the image's width and height.
    """
    labels, _ = ndimage.label(localisation >= threshold)
    rows, cols = localisation.shape
    found = []
    for number, (y, x) in enumerate(ndimage.find_objects(labels), start=1):
        if (labels[y, x] == number).sum() >= _LEAST_AREA * localisation.size:
            found.append((x.start / cols, y.start / rows, (x.stop - x.start) / cols, (y.stop - y.start) / rows))
    return np.array(found, dtype=float).reshape(-1, 4)


def intersection_over_union(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Equation 3 for every pair: ``[first, second]``, 0-1.

    Args:
        first, second: ``[box, 4]``: x, y, width, height.
    """
    a, b = first[:, None, :], second[None, :, :]
    size = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = np.clip(size, 0.0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def rsna_precision(predicted: Boxes, truth: Boxes, iou_threshold: float) -> float:
    """Equation 4 for one image: TP / (TP + FP + FN) at one IoU threshold; NaN without any box.

    Each true box is matched with at most one predicted box, pairs of higher IoU first.
    """
    if not len(predicted) and not len(truth):
        return float("nan")
    iou = intersection_over_union(predicted, truth)
    matched = 0
    while iou.size and iou.max() > iou_threshold:
        row, col = np.unravel_index(int(iou.argmax()), iou.shape)
        iou[row, :], iou[:, col] = 0.0, 0.0
        matched += 1
    return matched / (len(predicted) + len(truth) - matched)


def mean_average_precision(predicted: Sequence[Boxes], truth: Sequence[Boxes]) -> float:
    """Equation 5: the mean over images of the mean over IoU thresholds of equation 4.

    Images without a true and without a predicted box are left out, as the challenge does; an image with predictions
    and no true box counts 0.

    Args:
        predicted, truth: boxes of each image.

    Returns:
        0-1, or NaN if no image counts.
    """
    precision = [
        np.mean([rsna_precision(p, t, iou) for iou in IOU_THRESHOLDS])
        for p, t in zip(predicted, truth, strict=True)
        if len(p) or len(t)
    ]
    return float(np.mean(precision)) if precision else float("nan")
