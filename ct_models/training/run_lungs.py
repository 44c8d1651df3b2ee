"""A whole training run of the lung network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ct_models.data.lung_slices import LungSliceDataset
from ct_models.networks.lung_net import PIXEL_MM, STEP_MM, LungNet
from ct_models.training.lungs import measure, training_terms
from ct_models.training.run import CTRun
from neural.imagenet import load_imagenet
from neural.training import Trained, fit

_HELD_OUT_STEP = 9  # slices of the held-out scans, 36 mm apart: many scans tell more than many slices of one


@dataclass(frozen=True)
class LungRun(CTRun):
    """Training of the lung network.

    Attributes:
        variant: ``ct-lungs`` or ``ct-lungs-light``.
        size: rows and columns of the slices, pixels of 2 mm, multiples of 32.
    """

    variant: str = "ct-lungs-light"
    size: tuple[int, int] = (160, 192)


def run_lungs(run: LungRun, folder: Path, report: Callable[[str], None] = lambda line: None) -> Trained:
    """Train the lung network; an interrupted run in ``folder`` goes on.

    Raises:
        ValueError: a table, scan or setting that does not do; see its reader.
    """
    torch.manual_seed(run.training.seed)
    network = LungNet(run.variant)
    run.begin(network, network.encoder_name, lambda file: load_imagenet(network.unet.encoder, file))
    train, validation = run.volumes(report)
    train_set = LungSliceDataset(train, run.size, per_epoch=run.slices_per_epoch, seed=run.training.seed)
    held_out = LungSliceDataset(validation, run.size, every=_HELD_OUT_STEP)
    fit(network, training_terms, train_set, lambda model: measure(model, held_out), run.training, folder, report)
    network.cpu().eval()
    settings = {"pixel_mm": PIXEL_MM, "step_mm": STEP_MM}
    return Trained(network, run.variant, settings, measure(network, held_out))
