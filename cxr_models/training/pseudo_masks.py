"""Lung masks from a trained LSNet, for images that have none or another convention (the paper's "pseudo masks")."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cxr_models.data.images import Array, read_grey
from cxr_models.data.lungs import may_be_heart, split_lungs
from cxr_models.networks.lsnet import LSNet, segment
from cxr_models.postprocessing import LungMasks, lung_masks, to_shape
from cxr_models.preprocessing import to_unit

#: The two lungs of an adult differ in their visible area by less than this factor, unless one was not found.
_MOST_UNEQUAL = 3.0


def find_lungs(network: LSNet, image: Array, size: int) -> LungMasks:
    """Lung masks of one radiograph ``[row, col]``, 0-255, on its own pixels.

    Args:
        network: in evaluation mode.
        image: the radiograph.
        size: side of the network's input, pixels.
    """
    return lung_masks(to_shape(segment(network, to_unit(image, size)), (image.shape[0], image.shape[1])))


def add_lung_masks(table: pd.DataFrame, network: LSNet, size: int, folder: Path) -> pd.DataFrame:
    """Give every negative training image without a mask one, so that opacities can be implanted into it.

    Positives keep none: dense disease is where a segmentation fails. A mask with a lung missing, or with lungs of very
    unequal size, is not used either.

    Args:
        table: see :mod:`cxr_models.data.tables`.
        network: a trained LSNet in evaluation mode.
        size: side of its input, pixels.
        folder: where the masks are written (PNG), and found again.

    Returns:
        A copy of the table with ``lung_mask`` and ``lung_convention`` filled in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = table.copy()
    wanted = (table["label"] == 0.0) & (table["lung_mask"] == "") & (table["split"] == "train")
    files = [
        _mask_file(Path(image), network, size, folder / f"{source}_{Path(image).stem}.png")
        for image, source in zip(table["image"][wanted], table["source"][wanted], strict=True)
    ]
    table.loc[wanted, "lung_mask"] = files
    table.loc[table["lung_mask"].isin([file for file in files if file]), "lung_convention"] = "heart-out"
    return table


def take_heart_out(table: pd.DataFrame, network: LSNet, size: int, folder: Path) -> pd.DataFrame:
    """Turn the training masks that include the heart into masks without it.

    Where a mask may be heart (:func:`cxr_models.data.lungs.may_be_heart`) the network decides, and its own mask counts
    there; everywhere else the drawn mask stays, so that dense disease along the chest wall remains lung.

    Args:
        table: see :mod:`cxr_models.data.tables`.
        network: an LSNet trained on masks without the heart, in evaluation mode.
        size: side of its input, pixels.
        folder: where the masks are written (PNG), and found again.

    Returns:
        A copy of the table; training rows whose drawn mask lacks a lung lose their mask.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = table.copy()
    wanted = (table["lung_convention"] == "heart-in") & (table["split"] == "train")
    rows = zip(table["image"][wanted], table["source"][wanted], table["lung_mask"][wanted], strict=True)
    table.loc[wanted, "lung_mask"] = [
        _heart_out_file(Path(image), Path(drawn), network, size, folder / f"{source}_{Path(image).stem}.png")
        for image, source, drawn in rows
    ]
    table.loc[wanted, "lung_convention"] = "heart-out"
    return table


def _heart_out_file(image: Path, drawn: Path, network: LSNet, size: int, file: Path) -> str:
    """The new mask's path, made if it is not there yet; "" where the drawn mask lacks a lung."""
    if file.exists():
        return str(file)
    mask = read_grey(drawn) > 127
    try:
        sides = split_lungs(mask)
    except ValueError:
        return ""
    found = find_lungs(network, read_grey(image), size)
    for side, lung in (("right", found.right), ("left", found.left)):
        doubt = may_be_heart(sides[side], side)
        mask[doubt] = lung[doubt]
    Image.fromarray((255 * mask).astype(np.uint8)).save(file)
    return str(file)


def _mask_file(image: Path, network: LSNet, size: int, file: Path) -> str:
    """The mask's path, made if it is not there yet; "" where the lungs were not found (then the file is all 0)."""
    if not file.exists():
        masks = find_lungs(network, read_grey(image), size)
        Image.fromarray((255 * (masks.both & _plausible(masks))).astype(np.uint8)).save(file)
    return str(file) if read_grey(file).any() else ""


def _plausible(masks: LungMasks) -> bool:
    small, large = sorted((int(masks.right.sum()), int(masks.left.sum())))
    return small > 0 and large < _MOST_UNEQUAL * small
