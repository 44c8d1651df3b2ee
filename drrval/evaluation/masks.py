"""Reading masks of radiographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ct_models.contract import LEFT, RIGHT
from drrval.errors import IntakeError

_SAME_ASPECT = 0.01
_HIGHEST_LABEL = 15  # a greater value is a grey level, as in pictures of 0 and 255


def read_mask(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Read a mask picture on the pixels of its image.

    A picture of values up to 15 holds labels: in one of 1 and 2 these are the right and the left lung, and in any other
    every label is set. In a picture of higher values, such as 0 and 255, pixels above half of the highest are set. A
    mask of another size is resampled (nearest neighbour) if it has the image's aspect ratio.

    Args:
        path: PNG, TIFF, ... of the mask.
        shape: rows and columns of the image.

    Returns:
        uint8 ``[row, col]``: 0, :data:`RIGHT` and :data:`LEFT` of a label map, or 0 and 1 without sides.

    Raises:
        IntakeError: missing, unreadable, or of another aspect ratio.
    """
    if not path.is_file():
        raise IntakeError(f"{path}: there is no such mask. Check the path (paths in a table are relative to it).")
    try:
        with Image.open(path) as opened:
            # A palette's indices are the labels; its colours are for the eye.
            values = np.asarray(opened if opened.mode in ("1", "L", "P", "I", "I;16") else opened.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise IntakeError(f"{path}: cannot be read as a mask ({error}). Save it as PNG.") from error
    stretch = (shape[0] / values.shape[0]) / (shape[1] / values.shape[1])
    if abs(stretch - 1) > _SAME_ASPECT:
        raise IntakeError(
            f"{path}: the mask has {values.shape} pixels, the image {shape}: not the same field. Give the image's mask."
        )
    return to_pixels(_labels(values), shape)


def _labels(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    present = set(np.unique(values).tolist())
    if {RIGHT, LEFT} <= present <= {0, RIGHT, LEFT}:
        return values.astype(np.uint8)
    least = 0 if max(present) <= _HIGHEST_LABEL else max(present) / 2
    return np.greater(values, least).astype(np.uint8)


def to_pixels(mask: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A mask resampled to other pixels of the same field, nearest neighbour."""
    if mask.shape == shape:
        return mask
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def has_sides(mask: npt.NDArray[np.uint8]) -> bool:
    """Whether a lung mask tells right from left."""
    return bool((mask == LEFT).any())
