"""A whole training run of the lung network, described by settings that a YAML file can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ct_models.data.lung_slices import LungSliceDataset
from ct_models.data.tables import read_table
from ct_models.data.volumes import load_volumes
from ct_models.networks.lung_net import PIXEL_MM, STEP_MM, LungNet
from ct_models.training.lungs import measure, train_lungs
from neural.imagenet import imagenet_file, load_imagenet
from neural.training import Trained, TrainingSettings

_HELD_OUT_STEP = 9  # slices of the held-out scans, 36 mm apart: many scans tell more than many slices of one


@dataclass(frozen=True)
class LungRun:
    """Training of the lung network.

    Attributes:
        table: CSV file of labelled CTs (:mod:`ct_models.data.tables`).
        cache: folder of prepared volumes, made if absent.
        variant: ``ct-lungs`` or ``ct-lungs-light``.
        size: rows and columns of the slices, pixels of 2 mm, multiples of 32.
        slices_per_epoch: augmented slices in an epoch.
        checkpoint: ``best.pt`` of an earlier run of the same variant to start from, or None.
        imagenet: without a checkpoint, where the encoder starts: ``package`` (an installed weight package), the path of
            torchvision's file, or None for random numbers.
        training: see :class:`neural.training.TrainingSettings`.
    """

    table: Path
    cache: Path
    variant: str = "ct-lungs-light"
    size: tuple[int, int] = (160, 192)
    slices_per_epoch: int = 2000
    checkpoint: Path | None = None
    imagenet: str | None = None
    training: TrainingSettings = field(default_factory=TrainingSettings)


def run_lungs(run: LungRun, folder: Path, report: Callable[[str], None] = lambda line: None) -> Trained:
    """Train the lung network; an interrupted run in ``folder`` goes on.

    Raises:
        ValueError: a table, scan or setting that does not do; see its reader.
    """
    torch.manual_seed(run.training.seed)
    network = LungNet(run.variant)
    _begin(network, run)
    table = read_table(run.table)
    train, validation = (
        load_volumes(table[table["split"] == split], run.cache, report) for split in ("train", "validation")
    )
    train_set = LungSliceDataset(train, run.size, per_epoch=run.slices_per_epoch, seed=run.training.seed)
    held_out = LungSliceDataset(validation, run.size, every=_HELD_OUT_STEP)
    train_lungs(network, train_set, held_out, run.training, folder, report)
    network.cpu().eval()
    settings = {"pixel_mm": PIXEL_MM, "step_mm": STEP_MM}
    return Trained(network, run.variant, settings, measure(network, held_out))


def _begin(network: LungNet, run: LungRun) -> None:
    if run.checkpoint is not None:
        network.load_state_dict(torch.load(run.checkpoint, map_location="cpu", weights_only=True)["model"])
    elif run.imagenet is not None:
        file = imagenet_file(network.encoder_name) if run.imagenet == "package" else Path(run.imagenet)
        load_imagenet(network.unet.encoder, file)
