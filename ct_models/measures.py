"""Volumes and ratios of a lesion mask in labelled lungs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ct_models.contract import LEFT, RIGHT, CTScore
from ct_models.lungs import LungSegmentation
from ct_models.morphology import Mask, Spacing


def measured(
    lungs: LungSegmentation,
    lesion: Mask,
    spacing_mm: Spacing,
    *,
    p_pneumonia: float = float("nan"),
    slice_probability: npt.NDArray[np.float32] | None = None,
    flags: tuple[str, ...] = (),
) -> CTScore:
    """The score of a CT by its lesion mask; a side without lung has ratio NaN.

    Args:
        lungs: labels ``[z, y, x]``, some of them not 0; its flags are kept.
        lesion: bool, same shape, inside the lungs.
        spacing_mm: voxel spacing along z, y, x, mm.
        p_pneumonia, slice_probability: see :class:`ct_models.contract.CTScore`.
        flags: more flags.
    """
    labels = lungs.labels
    voxel_cm3 = float(np.prod(spacing_mm)) / 1000.0
    size = np.bincount(labels.ravel(), minlength=3)
    diseased = np.bincount(labels[lesion], minlength=3)
    return CTScore(
        lungs=labels,
        lesion=lesion,
        ratio_percent=_percent(diseased[1:].sum(), size[1:].sum()),
        ratio_right_percent=_percent(diseased[RIGHT], size[RIGHT]),
        ratio_left_percent=_percent(diseased[LEFT], size[LEFT]),
        lung_cm3=float(size[1:].sum() * voxel_cm3),
        lesion_cm3=float(diseased[1:].sum() * voxel_cm3),
        p_pneumonia=p_pneumonia,
        slice_probability=slice_probability,
        flags=lungs.flags + flags,
    )


def _percent(part: int, whole: int) -> float:
    return float(100.0 * part / whole) if whole else float("nan")
