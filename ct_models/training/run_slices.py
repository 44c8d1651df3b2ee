"""A whole training run of the slice classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ct_models.data.pneumonia_slices import PneumoniaSliceDataset
from ct_models.networks.slice_net import SliceNet, make_slice_net
from ct_models.training.run import CTRun
from ct_models.training.slice_thresholds import choose_thresholds
from ct_models.training.slices import measure, training_terms
from neural.encoder import make_encoder
from neural.imagenet import load_imagenet
from neural.training import Trained, fit


@dataclass(frozen=True)
class SliceRun(CTRun):
    """Training of the slice classifier; every scan needs a lesion map.

    Attributes:
        variant: ``ct-slices`` or ``ct-slices-light``.
        fixed_statistics: keep the checkpoint's running statistics of batch normalisation, for the last epochs.
    """

    variant: str = "ct-slices-light"
    fixed_statistics: bool = False


def run_slices(run: SliceRun, folder: Path, report: Callable[[str], None] = lambda line: None) -> Trained:
    """Train the slice classifier and choose its thresholds; an interrupted run in ``folder`` goes on.

    Raises:
        ValueError: a table, scan or setting that does not do; see its reader.
    """
    torch.manual_seed(run.training.seed)
    network = make_slice_net(run.variant)
    network.fixed_statistics = run.fixed_statistics
    run.begin(network, network.encoder_name, lambda file: _load_encoder(network, file))
    train, validation = run.volumes(report)
    train_set = PneumoniaSliceDataset(train, per_epoch=run.slices_per_epoch, seed=run.training.seed)
    held_out = PneumoniaSliceDataset(validation)
    fit(network, training_terms, train_set, lambda model: measure(model, held_out), run.training, folder, report)
    network.cpu().eval()
    return Trained(network, run.variant, choose_thresholds(network, validation), measure(network, held_out))


def _load_encoder(network: SliceNet, file: Path) -> None:
    encoder = make_encoder(network.encoder_name)
    load_imagenet(encoder, file)
    network.backbone.load_state_dict(encoder.state_dict(), strict=False)  # a classifier's head stays its own
