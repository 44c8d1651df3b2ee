"""Volumes and ratios of a lesion mask in labelled lungs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ct_models.contract import LEFT, RIGHT, CTInput, CTScore
from ct_models.lungs import LungSegmentation
from ct_models.morphology import Mask
from ct_models.plausibility import plausibility


def measured(
    ct: CTInput,
    lungs: LungSegmentation,
    lesion: Mask,
    *,
    p_pneumonia: float = float("nan"),
    slice_probability: npt.NDArray[np.float32] | None = None,
) -> CTScore:
    """The score of a CT by its lesion mask.

    A lung that is missing or cut has no ratio (NaN), and then the ratio of both and the probability are NaN too: they
    would speak of a part of the lungs. Volumes are those of the part that was found. In a scan that is turned, right
    and left have no ratios. The flags say which of these it is (:mod:`ct_models.plausibility`).

    Args:
        ct: the scan.
        lungs: labels ``[z, y, x]``, some of them not 0; its flags are kept.
        lesion: bool, same shape, inside the lungs.
        p_pneumonia, slice_probability: see :class:`ct_models.contract.CTScore`.
    """
    labels = lungs.labels
    voxel_cm3 = float(np.prod(ct.spacing_mm)) / 1000.0
    size = np.bincount(labels.ravel(), minlength=3)
    diseased = np.bincount(labels[lesion], minlength=3)
    found = plausibility(ct.hu, labels, ct.spacing_mm)
    right, left = (
        _percent(diseased[side], size[side]) if found.sides_known and side not in found.unreliable else float("nan")
        for side in (RIGHT, LEFT)
    )
    whole = not found.unreliable
    return CTScore(
        lungs=labels,
        lesion=lesion,
        ratio_percent=_percent(diseased[1:].sum(), size[1:].sum()) if whole else float("nan"),
        ratio_right_percent=right,
        ratio_left_percent=left,
        lung_cm3=float(size[1:].sum() * voxel_cm3),
        lesion_cm3=float(diseased[1:].sum() * voxel_cm3),
        p_pneumonia=p_pneumonia if whole else float("nan"),
        slice_probability=slice_probability,
        flags=lungs.flags + found.flags,
    )


def _percent(part: int, whole: int) -> float:
    return float(100.0 * part / whole)
