"""From a radiograph to a network's input: check, resize, CLAHE."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage import exposure

from cxr_models.contract import UnsuitableImageError
from cxr_models.data.images import resize
from cxr_models.examination import check_grey_levels

Image = npt.NDArray[np.float32]

#: Contrast-limited adaptive histogram equalisation: 8 x 8 tiles, and a clip limit of twice the mean bin, OpenCV's usual
#: 2.0; scikit-image counts it as a share of the tile's pixels, 2 / 256 bins. The paper gives neither.
_CLAHE_TILES = 8
_CLAHE_CLIP = 2.0 / 256.0

#: A radiograph on the 0-255 scale that spans fewer grey levels than this was scaled for something else.
_LEAST_SPAN = 16.0


def check_radiograph(image: Image, view: str, views: tuple[str, ...]) -> None:
    """Refuse what the networks were not made for, rather than score it.

    Args:
        image: ``[row, col]``, meant to be 0-255.
        view: DICOM view position of the image.
        views: view positions that are accepted.

    Raises:
        UnsuitableImageError: not a 2D image of at least 64 x 64 pixels, so few grey levels that it is no radiograph or
            was scaled to another range, or far from a radiograph's shape.
        ValueError: another view, or values that are not finite or leave 0-255.
    """
    if image.ndim != 2 or min(image.shape) < 64:
        raise UnsuitableImageError(
            f"The image has shape {image.shape}: give one grey radiograph [row, col] of at least 64 x 64."
        )
    if view not in views:
        raise ValueError(f"View {view!r} is not one this model reads. Expected one of: {', '.join(views)}.")
    if not np.isfinite(image).all():
        raise ValueError("The image holds NaN or infinity: fill or crop those pixels first.")
    low, high = float(image.min()), float(image.max())
    if low < 0.0 or high > 255.0:
        raise ValueError(f"The image spans {low:g} to {high:g}, outside 0-255: scale it to 8-bit grey values first.")
    if high - low < _LEAST_SPAN:
        raise UnsuitableImageError(
            f"The image spans only {low:g} to {high:g} of 0-255: it is blank, or it was scaled to 0-1. Multiply by 255."
        )
    check_grey_levels(image)


def to_unit(image: Image, size: int) -> Image:
    """A radiograph of 0-255 as float32 ``[size, size]`` in 0-1."""
    return np.clip(resize(image, size) / np.float32(255.0), 0.0, 1.0)


def clahe(image: Image) -> Image:
    """CLAHE (Zuiderveld 1994, Graphics Gems IV) of an image in 0-1, result in 0-1, after stretching its grey range."""
    low, high = np.quantile(image, (0.002, 0.998))
    stretched = np.clip((image - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    tile = (max(1, image.shape[0] // _CLAHE_TILES), max(1, image.shape[1] // _CLAHE_TILES))
    return exposure.equalize_adapthist(stretched, kernel_size=tile, clip_limit=_CLAHE_CLIP).astype(np.float32)
