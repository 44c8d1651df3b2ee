"""Training of DLNet and its measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_models.data.detection import DetectionDataset
from cxr_models.networks.dlnet import DLNet, DLNetOutput, bounded
from cxr_models.training.multitask import MultitaskDLNet, TrainingOutput
from neural.metrics import roc_auc
from neural.training import Batch, TrainingSettings, fit

#: The paper's localisation output: 128 maps of 56 x 56.
_PAPER_OUTPUTS = 128 * 56 * 56


def train_dlnet(
    network: MultitaskDLNet,
    train_set: DetectionDataset,
    validation_set: DetectionDataset,
    settings: TrainingSettings,
    folder: Path,
    *,
    localisation_weight: float = 1e-5,
    findings_weight: float = 0.0,
    report: Callable[[str], None] = lambda line: None,
) -> DLNet:
    """Train with ``BCE + lambda MSE``; both stages of the paper differ only in the targets of ``train_set``.

    Args:
        network: with ImageNet, an earlier stage's or random weights.
        train_set, validation_set: see :class:`cxr_models.data.detection.DetectionDataset`.
        settings: the paper's are Adam at 1e-4, times 0.2 after 2 stagnant epochs, batches of 8, up to 30 epochs.
        folder: for checkpoints and the log; an interrupted run in it is continued.
        localisation_weight: lambda.
        findings_weight: of the cross entropy of the NIH findings, which the paper does not have; 0 leaves them out.
        report: called with a line per epoch.

    Returns:
        DLNet itself with the best epoch's weights, in evaluation mode.
    """

    def loss(model: torch.nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        output: TrainingOutput = model(batch["image"])
        terms = dlnet_loss(output.dlnet, batch, localisation_weight)
        if findings_weight == 0.0:
            return terms
        findings = findings_loss(output.findings, batch)
        return {**terms, "loss": terms["loss"] + findings_weight * findings, "findings": findings}

    def validate(model: torch.nn.Module) -> Mapping[str, float]:
        return measure(cast(MultitaskDLNet, model).dlnet, validation_set, localisation_weight)

    fit(network, loss, train_set, validate, settings, folder, report)
    return network.dlnet.eval()


def measure(network: DLNet, dataset: DetectionDataset, localisation_weight: float = 1e-5) -> dict[str, float]:
    """Loss terms, and the area under the ROC curve over the images whose label is fully trusted (weight 1)."""
    device = next(network.parameters()).device
    terms: list[dict[str, float]] = []
    probability, label = [], []
    for start in range(0, len(dataset), 8):
        items = [dataset[i] for i in range(start, min(start + 8, len(dataset)))]
        batch = {name: torch.stack([item[name] for item in items]).to(device) for name in items[0]}
        output = network(batch["image"])
        terms.append({k: v.item() for k, v in dlnet_loss(output, batch, localisation_weight).items()})
        trusted = batch["label_weight"] == 1.0
        probability += output.logit[trusted].tolist()
        label += batch["label"][trusted].tolist()
    means = {name: float(np.mean([term[name] for term in terms])) for name in terms[0]}
    return means | {"auc": roc_auc(np.array(probability), np.array(label) > 0.5)}


def dlnet_loss(output: DLNetOutput, batch: Batch, localisation_weight: float = 1e-5) -> dict[str, Tensor]:
    """``BCE + lambda MSE``, the paper's equation 1.

    The paper's lambda of 1e-5 "scales the localization loss according to the detection loss scale", which holds for
    the *sum* of squared errors over the 128 maps of 56 x 56 pixels (about 4 times their mean after lambda), not for the
    mean; other sizes and numbers of maps are brought to that count.

    Args:
        output: of :class:`DLNet` for N images.
        batch: ``label`` and ``label_weight`` ``[N]`` (0-1, weight 0 where the label is unknown), ``target`` and
            ``known`` ``[N, h, w]`` on the maps' pixels (0-1, the localisation target and how far to trust each pixel).
        localisation_weight: lambda.

    Returns:
        ``loss`` and its parts ``detection`` and ``localisation`` (after lambda), scalars.
    """
    weight, known = batch["label_weight"], batch["known"].unsqueeze(1)
    cross_entropy = F.binary_cross_entropy_with_logits(output.logit, batch["label"], reduction="none")
    detection = (weight * cross_entropy).sum() / weight.sum().clamp_min(1e-6)
    error = (bounded(output.maps.float()) - batch["target"].unsqueeze(1)).square()
    mean = (known * error).sum() / (known.sum() * output.maps.shape[1]).clamp_min(1e-6)
    localisation = localisation_weight * _PAPER_OUTPUTS * mean
    return {"loss": detection + localisation, "detection": detection, "localisation": localisation}


def findings_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross entropy, mean over the findings and over the images whose findings are known.

    Args:
        logits: ``[N, finding]``.
        batch: ``findings`` ``[N, finding]``, 0 or 1, and ``findings_weight`` ``[N]``, 0-1.
    """
    weight = batch["findings_weight"]
    per_image = F.binary_cross_entropy_with_logits(logits, batch["findings"], reduction="none").mean(dim=1)
    return (weight * per_image).sum() / weight.sum().clamp_min(1e-6)
