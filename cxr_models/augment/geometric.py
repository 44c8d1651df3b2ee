"""Geometric augmentation of an image together with its masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AffineRange:
    """How far a random affine transform may go.

    Attributes:
        rotation_deg: largest rotation either way, degrees.
        zoom: largest enlargement or reduction, as a share (0.15: by 1 / 1.15 to 1.15, log-uniform).
        aspect: largest change of height against width, as a share; images of other shapes are stretched to a square.
        shift: largest shift either way along each axis, as a share of the side.
    """

    rotation_deg: float = 10.0
    zoom: float = 0.2
    aspect: float = 0.12
    shift: float = 0.08


def random_affine(
    image: Array,
    masks: Array,
    rng: np.random.Generator,
    limits: AffineRange | None = None,
    *,
    fill: float = 0.0,
) -> tuple[Array, Array]:
    """Rotate, zoom, stretch and shift an image and its masks alike. It never mirrors (:func:`random_mirror` does).

    Args:
        image: float32 ``[row, col]``.
        masks: float32 ``[mask, row, col]``; interpolated linearly, so a 0-1 mask stays within 0-1.
        rng: where the numbers come from.
        limits: how far to go; the default is :class:`AffineRange`'s.
        fill: grey value of what comes in from outside; masks are filled with 0.

    Returns:
        The image and the masks, of unchanged shapes.

    Raises:
        ValueError: masks of other rows and columns than the image's.
    """
    if masks.shape[1:] != image.shape:
        raise ValueError(
            f"The masks are {masks.shape} (mask, row, col), the image {image.shape}: give them its pixels."
        )
    limits = limits or AffineRange()
    angle = np.deg2rad(rng.uniform(-limits.rotation_deg, limits.rotation_deg))
    zoom = np.exp(rng.uniform(-1, 1) * np.log1p(limits.zoom))
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log1p(limits.aspect))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([1.0 / (zoom * stretch), stretch / zoom])
    size = np.array(image.shape)
    centre = (size - 1) / 2.0
    offset = centre - matrix @ centre + rng.uniform(-limits.shift, limits.shift, 2) * size
    moved = ndimage.affine_transform(image, matrix, offset, order=1, mode="constant", cval=fill)
    moved_masks = [ndimage.affine_transform(mask, matrix, offset, order=1, mode="constant", cval=0.0) for mask in masks]
    return moved, np.stack(moved_masks) if len(moved_masks) else masks


def random_mirror(image: Array, masks: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Mirror left and right in half of the draws: only where neither the side nor the heart's place matters.

    Args:
        image: float32 ``[row, col]``.
        masks: float32 ``[mask, row, col]``.
        rng: where the numbers come from.
    """
    if rng.random() < 0.5:
        return image, masks
    return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(masks[:, :, ::-1])
