"""Losses for segmentation."""

from __future__ import annotations

from torch import Tensor


def dice_loss(logits: Tensor, target: Tensor, known: Tensor | None = None, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice coefficient, averaged over images and classes (Milletari et al. 2016, arXiv:1606.04797).

    Args:
        logits, target: ``[N, classes, H, W]``; targets are 0-1.
        known: 0-1, same shape or broadcastable; pixels where it is 0 count neither for nor against.
        smooth: pixels added above and below, so that an empty mask predicted empty scores 1 and not 0 / 0.

    Returns:
        A scalar in 0-1.
    """
    probability = logits.sigmoid()
    if known is not None:
        probability, target = probability * known, target * known
    overlap = (probability * target).sum(dim=(2, 3))
    total = probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3))
    return (1.0 - (2.0 * overlap + smooth) / (total + smooth)).mean()
