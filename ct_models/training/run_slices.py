"""A whole training run of the slice classifier, described by settings that a YAML file can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ct_models.data.pneumonia_slices import PneumoniaSliceDataset
from ct_models.data.tables import read_table
from ct_models.data.volumes import load_volumes
from ct_models.networks.slice_net import SliceNet, make_slice_net
from ct_models.training.slice_thresholds import choose_thresholds
from ct_models.training.slices import measure, train_slices
from neural.encoder import make_encoder
from neural.imagenet import imagenet_file, load_imagenet
from neural.training import Trained, TrainingSettings


@dataclass(frozen=True)
class SliceRun:
    """Training of the slice classifier.

    Attributes:
        table: CSV file of labelled CTs with lesion maps (:mod:`ct_models.data.tables`).
        cache: folder of prepared volumes, made if absent; runs for the lungs may share it.
        variant: ``ct-slices`` or ``ct-slices-light``.
        slices_per_epoch: augmented slices in an epoch.
        checkpoint: ``best.pt`` of an earlier run of the same variant to start from, or None.
        imagenet: without a checkpoint, where the encoder starts: ``package`` (an installed weight package), the path of
            torchvision's file, or None for random numbers.
        fixed_statistics: keep the checkpoint's running statistics of batch normalisation, for the last epochs.
        training: see :class:`neural.training.TrainingSettings`.
    """

    table: Path
    cache: Path
    variant: str = "ct-slices-light"
    slices_per_epoch: int = 2000
    checkpoint: Path | None = None
    imagenet: str | None = None
    fixed_statistics: bool = False
    training: TrainingSettings = field(default_factory=TrainingSettings)


def run_slices(run: SliceRun, folder: Path, report: Callable[[str], None] = lambda line: None) -> Trained:
    """Train the slice classifier and choose its thresholds; an interrupted run in ``folder`` goes on.

    Raises:
        ValueError: a table, scan or setting that does not do; see its reader.
    """
    torch.manual_seed(run.training.seed)
    network = make_slice_net(run.variant)
    network.fixed_statistics = run.fixed_statistics
    _begin(network, run)
    table = read_table(run.table)
    train, validation = (
        load_volumes(table[table["split"] == split], run.cache, report) for split in ("train", "validation")
    )
    train_set = PneumoniaSliceDataset(train, per_epoch=run.slices_per_epoch, seed=run.training.seed)
    held_out = PneumoniaSliceDataset(validation)
    train_slices(network, train_set, held_out, run.training, folder, report)
    network.cpu().eval()
    return Trained(network, run.variant, choose_thresholds(network, validation), measure(network, held_out))


def _begin(network: SliceNet, run: SliceRun) -> None:
    if run.checkpoint is not None:
        network.load_state_dict(torch.load(run.checkpoint, map_location="cpu", weights_only=True)["model"])
    elif run.imagenet is not None:
        file = imagenet_file(network.encoder_name) if run.imagenet == "package" else Path(run.imagenet)
        encoder = make_encoder(network.encoder_name)
        load_imagenet(encoder, file)
        network.backbone.load_state_dict(encoder.state_dict(), strict=False)  # a classifier's head stays its own
