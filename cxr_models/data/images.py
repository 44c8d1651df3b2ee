"""Reading and resizing grey images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float32]


def read_grey(path: Path) -> Array:
    """An 8-bit image file as float32 ``[row, col]``, 0-255 (colour is averaged by its luminance)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.float32)


def check_side(size: int) -> None:
    """Refuse a network input that its strides do not divide.

    Raises:
        ValueError: a side that is not a positive multiple of 32.
    """
    if size <= 0 or size % 32:
        raise ValueError(
            f"An image side of {size} pixels does not fit the networks: give a multiple of 32, such as 448."
        )


def resize(image: Array, size: int) -> Array:
    """Stretch to ``size`` x ``size`` with antialiasing (bilinear); the aspect ratio is not kept, as in the paper.

    Bars around a radiograph of another shape would tell a network which hospital it came from.
    """
    if image.shape == (size, size):
        return image
    pillow = Image.fromarray(image.astype(np.float32))
    return np.asarray(pillow.resize((size, size), Image.Resampling.BILINEAR))
