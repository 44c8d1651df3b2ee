"""Training of LSNet and its measurement: Dice loss, Adam (the paper's section IV-A)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cxr_models.data.lungs import LungDataset
from neural.losses import dice_loss
from neural.training import Batch, TrainingSettings, fit


def train_lsnet(
    network: nn.Module,
    table: pd.DataFrame,
    settings: TrainingSettings,
    folder: Path,
    *,
    size: int = 448,
    augmentation: str = "abnormal",
    report: Callable[[str], None] = lambda line: None,
) -> nn.Module:
    """Train on the table's ``train`` rows; the validation loss on its ``validation`` rows picks the epoch.

    Args:
        network: an :class:`cxr_models.networks.lsnet.LSNet`, with ImageNet or earlier weights loaded or not.
        table: see :mod:`cxr_models.data.tables`.
        settings: see :class:`neural.training.TrainingSettings`.
        folder: for checkpoints and the log; an interrupted run in it is continued.
        size: side of the images, pixels.
        augmentation: ``plain`` for LSNet, ``abnormal`` for LSNet-Aug.
        report: called with a line per epoch.

    Returns:
        The network with the best epoch's weights, in evaluation mode.
    """
    train_set = LungDataset(table[table["split"] == "train"], size, settings.seed, augmentation)
    held_out = LungDataset(table[table["split"] == "validation"], size)
    return fit(network, _loss, train_set, lambda model: measure(model, held_out), settings, folder, report)


def _loss(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    return {"loss": dice_loss(network(batch["image"]), batch["lung"], batch["known"])}


def measure(network: nn.Module, dataset: LungDataset, batch_size: int = 8) -> dict[str, float]:
    """Soft Dice ``loss`` and mean ``dice`` of both lungs together over the known pixels."""
    device = next(network.parameters()).device
    losses, dices = [], []
    for start in range(0, len(dataset), batch_size):
        items = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
        batch = {name: torch.stack([item[name] for item in items]).to(device) for name in items[0]}
        logits = network(batch["image"])
        losses += [
            dice_loss(logits[i : i + 1], batch["lung"][i : i + 1], batch["known"][i : i + 1]).item()
            for i in range(len(items))
        ]
        known = batch["known"].amin(dim=1) > 0.5
        found = (logits > 0).any(dim=1) & known
        lung = (batch["lung"] > 0.5).any(dim=1) & known
        dices += (2.0 * (found & lung).sum((1, 2)) / (found.sum((1, 2)) + lung.sum((1, 2)))).tolist()
    return {"loss": float(np.mean(losses)), "dice": float(np.mean(dices))}
