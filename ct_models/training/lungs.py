"""What the lung network is trained for, and its measurement on labelled slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ct_models.contract import LEFT, RIGHT
from ct_models.data.lung_slices import LungSliceDataset
from neural.batches import batches
from neural.training import Batch

#: How much more a pixel of diseased lung counts in the cross-entropy than any other: it is a small and hard share.
_DISEASE_WEIGHT = 2.0


def lung_loss(logits: Tensor, lungs: Tensor, lesions: Tensor) -> Tensor:
    """Cross-entropy, diseased lung twice as heavy, plus one minus the soft Dice coefficient of each lung.

    The Dice coefficients are those of the whole batch, so slices without lung need no smoothing of their own.

    Args:
        logits: ``[N, 3, y, x]`` (elsewhere, right, left).
        lungs: int64 ``[N, y, x]``, 0 to 2.
        lesions: ``[N, y, x]``, 0 or 1.
    """
    weight = 1.0 + (_DISEASE_WEIGHT - 1.0) * lesions
    entropy = (F.cross_entropy(logits, lungs, reduction="none") * weight).sum() / weight.sum()
    probability = logits.softmax(dim=1)[:, 1:]
    target = F.one_hot(lungs, 3).movedim(-1, 1)[:, 1:].to(probability.dtype)
    overlap = (probability * target).sum(dim=(0, 2, 3))
    total = probability.sum(dim=(0, 2, 3)) + target.sum(dim=(0, 2, 3))
    return entropy + 1.0 - ((2.0 * overlap + 1.0) / (total + 1.0)).mean()


def training_terms(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    """The loss of a :class:`ct_models.networks.lung_net.LungNet` on one batch, for :func:`neural.training.fit`."""
    return {"loss": lung_loss(network(batch["hu"]), batch["lungs"], batch["lesions"])}


def measure(network: nn.Module, held_out: LungSliceDataset, batch_size: int = 8) -> dict[str, float]:
    """The ``loss``; ``dice`` of right and left lung by scan, averaged; ``found`` (diseased lung that is called lung).

    The network must be in evaluation mode.
    """
    device = next(network.parameters()).device
    losses: list[float] = []
    counts: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for indices, batch in batches(held_out, batch_size, device):
            logits = network(batch["hu"])
            losses.append(lung_loss(logits, batch["lungs"], batch["lesions"]).item())
            found = logits.argmax(dim=1)
            for row, index in enumerate(indices):
                scan = held_out.scan_of(index)
                counts[scan] = counts.get(scan, 0) + _counts(found[row], batch["lungs"][row], batch["lesions"][row])
    table = np.array(list(counts.values()), dtype=np.float64)
    dice = 2.0 * table[:, 0:2] / table[:, 2:4]
    return {
        "loss": float(np.mean(losses)),
        "dice": float(dice.mean()),
        "worst_dice": float(dice.min()),
        "found": float(table[:, 4].sum() / max(table[:, 5].sum(), 1.0)),
    }


def _counts(found: Tensor, lungs: Tensor, lesions: Tensor) -> np.ndarray:
    """Overlap of right and left, sum of the sizes of right and left, diseased pixels found, diseased pixels."""
    sides = (RIGHT, LEFT)
    overlap = [((found == side) & (lungs == side)).sum() for side in sides]
    sizes = [(found == side).sum() + (lungs == side).sum() for side in sides]
    disease = lesions > 0.5
    return torch.stack([*overlap, *sizes, (disease & (found > 0)).sum(), disease.sum()]).cpu().numpy()
