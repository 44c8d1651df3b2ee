"""What the slice classifier sees: an axial slice cropped to the lungs, in a lung window, with its two neighbours.

Everything lies on the grid :data:`ct_models.data.volumes.SPACING_MM`, so that a lesion or a vessel has the same size in
pixels in every patient. The crop is that of the whole scan and not of the slice: a small slice at the apex is then not
enlarged, and neighbours lie on each other.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ct_models.data.slices import slice_stack, window
from ct_models.morphology import Mask

#: Hounsfield units that become black and white: from air to soft tissue.
WINDOW_HU = (-1100.0, 100.0)

#: What stands outside the lungs: soft tissue, so that their outer border looks the same in every patient.
FILL_HU = 40.0

#: Rows and columns of a picture, 240 x 336 mm: room for the lungs of nearly all adults.
PICTURE = (160, 224)

#: Pixels around the lungs that stay visible, 4.5 mm: disease at the pleura may lie just outside a lung mask.
MARGIN_PIXELS = 3

_STRIDE = 32

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Crop(NamedTuple):
    """Where the pictures of a scan lie on its grid; they may reach over its edges.

    Attributes:
        row, column: first row and column.
        rows, columns: size, multiples of 32.
    """

    row: int
    column: int
    rows: int
    columns: int


def lung_crop(lungs: npt.NDArray[np.generic]) -> Crop:
    """A crop around the middle of the lungs' bounding box, as large as ``PICTURE``, or larger for larger lungs.

    Args:
        lungs: ``[z, y, x]``, 0 outside, not empty.
    """
    starts, sizes = [], []
    for axis, least in ((1, PICTURE[0]), (2, PICTURE[1])):
        along = np.flatnonzero(lungs.any(axis=tuple(a for a in range(3) if a != axis)))
        extent = int(along[-1] - along[0] + 1)
        size = max(least, _STRIDE * math.ceil(extent / _STRIDE))
        starts.append((int(along[0]) + int(along[-1]) + 1 - size) // 2)
        sizes.append(size)
    return Crop(*starts, *sizes)


def cut(volume: npt.NDArray[_Scalar], crop: Crop, outside: float) -> npt.NDArray[_Scalar]:
    """The crop of a stack of slices ``[n, y, x]``, with ``outside`` where it reaches over the edge."""
    cropped = np.full((volume.shape[0], crop.rows, crop.columns), outside, volume.dtype)
    source, target = _overlap(volume.shape, crop)
    cropped[target] = volume[source]
    return cropped


def paste(cropped: npt.NDArray[_Scalar], crop: Crop, shape: tuple[int, ...]) -> npt.NDArray[_Scalar]:
    """The reverse of :func:`cut`: a stack of slices of ``shape``, 0 outside the crop."""
    volume = np.zeros(shape, cropped.dtype)
    source, target = _overlap(shape, crop)
    volume[source] = cropped[target]
    return volume


def _overlap(shape: tuple[int, ...], crop: Crop) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a crop overlaps slices of a shape: in the slices, and in the crop."""
    source, target = [slice(None)], [slice(None)]
    for start, size, n in ((crop.row, crop.rows, shape[1]), (crop.column, crop.columns, shape[2])):
        low, high = max(start, 0), min(start + size, n)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    return tuple(source), tuple(target)


def pictures(hu: npt.NDArray[np.generic], lungs: Mask, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Pictures of some slices with their neighbours as channels.

    Args:
        hu: ``[z, row, col]``, cropped, Hounsfield units.
        lungs: bool, same shape.
        chosen: slices.

    Returns:
        ``[n, 3, row, col]``, 0-1.
    """
    stacks = np.stack([slice_stack(hu, int(z)) for z in chosen])
    visible = np.stack([slice_stack(lungs, int(z)) for z in chosen])
    around = np.ones((1, 1, 2 * MARGIN_PIXELS + 1, 2 * MARGIN_PIXELS + 1), bool)
    visible = ndimage.binary_dilation(visible, around)
    return window(np.where(visible, stacks, FILL_HU), *WINDOW_HU)
