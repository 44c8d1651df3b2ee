"""From probability maps to lung masks and the pneumonia ratio (the paper's section IV-B and figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: A lung smaller than this share of the image was not found: the smallest lung field of the development masks covers
#: more than twice as much.
_LEAST_LUNG = 0.01


@dataclass(frozen=True)
class LungMasks:
    """The patient's right and left lung field, bool ``[row, col]``; empty where it was not found."""

    right: Mask
    left: Mask

    @property
    def both(self) -> Mask:
        """The union."""
        return self.right | self.left


@dataclass(frozen=True)
class PneumoniaRatio:
    """100 x diseased / lung pixels, 0-100 %, of both lungs, the right and the left.

    NaN for a lung not found; the total is NaN unless both are found, since half the lungs would pass for the whole.
    """

    total: float
    right: float
    left: float


def lung_masks(probability: Array, threshold: float = 0.5) -> LungMasks:
    """Threshold the two probability maps and keep of each its largest part, holes filled.

    A pixel that both maps claim goes to the more probable one.

    Args:
        probability: ``[2, row, col]`` (right, left), 0-1.
        threshold: probability from which a pixel is lung.

    Returns:
        The masks; a lung of less than 1 % of the image counts as not found.
    """
    right, left = probability
    return LungMasks(_largest((right >= threshold) & (right >= left)), _largest((left >= threshold) & (left > right)))


def pneumonia_ratio(lesion: Mask, lungs: LungMasks) -> PneumoniaRatio:
    """The paper's equation 2, for both lungs and for each; :class:`PneumoniaRatio` says what a missing lung does."""
    right, left = _percent(lesion, lungs.right), _percent(lesion, lungs.left)
    total = _percent(lesion, lungs.both) if lungs.right.any() and lungs.left.any() else float("nan")
    return PneumoniaRatio(total, right, left)


def to_shape(maps: Array, shape: tuple[int, int]) -> Array:
    """Maps ``[..., h, w]`` brought to another shape bilinearly, values kept within their range."""
    flat = maps.reshape(-1, *maps.shape[-2:]).astype(np.float32)
    out = [np.asarray(Image.fromarray(m).resize(shape[::-1], Image.Resampling.BILINEAR)) for m in flat]
    return np.stack(out).reshape(*maps.shape[:-2], *shape)


def _percent(lesion: Mask, lung: Mask) -> float:
    pixels = int(lung.sum())
    return 100.0 * int((lesion & lung).sum()) / pixels if pixels else float("nan")


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask)
    areas = np.bincount(labels.ravel())[1:]
    if areas.max() < _LEAST_LUNG * mask.size:
        return np.zeros_like(mask)
    return np.asarray(ndimage.binary_fill_holes(labels == int(areas.argmax()) + 1))
