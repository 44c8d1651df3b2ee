"""Localisation targets for DLNet's first stage: boxes to soft images (the paper's section III-B)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TargetSettings:
    """How a binary image becomes a target.

    Attributes:
        dilation: side of the square the binary image is dilated with, pixels at the image's size (the paper: 5).
        blur: standard deviation of the Gaussian blur as a share of the image's side; the paper gives none. 1 % is about
            half a pixel of the localisation map.
    """

    dilation: int = 5
    blur: float = 0.01


def box_mask(boxes: npt.NDArray[np.float64], size: int) -> Mask:
    """One binary image of all boxes.

    Args:
        boxes: ``[box, 4]``: x, y, width and height as shares of the image's width and height.
        size: side of the square image, pixels.

    Returns:
        bool ``[size, size]``; a pixel is set where its centre lies in a box.
    """
    centre = (np.arange(size) + 0.5) / size
    mask = np.zeros((size, size), dtype=bool)
    for x, y, width, height in boxes:
        across = (centre >= x) & (centre < x + width)
        mask |= ((centre >= y) & (centre < y + height))[:, None] & across[None, :]
    return mask


def soft_target(mask: Mask, settings: TargetSettings | None = None) -> Array:
    """Dilate and blur a binary image: float32 ``[row, col]``, 0-1."""
    settings = settings or TargetSettings()
    dilated = ndimage.binary_dilation(mask, np.ones((settings.dilation,) * 2, dtype=bool))
    return ndimage.gaussian_filter(dilated.astype(np.float32), settings.blur * mask.shape[0])


def shrink(image: Array, factor: int) -> Array:
    """Mean over blocks of ``factor`` x ``factor`` pixels: from the image's size to the localisation map's."""
    rows, cols = image.shape
    return image.reshape(rows // factor, factor, cols // factor, factor).mean(axis=(1, 3))
