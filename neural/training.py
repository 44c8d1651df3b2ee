"""A plain training loop: seeded, resumable to the same result, logged to CSV, the same on CPU and GPU.

Every epoch starts from random numbers derived from (seed, epoch) alone, and a checkpoint is written after each, so a
run that was interrupted ends exactly where an uninterrupted one does (on the same machine and device).
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

Batch = Mapping[str, Tensor]


class EpochDataset(Protocol):
    """A map-style dataset whose random augmentation is a function of (seed, epoch, index)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch: ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations follow."""
        ...


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. The defaults are the paper's where it gives one (its section III-B).

    Attributes:
        epochs: most epochs.
        batch_size: images in a step.
        learning_rate: Adam's rate at the start.
        stagnation_epochs: epochs without a better validation loss before the rate falls.
        stagnation_factor: what the rate is multiplied by then.
        stopping_epochs: epochs without a better validation loss before training stops.
        weight_decay: Adam's decoupled weight decay (AdamW); 0 is Adam.
        seed: of weights' shuffling, dropout and augmentation.
        device: ``auto`` takes a GPU if there is one; or a PyTorch device name.
        workers: processes that prepare batches; 0 prepares them in this one.
        averaging: decay per step of an exponential moving average of the weights, which is then what is validated and
            kept (Polyak and Juditsky 1992, 10.1137/0330046); 0 keeps the weights themselves.

    Raises:
        ValueError: a number of epochs or images below 1, a rate that is not above 0, or a decay outside 0-1.
    """

    epochs: int = 30
    batch_size: int = 8
    learning_rate: float = 1e-4
    stagnation_epochs: int = 2
    stagnation_factor: float = 0.2
    stopping_epochs: int = 8
    weight_decay: float = 0.0
    seed: int = 0
    device: str = "auto"
    workers: int = 0
    averaging: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "stagnation_epochs", "stopping_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: training needs a number of 1 or more.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate:g} must be above 0.")
        if not 0.0 <= self.averaging < 1.0:
            raise ValueError(f"averaging={self.averaging:g} must be 0 (off) or a decay below 1, such as 0.998.")


@dataclass(frozen=True)
class Trained:
    """What a whole training run gives: everything that a store of weights needs.

    Attributes:
        network: with the best epoch's weights, in evaluation mode, on the CPU.
        name: what the weights are called in a store (:mod:`neural.store`), such as ``lsnet-light``.
        settings: numbers that belong to the weights, such as the input size and thresholds.
        metrics: on the validation part of the data, by name.
    """

    network: nn.Module
    name: str
    settings: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass
class _Progress:
    epoch: int = 0
    best_loss: float = float("inf")
    stagnant: int = 0


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Mapping[str, Tensor]],
    train_set: EpochDataset,
    validate: Callable[[nn.Module], Mapping[str, float]],
    settings: TrainingSettings,
    folder: Path,
    report: Callable[[str], None] = lambda line: None,
) -> nn.Module:
    """Train, keeping the epoch with the lowest validation loss.

    Args:
        model: trained in place; holds the best epoch's weights at the end.
        loss: loss terms of one batch (already on the device) by name; ``loss`` is minimised, all are logged.
        train_set: the training images.
        validate: metrics by name, of the model in evaluation mode; ``loss`` decides the best epoch, all are logged.
        settings: see :class:`TrainingSettings`.
        folder: receives ``log.csv``, ``best.pt`` and ``last.pt``; a ``last.pt`` found there is resumed.
        report: called with one line of text per epoch.

    Returns:
        The model.

    Raises:
        ValueError: the folder holds a run with other settings; or the loss is no longer finite.
    """
    device = pick_device(settings.device)
    place(model, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    scaler = torch.amp.GradScaler(enabled=device.type == "cuda")
    folder.mkdir(parents=True, exist_ok=True)
    average = _average(model, settings)
    progress = _resume(folder / "last.pt", model, optimizer, scaler, settings, average)
    while progress.epoch < settings.epochs and progress.stagnant < settings.stopping_epochs:
        started = time.perf_counter()
        terms = _train_epoch(model, loss, train_set, optimizer, scaler, settings, progress.epoch, device, average)
        kept = (model if average is None else average.module).eval()
        with torch.no_grad():
            metrics = dict(validate(kept))
        _step_rate(optimizer, progress, metrics["loss"], settings)
        if progress.stagnant == 0:
            _save(folder / "best.pt", {"model": kept.state_dict(), "epoch": progress.epoch, "metrics": metrics})
        row = {
            "epoch": progress.epoch,
            "learning_rate": optimizer.param_groups[0]["lr"],
            **{f"train_{name}": value for name, value in terms.items()},
            **{f"validation_{name}": value for name, value in metrics.items()},
            "seconds": round(time.perf_counter() - started, 1),
        }
        progress.epoch += 1
        _save(
            folder / "last.pt",
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "progress": asdict(progress),
                "settings": asdict(settings),
                "average": None if average is None else average.state_dict(),
            },
        )
        _log(folder / "log.csv", row)
        report("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    model.load_state_dict(torch.load(folder / "best.pt", map_location=device, weights_only=True)["model"])
    return model.eval()


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU, or the CPU without one; any other name is PyTorch's."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to a device, with the channels last in memory: a sixth faster on CPUs."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _average(model: nn.Module, settings: TrainingSettings) -> AveragedModel | None:
    if settings.averaging == 0.0:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging), use_buffers=True)


def _train_epoch(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Mapping[str, Tensor]],
    train_set: EpochDataset,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: TrainingSettings,
    epoch: int,
    device: torch.device,
    average: AveragedModel | None,
) -> dict[str, float]:
    """One pass over the training set; the mean of each loss term over the steps."""
    seed = int(np.random.SeedSequence([settings.seed, epoch]).generate_state(1)[0])
    torch.manual_seed(seed)
    train_set.set_epoch(epoch)
    loader: DataLoader[Any] = DataLoader(
        train_set,  # type: ignore[arg-type]
        batch_size=settings.batch_size,
        shuffle=True,
        drop_last=len(train_set) > settings.batch_size,  # a last batch of one image would break batch normalisation
        num_workers=settings.workers,
        generator=torch.Generator().manual_seed(seed),
    )
    model.train()
    sums: dict[str, float] = {}
    for batch in loader:
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, enabled=scaler.is_enabled()):
            terms = loss(model, batch)
        if not torch.isfinite(terms["loss"]):
            raise ValueError(f"The loss is {terms['loss'].item()} in epoch {epoch}: lower the learning rate.")
        scaler.scale(terms["loss"]).backward()
        scaler.step(optimizer)
        scaler.update()
        if average is not None:
            average.update_parameters(model)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value.item()
    return {name: value / len(loader) for name, value in sums.items()}


def _step_rate(optimizer: torch.optim.Optimizer, progress: _Progress, loss: float, settings: TrainingSettings) -> None:
    """Note whether the epoch was the best, and lower the rate at every ``stagnation_epochs`` stagnant epochs."""
    if loss < progress.best_loss:
        progress.best_loss, progress.stagnant = loss, 0
        return
    progress.stagnant += 1
    if progress.stagnant % settings.stagnation_epochs == 0:
        for group in optimizer.param_groups:
            group["lr"] *= settings.stagnation_factor


def _resume(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: TrainingSettings,
    average: AveragedModel | None,
) -> _Progress:
    if not path.exists():
        return _Progress()
    state = torch.load(path, map_location="cpu", weights_only=True)
    free = {"epochs", "stopping_epochs", "device", "workers"}  # a run may go on longer, or elsewhere
    changed = {k for k, v in asdict(settings).items() if k not in free and state["settings"].get(k, v) != v}
    if changed:
        raise ValueError(
            f"{path} belongs to a run with another {', '.join(sorted(changed))}: give those settings again, or another "
            "folder for a new run."
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    if average is not None:
        average.load_state_dict(state["average"])
    return _Progress(**state["progress"])


def _save(path: Path, state: Mapping[str, Any]) -> None:
    """Write whole or not at all: an interrupted run must find a checkpoint it can read."""
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    os.replace(part, path)


def _log(path: Path, row: Mapping[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
