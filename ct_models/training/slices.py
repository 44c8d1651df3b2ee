"""What the slice classifier is trained for, and its measurement on labelled slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ct_models.data.pneumonia_slices import PneumoniaSliceDataset
from ct_models.networks.slice_net import SliceReading, location_logits
from neural.batches import batches
from neural.metrics import roc_auc
from neural.training import Batch

#: Weight of a location without lung; of the overlap; and of the slice labels, whose gradient at a location is then
#: about as large as that of its own loss.
_OUTSIDE_WEIGHT, _OVERLAP_WEIGHT, _SLICE_WEIGHT = 0.05, 0.3, 0.05


def slice_losses(reading: SliceReading, batch: Batch) -> dict[str, Tensor]:
    """The loss and its terms.

    * ``locations``: cross-entropy of each location's logit with its diseased share. It holds the evidence, and with it
      Grad-CAM, to where the disease is; a classifier trained on slice labels alone may look anywhere.
    * ``overlap``: one minus the soft Dice coefficient of the whole batch.
    * ``slices``: cross-entropy of the slice's logit with its label.

    Slices known to be diseased, but not where, count in ``slices`` alone.

    Args:
        reading: of the batch's images.
        batch: see :class:`ct_models.data.pneumonia_slices.PneumoniaSliceDataset`.
    """
    size = (reading.evidence.shape[1], reading.evidence.shape[2])
    lung, lesion = (F.adaptive_avg_pool2d(batch[name], size) for name in ("lung", "lesion"))
    logits = location_logits(reading.evidence)
    located = batch["located"][:, None, None]
    weight = located * (lung + _OUTSIDE_WEIGHT * (1.0 - lung))
    by_location = F.binary_cross_entropy_with_logits(logits, lesion, reduction="none")
    locations = (by_location * weight).sum() / weight.sum().clamp_min(1.0)
    found, there = logits.sigmoid() * lung * located, lesion * lung * located
    overlap = 1.0 - (2.0 * (found * there).sum() + 1.0) / ((found + there).sum() + 1.0)
    by_slice = F.binary_cross_entropy_with_logits(reading.logit, batch["label"], reduction="none")
    slices = (by_slice * batch["label_weight"]).sum() / batch["label_weight"].sum().clamp_min(1.0)
    loss = locations + _OVERLAP_WEIGHT * overlap + _SLICE_WEIGHT * slices
    return {"loss": loss, "locations": locations, "overlap": overlap, "slices": slices}


def training_terms(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    """The loss of a :class:`ct_models.networks.slice_net.SliceNet` on one batch, for :func:`neural.training.fit`."""
    return slice_losses(network(batch["images"]), batch)


def measure(network: nn.Module, held_out: PneumoniaSliceDataset, batch_size: int = 16) -> dict[str, float]:
    """Mean loss terms, ``auc`` of the slices with a certain label, and ``share_error``.

    ``share_error`` is the mean absolute error of the diseased share over scans, in points of lung percentage, read off
    the locations' probabilities. The network must be in evaluation mode.
    """
    device = next(network.parameters()).device
    terms: list[dict[str, float]] = []
    logits, labels, shares = [], [], np.zeros((len(held_out.volumes), 3))
    with torch.inference_mode():
        for indices, batch in batches(held_out, batch_size, device):
            reading = network(batch["images"])
            terms.append({name: value.item() for name, value in slice_losses(reading, batch).items()})
            certain = batch["label_weight"] > 0
            logits.append(reading.logit[certain].cpu().numpy())
            labels.append(batch["label"][certain].cpu().numpy())
            for row, index in enumerate(indices):
                shares[held_out.scan_of(index)] += _amounts(
                    reading.evidence[row], batch["lesion"][row], batch["lung"][row]
                )
    error = 100.0 * np.abs(shares[:, 0] - shares[:, 1]) / np.maximum(shares[:, 2], 1.0)
    return {
        **{name: float(np.mean([t[name] for t in terms])) for name in terms[0]},
        "auc": roc_auc(np.concatenate(logits), np.concatenate(labels) > 0.5),
        "share_error": float(error.mean()),
    }


def _amounts(evidence: Tensor, lesion: Tensor, lung: Tensor) -> np.ndarray:
    """Disease found, disease there, and lung, in locations of the target grid."""
    found = F.interpolate(location_logits(evidence).sigmoid()[None, None], size=lung.shape)[0, 0]
    return torch.stack([(found * lung).sum(), (lesion * lung).sum(), lung.sum()]).cpu().numpy()
