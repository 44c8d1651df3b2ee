"""What the training runs of the CT networks have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ct_models.data.tables import read_table
from ct_models.data.volumes import LabelledVolume, load_volumes
from neural.imagenet import imagenet_file
from neural.training import TrainingSettings


@dataclass(frozen=True)
class CTRun:
    """Training of a CT network on labelled scans, described by settings that a YAML file can hold.

    Attributes:
        table: CSV file of labelled CTs (:mod:`ct_models.data.tables`).
        cache: folder of prepared volumes, made if absent; all runs may share it.
        slices_per_epoch: augmented slices in an epoch.
        checkpoint: ``best.pt`` of an earlier run of the same variant to start from, or None.
        imagenet: without a checkpoint, where the encoder starts: ``package`` (an installed weight package), the path of
            torchvision's file, or None for random numbers.
        training: see :class:`neural.training.TrainingSettings`.
    """

    table: Path
    cache: Path
    slices_per_epoch: int = 2000
    checkpoint: Path | None = None
    imagenet: Literal["package"] | Path | None = None
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def volumes(self, report: Callable[[str], None]) -> tuple[list[LabelledVolume], list[LabelledVolume]]:
        """The scans to train on and those to validate with.

        Raises:
            ValueError: a table or scan that does not do; see their readers.
        """
        table = read_table(self.table)
        train, validation = (
            load_volumes(table[table["split"] == split], self.cache, report) for split in ("train", "validation")
        )
        return train, validation

    def begin(self, network: nn.Module, encoder_name: str, load_encoder: Callable[[Path], None]) -> None:
        """Load the weights that training starts from, if any.

        Args:
            network: takes a checkpoint's.
            encoder_name: see :func:`neural.encoder.make_encoder`.
            load_encoder: takes the file of ImageNet weights.
        """
        if self.checkpoint is not None:
            network.load_state_dict(torch.load(self.checkpoint, map_location="cpu", weights_only=True)["model"])
        elif self.imagenet is not None:
            load_encoder(imagenet_file(encoder_name) if self.imagenet == "package" else self.imagenet)
