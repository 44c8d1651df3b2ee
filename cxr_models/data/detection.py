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

from cxr_models.augment import (
    abnormal_from_normal,
    random_affine,
    random_gamma,
    random_intensity,
    random_mirror,
    random_quality,
)
from cxr_models.data.images import check_side, read_grey, resize
from cxr_models.data.lungs import split_lungs
from cxr_models.data.synthetic import read_bits
from cxr_models.data.tables import NIH_FINDINGS
from cxr_models.data.targets import TargetSettings, box_mask, shrink, soft_target
from cxr_models.preprocessing import clahe

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Image pixels per pixel of the localisation map.
_STRIDE = 8

#: An implanted lesion that covers less of the lungs than this makes the image's label uncertain.
_LEAST_LESION = 0.02

_NO_FINDINGS = np.zeros(len(NIH_FINDINGS), dtype=np.float32)


@dataclass
class DetectionItem:
    """One radiograph before augmentation.

    Attributes:
        image: uint8 ``[row, col]``.
        label, label_weight: 0-1; weight 0 where the label is unknown.
        lesion: float32 ``[row, col]``, 0-1, the localisation target at the image's size.
        known: float32 ``[row, col]``, 0-1, how far to trust each pixel of it.
        findings: float32 ``[finding]``, 1 present, 0 absent, in the order of
            :data:`cxr_models.data.tables.NIH_FINDINGS`; None where unknown.
        lungs: right and left lung, where masks exist and the image is normal, so that opacities can be implanted.
    """

    image: npt.NDArray[np.uint8]
    label: float
    label_weight: float
    lesion: Array
    known: Array
    findings: Array | None = None
    lungs: tuple[Mask, Mask] | None = None


class DetectionDataset:
    """Radiographs with labels and localisation targets (:class:`neural.training.EpochDataset`).

    What is known of where the disease is: in a negative image, nowhere; with radiologists' masks or boxes, there; in a
    positive image without either, not outside the lungs if there is a lung mask, and otherwise nothing. Of a synthetic
    image every pixel is known but lesions that heart or diaphragm hide.

    Args:
        table: see :mod:`cxr_models.data.tables`; an optional column ``repeats`` tells how often a row is seen in an
            epoch (:mod:`cxr_models.data.balance`).
        boxes: see :func:`cxr_models.data.tables.read_nih_boxes`; None without boxes.
        size: side of the square images, pixels, a multiple of 32.
        seed: of the augmentation.
        implants: share of normal images with lung masks that receive implanted opacities in an epoch, and become
            positives with an exact target; 0-1.
        augment: draw geometry, gamma, grey values and image quality anew in every epoch. Half of the images are
            mirrored: the side of the heart does not matter here, and the images are few.
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
        self._repeats = np.asarray(table["repeats"] if "repeats" in table else np.ones(len(table)), dtype=float)
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self._order)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations follow, and which images it shows how often."""
        self.epoch = epoch
        rng = np.random.default_rng([self.seed, epoch])
        times = np.floor(self._repeats + rng.random(len(self._repeats))).astype(int)
        self._order = np.repeat(np.arange(len(self.items)), times)

    def plain_image(self, index: int) -> torch.Tensor:
        """One image without augmentation, ``[row, col]``, 0-1 after CLAHE."""
        return torch.from_numpy(clahe(self.items[index].image.astype(np.float32) / np.float32(255.0)))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One image of the epoch.

        Returns:
            ``image`` ``[row, col]`` after CLAHE, ``label``, ``label_weight``, ``target`` and ``known`` ``[h, w]``,
            ``findings`` ``[finding]`` and ``findings_weight`` (0 where unknown).
        """
        item = self.items[self._order[index]]
        image = item.image.astype(np.float32) / np.float32(255.0)
        label, weight, lesion, known = item.label, item.label_weight, item.lesion, item.known
        if self.augment:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            if item.lungs is not None and rng.random() < self.implants:
                right, left = item.lungs
                abnormal = abnormal_from_normal(image, right, left, rng)
                image, lesion = abnormal.image, np.clip(2.0 * abnormal.opacity, 0.0, 1.0)
                visible = abnormal.lesion.sum() >= _LEAST_LESION * (right | left).sum()
                label, weight, known = 1.0, float(visible), np.ones_like(known)
            image, (lesion, known) = random_affine(image, np.stack([lesion, known]), rng)
            image, (lesion, known) = random_mirror(image, np.stack([lesion, known]), rng)
            image = random_quality(random_intensity(random_gamma(image, rng, octaves=0.7), rng), rng)
        return {
            "image": torch.from_numpy(clahe(image)),
            "label": torch.tensor(label, dtype=torch.float32),
            "label_weight": torch.tensor(weight, dtype=torch.float32),
            "target": torch.from_numpy(shrink(lesion, _STRIDE)),
            "known": torch.from_numpy(shrink(known, _STRIDE)),
            "findings": torch.from_numpy(item.findings if item.findings is not None else _NO_FINDINGS),
            "findings_weight": torch.tensor(float(item.findings is not None)),
        }

    def _read(self, row: dict[Any, Any], boxes: dict[str, pd.DataFrame], size: int) -> DetectionItem:
        labelled = not np.isnan(row["label"])
        lesion, known = self._localisation(row, boxes, size)
        image = resize(read_grey(Path(row["image"])), size).round().astype(np.uint8)
        return DetectionItem(
            image=255 - image if row.get("inverted") is True else image,
            label=float(row["label"]) if labelled else 0.0,
            label_weight=float(row["label_weight"]) if labelled else 0.0,
            lesion=lesion,
            known=known,
            findings=_findings(row),
            lungs=_lungs(row, size) if row["label"] == 0.0 and self.implants > 0 else None,
        )

    def _localisation(self, row: dict[Any, Any], boxes: dict[str, pd.DataFrame], size: int) -> tuple[Array, Array]:
        nothing, everywhere = (np.broadcast_to(np.float32(value), (size, size)) for value in (0.0, 1.0))
        if isinstance(row.get("label_image"), str):
            return self._synthetic(row, size)
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
        return nothing, nothing

    def _synthetic(self, row: dict[Any, Any], size: int) -> tuple[Array, Array]:
        fields = int(row["field_right_bits"]) | int(row["field_left_bits"])
        lesion, field = (
            resize(read_bits(Path(row["label_image"]), bits).astype(np.float32), size) > 0.5
            for bits in (int(row["lesion_bits"]), fields)
        )
        seen = soft_target(lesion & field, self.targets)
        hidden = ndimage.gaussian_filter((lesion & ~field).astype(np.float32), self.targets.blur * size)
        return seen, np.clip(1.0 - hidden + seen, 0.0, 1.0)


def _findings(row: dict[Any, Any]) -> Array | None:
    """0 or 1 for each finding; None where the source does not tell."""
    if not isinstance(row.get("findings"), str):
        return None
    named = row["findings"].split("|")
    return np.array([name in named for name in NIH_FINDINGS], dtype=np.float32)


def _lungs(row: dict[Any, Any], size: int) -> tuple[Mask, Mask] | None:
    if not row["lung_mask"]:
        return None
    try:
        sides = split_lungs(resize(read_grey(Path(row["lung_mask"])), size) > 127)
    except ValueError:  # a lung is missing: nothing to implant into on that side
        return None
    return sides["right"], sides["left"]
