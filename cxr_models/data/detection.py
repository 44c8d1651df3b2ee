"""Radiographs with a label and a localisation target for DLNet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage

from cxr_models.augment import abnormal_from_normal, random_affine, random_gamma, random_intensity
from cxr_models.data.images import check_side, read_grey, resize
from cxr_models.data.lungs import split_lungs
from cxr_models.data.targets import TargetSettings, box_mask, shrink, soft_target
from cxr_models.preprocessing import clahe

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Image pixels per pixel of the localisation map.
_STRIDE = 8

#: An implanted lesion that covers less of the lungs than this makes the image's label uncertain.
_LEAST_LESION = 0.02


@dataclass
class DetectionItem:
    """One radiograph before augmentation.

    Attributes:
        image: uint8 ``[row, col]``.
        label, label_weight: 0-1; weight 0 where the label is unknown.
        lesion: float32 ``[row, col]``, 0-1, the localisation target at the image's size.
        known: float32 ``[row, col]``, 0-1, how far to trust each pixel of it.
        lungs: right and left lung, where masks exist and the image is normal, so that opacities can be implanted.
    """

    image: npt.NDArray[np.uint8]
    label: float
    label_weight: float
    lesion: Array
    known: Array
    lungs: tuple[Mask, Mask] | None = None


class DetectionDataset:
    """Radiographs with labels and localisation targets (:class:`neural.training.EpochDataset`).

    What is known of where the disease is: in a negative image, nowhere; with radiologists' masks or boxes, there; in a
    positive image without either, not outside the lungs if there is a lung mask, and otherwise nothing.

    Args:
        table: see :mod:`cxr_models.data.tables`.
        boxes: see :func:`cxr_models.data.tables.read_nih_boxes`; None without boxes.
        size: side of the square images, pixels, a multiple of 32.
        seed: of the augmentation.
        implants: share of normal images with lung masks that receive implanted opacities in an epoch, and become
            positives with an exact target; 0-1.
        augment: draw geometry, gamma and grey values anew in every epoch.
        targets: how boxes and masks become soft targets.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        boxes: pd.DataFrame | None,
        size: int,
        *,
        seed: int = 0,
        implants: float = 0.0,
        augment: bool = False,
        targets: TargetSettings | None = None,
    ) -> None:
        check_side(size)
        self.seed, self.implants, self.augment, self.epoch = seed, implants, augment, 0
        self.targets = targets or TargetSettings()
        by_image = {} if boxes is None else {str(k): v for k, v in boxes.groupby("image")}
        self.items = [self._read(row, by_image, size) for row in table.to_dict("records")]

    def __len__(self) -> int:
        return len(self.items)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations follow."""
        self.epoch = epoch

    def plain_image(self, index: int) -> torch.Tensor:
        """One image without augmentation, ``[row, col]``, 0-1 after CLAHE."""
        return torch.from_numpy(clahe(self.items[index].image.astype(np.float32) / np.float32(255.0)))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """``image`` ``[row, col]`` after CLAHE, ``label``, ``label_weight``, ``target`` and ``known`` ``[h, w]``."""
        item = self.items[index]
        image = item.image.astype(np.float32) / np.float32(255.0)
        label, weight, lesion, known = item.label, item.label_weight, item.lesion, item.known
        if self.augment:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            if item.lungs is not None and rng.random() < self.implants:
                abnormal = abnormal_from_normal(image, *item.lungs, rng)
                image, lesion = abnormal.image, np.clip(2.0 * abnormal.opacity, 0.0, 1.0)
                visible = abnormal.lesion.sum() >= _LEAST_LESION * (item.lungs[0] | item.lungs[1]).sum()
                label, weight, known = 1.0, float(visible), np.ones_like(known)
            image, (lesion, known) = random_affine(image, np.stack([lesion, known]), rng)
            image = random_intensity(random_gamma(image, rng, octaves=0.5), rng)
        return {
            "image": torch.from_numpy(clahe(image)),
            "label": torch.tensor(label, dtype=torch.float32),
            "label_weight": torch.tensor(weight, dtype=torch.float32),
            "target": torch.from_numpy(shrink(lesion, _STRIDE)),
            "known": torch.from_numpy(shrink(known, _STRIDE)),
        }

    def _read(self, row: dict[Any, Any], boxes: dict[str, pd.DataFrame], size: int) -> DetectionItem:
        labelled = not np.isnan(row["label"])
        lesion, known = self._localisation(row, boxes, size)
        return DetectionItem(
            image=resize(read_grey(Path(row["image"])), size).round().astype(np.uint8),
            label=float(row["label"]) if labelled else 0.0,
            label_weight=float(row["label_weight"]) if labelled else 0.0,
            lesion=lesion,
            known=known,
            lungs=_lungs(row, size) if row["label"] == 0.0 and self.implants > 0 else None,
        )

    def _localisation(self, row: dict[Any, Any], boxes: dict[str, pd.DataFrame], size: int) -> tuple[Array, Array]:
        nothing = np.zeros((size, size), dtype=np.float32)
        everywhere = np.ones((size, size), dtype=np.float32)
        if row["label"] == 0.0:
            return nothing, everywhere * np.float32(row["label_weight"])
        if row["image"] in boxes:
            found = boxes[row["image"]][["x", "y", "width", "height"]].to_numpy(float)
            return soft_target(box_mask(found, size), self.targets), everywhere
        masks = [row[column] for column in ("ggo", "consolidation") if isinstance(row.get(column), str) and row[column]]
        if masks:
            drawn = np.any([resize(read_grey(Path(m)), size) > 127 for m in masks], axis=0)
            return soft_target(drawn, self.targets), everywhere
        if row["lung_mask"]:
            lungs = resize(read_grey(Path(row["lung_mask"])), size) > 127
            outside = ~ndimage.binary_dilation(lungs, iterations=max(1, size // 40))
            return nothing, outside.astype(np.float32)
        return nothing, nothing.copy()


def _lungs(row: dict[Any, Any], size: int) -> tuple[Mask, Mask] | None:
    if not row["lung_mask"]:
        return None
    try:
        sides = split_lungs(resize(read_grey(Path(row["lung_mask"])), size) > 127)
    except ValueError:  # a lung is missing: nothing to implant into on that side
        return None
    return sides["right"], sides["left"]
