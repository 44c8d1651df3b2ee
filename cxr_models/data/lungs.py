"""Lung masks as training targets for LSNet: which pixels are lung, and which are known at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage

from cxr_models.augment import abnormal_from_normal, implant_blobs, random_affine, random_gamma, random_intensity
from cxr_models.data.images import check_side, read_grey, resize

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Of a lung drawn with the heart: the share of each row, from the mediastinum outwards, that may be heart shadow (an
#: enlarged heart reaches the left chest wall on a supine radiograph); and the share of the lung's height, from the top,
#: that the heart does not reach.
_HEART_WIDTH = {"right": 0.6, "left": 0.9}
_ABOVE_HEART = {"right": 0.35, "left": 0.2}


@dataclass(frozen=True)
class LungTarget:
    """What is lung and what is known, float32 ``[2, row, col]`` (right, left), 0-1."""

    lung: Array
    known: Array


def lung_target(mask: Mask, convention: str) -> LungTarget:
    """Split a mask into right and left lung, and mark the pixels that the mask's convention leaves open.

    A ``heart-in`` mask is certain outside the lungs and along their outer borders; what lies towards the mediastinum
    below the apex may be heart, and is unknown.

    Args:
        mask: bool ``[row, col]``, both lungs; the patient's right is on the left of the image.
        convention: ``heart-out`` or ``heart-in``.

    Raises:
        ValueError: an unknown convention, or a mask without two lungs.
    """
    if convention not in ("heart-out", "heart-in"):
        raise ValueError(f"Lung-mask convention {convention!r} is unknown. Expected one of: 'heart-out', 'heart-in'.")
    lungs = split_lungs(mask)
    known = np.ones((2, *mask.shape), dtype=np.float32)
    if convention == "heart-in":
        for plane, (side, lung) in zip(known, lungs.items(), strict=True):
            plane[may_be_heart(lung, side)] = 0.0
    return LungTarget(np.stack([lungs["right"], lungs["left"]]).astype(np.float32), known)


def split_lungs(mask: Mask) -> dict[str, Mask]:
    """The two largest parts of a mask, by their place: ``right`` (on the left of the image) and ``left``.

    Raises:
        ValueError: fewer than two parts of at least 1 % of the image each.
    """
    labels, count = ndimage.label(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = [int(n) + 1 for n in np.argsort(areas)[::-1][:2] if areas[n] >= 0.01 * mask.size]
    if len(largest) < 2:
        raise ValueError(
            f"The lung mask has {len(largest)} part(s) of at least 1 % of the image, and two are needed, one for each "
            "lung. Leave the image out."
        )
    first, second = sorted(largest, key=lambda n: float(np.mean(np.nonzero(labels == n)[1])))
    return {"right": labels == first, "left": labels == second}


def may_be_heart(lung: Mask, side: str) -> Mask:
    """The part of a lung drawn with the heart that may be heart shadow: towards the mediastinum, below the apex.

    Args:
        lung: bool ``[row, col]``, one lung, not empty.
        side: ``right`` or ``left``.
    """
    rows = np.nonzero(lung.any(axis=1))[0]
    top, bottom = int(rows[0]), int(rows[-1])
    result = np.zeros_like(lung)
    for row in range(top + round(_ABOVE_HEART[side] * (bottom - top)), bottom + 1):
        cols = np.nonzero(lung[row])[0]
        if not len(cols):
            continue
        width = round(_HEART_WIDTH[side] * (cols[-1] - cols[0] + 1))
        start = cols[-1] + 1 - width if side == "right" else cols[0]
        result[row, start : start + width] = lung[row, start : start + width]
    return result


class LungDataset:
    """Radiographs with lung targets, augmented anew in every epoch (:class:`neural.training.EpochDataset`).

    Args:
        table: rows of :mod:`cxr_models.data.tables` with ``lung_mask`` and ``lung_convention``; rows whose mask lacks a
            lung are left out.
        size: side of the square images, pixels, a multiple of 32.
        seed: of the augmentation.
        augmentation: ``none``, ``plain`` (geometry and grey values: LSNet) or ``abnormal`` (also implanted opacities,
            blobs and gamma: LSNet-Aug).
    """

    def __init__(self, table: pd.DataFrame, size: int, seed: int = 0, augmentation: str = "none") -> None:
        if augmentation not in ("none", "plain", "abnormal"):
            raise ValueError(f"No augmentation {augmentation!r}. Expected one of: 'none', 'plain', 'abnormal'.")
        check_side(size)
        self.seed, self.augmentation, self.epoch = seed, augmentation, 0
        self.items: list[tuple[Array, LungTarget, bool]] = []
        for row in table[table["lung_mask"] != ""].itertuples():
            mask = resize(read_grey(Path(str(row.lung_mask))), size) > 127
            try:
                target = lung_target(mask, str(row.lung_convention))
            except ValueError:
                continue
            normal = row.label == 0.0
            self.items.append((resize(read_grey(Path(str(row.image))), size) / 255.0, target, bool(normal)))

    def __len__(self) -> int:
        return len(self.items)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations follow."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """``image`` ``[row, col]`` in 0-1, ``lung`` and ``known`` ``[2, row, col]`` in 0-1."""
        image, target, normal = self.items[index]
        lung, known = target.lung, target.known
        if self.augmentation != "none":
            rng = np.random.default_rng([self.seed, self.epoch, index])
            if self.augmentation == "abnormal":
                image = _abnormal(image, target, normal, rng)
            image, planes = random_affine(image, np.concatenate([lung, 1.0 - known]), rng)
            lung, known = planes[:2], 1.0 - planes[2:]
            image = random_intensity(image, rng)
        return {"image": torch.from_numpy(image), "lung": torch.from_numpy(lung), "known": torch.from_numpy(known)}


def _abnormal(image: Array, target: LungTarget, normal: bool, rng: np.random.Generator) -> Array:
    """Opacities in six of ten images (only into normal ones is their effect known), blobs in four, gamma in seven."""
    if normal and rng.random() < 0.6:
        image = abnormal_from_normal(image, target.lung[0] > 0.5, target.lung[1] > 0.5, rng).image
    if rng.random() < 0.4:
        image = implant_blobs(image, rng)
    return random_gamma(image, rng) if rng.random() < 0.7 else image
