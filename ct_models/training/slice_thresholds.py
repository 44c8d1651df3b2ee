"""The thresholds of the Corona Score, chosen on held-out scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ct_models.data.pneumonia_slices import NEGATIVE, POSITIVE, lesion_shares
from ct_models.data.volumes import LabelledVolume
from ct_models.networks.slice_net import SliceNet
from ct_models.slice_reading import Reading, read_slices

_LESION_THRESHOLDS = np.linspace(0.2, 0.8, 25)


def choose_thresholds(network: SliceNet, volumes: Sequence[LabelledVolume]) -> dict[str, float]:
    """``slice_threshold`` and ``lesion_threshold`` from scans that the network was not trained on.

    The slice's is where the ROC curve comes nearest to (0, 1), as in the paper; the lesion's gives the least mean
    absolute error of the diseased share of the lungs, with that slice threshold.

    Raises:
        ValueError: no slice of the scans is diseased, or none is healthy.
    """
    readings = [read_slices(network, v.hu.astype(np.float32), v.lungs > 0) for v in volumes]
    shares = np.concatenate([lesion_shares(v) for v in volumes])
    certain = (shares >= POSITIVE) | (shares <= NEGATIVE)
    probability = np.concatenate([r.slice_probability for r in readings])
    slice_threshold = nearest_corner(probability[certain], shares[certain] >= POSITIVE)
    errors = [_share_error(readings, volumes, slice_threshold, t) for t in _LESION_THRESHOLDS]
    return {"slice_threshold": slice_threshold, "lesion_threshold": float(_LESION_THRESHOLDS[int(np.argmin(errors))])}


def nearest_corner(scores: npt.NDArray[np.float32], positive: npt.NDArray[np.bool_]) -> float:
    """Threshold (``score >= threshold`` is positive) whose sensitivity and specificity come nearest to 1.

    Raises:
        ValueError: one of the classes is missing.
    """
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise ValueError(
            f"{n} diseased and {m} healthy slices in the validation part: a threshold needs both. Add scans to it."
        )
    candidates = np.unique(scores)
    sensitivity = 1.0 - np.searchsorted(np.sort(scores[positive]), candidates) / n
    specificity = np.searchsorted(np.sort(scores[~positive]), candidates) / m
    return float(candidates[np.argmin(np.hypot(1.0 - sensitivity, 1.0 - specificity))])


def _share_error(
    readings: Sequence[Reading], volumes: Sequence[LabelledVolume], slice_threshold: float, lesion_threshold: float
) -> float:
    """Mean absolute error of the diseased share of the lungs, 0-1."""
    errors = []
    for reading, volume in zip(readings, volumes, strict=True):
        lung, truth = volume.lungs > 0, volume.lesions > 0
        positive = (reading.slice_probability >= slice_threshold)[:, None, None]
        found = (reading.probability >= lesion_threshold) & lung & positive
        errors.append(abs(np.count_nonzero(found) - np.count_nonzero(truth & lung)) / np.count_nonzero(lung))
    return float(np.mean(errors))
