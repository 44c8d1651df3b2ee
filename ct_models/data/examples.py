"""What the training examples of the CT networks have in common: slices of labelled scans, augmented or as they are."""

from __future__ import annotations

from collections.abc import Sequence

from ct_models.data.volumes import LabelledVolume


class SliceExamples:
    """Random augmented slices of labelled scans (:class:`neural.training.EpochDataset`), or fixed ones as they are.

    Args:
        volumes: see :func:`ct_models.data.volumes.load_volumes`.
        fixed: scan and slice of the fixed examples.
        per_epoch: augmented examples in an epoch; 0 for the fixed ones.
        seed: of the augmentation.

    Raises:
        ValueError: no scans.
    """

    def __init__(
        self, volumes: Sequence[LabelledVolume], fixed: Sequence[tuple[int, int]], per_epoch: int, seed: int
    ) -> None:
        if not volumes:
            raise ValueError("no scans to draw slices from: check the splits of the training table.")
        self.volumes, self.per_epoch, self.seed, self.epoch = list(volumes), per_epoch, seed, 0
        self.fixed = list(fixed)

    def __len__(self) -> int:
        return self.per_epoch or len(self.fixed)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose slices and augmentations follow."""
        self.epoch = epoch

    def scan_of(self, index: int) -> int:
        """Which of the scans a fixed example comes from."""
        return self.fixed[index][0]
