"""Pictures for the report: masks drawn on radiographs, and one overview picture of a CT."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from skimage.transform import resize

from drrval.errors import DrrvalError

LUNG_COLOUR = (86, 200, 233)
LESION_COLOUR = (255, 106, 0)
BODY_COLOUR = (240, 228, 66)
LUNG_WINDOW_HU = (-1350.0, 150.0)
OVERVIEW_WIDTH = 1200
AXIAL_FRACTIONS = (0.75, 0.5, 0.25)
_GAP = 6
_LESION_OPACITY = 0.35

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


def drr_overlay(
    image: npt.NDArray[np.uint8], lung_mask: BoolArray | None, lesion_mask: BoolArray | None
) -> npt.NDArray[np.uint8]:
    """Draw the outline of the lungs and the translucent lesion on a radiograph.

    Args:
        image: uint8 ``[row, col]``, grey values 0-255.
        lung_mask, lesion_mask: bool ``[row, col]``, or None where the scorer gives no mask.

    Returns:
        uint8 ``[row, col, 3]``, RGB.

    Raises:
        DrrvalError: the image is not 8 bit and two-dimensional, or a mask has another shape.
    """
    if image.dtype != np.uint8 or image.ndim != 2:
        raise DrrvalError(
            f"An overlay needs a uint8 [row, col] image, got {image.dtype} with shape {image.shape}. "
            "Pass the displayed 8-bit radiograph."
        )
    for name, mask in (("lung", lung_mask), ("lesion", lesion_mask)):
        if mask is not None and mask.shape != image.shape:
            raise DrrvalError(
                f"The {name} mask has shape {mask.shape}, the image {image.shape}. "
                "Masks must be given on the pixels of the image."
            )
    line = max(1, round(max(image.shape) / 400))
    return _paint(image, [lung_mask, lesion_mask, None], line)


def ct_overview(
    hu: npt.NDArray[np.floating] | npt.NDArray[np.integer],
    spacing_mm_zyx: tuple[float, float, float],
    lungs: npt.NDArray[np.uint8] | BoolArray,
    lesion: BoolArray,
    body: BoolArray | None = None,
) -> npt.NDArray[np.uint8]:
    """One picture of a CT: three axial slices through the lungs and a coronal one, with the masks drawn on them.

    Axial slices lie at 75, 50 and 25 % of the lungs' height, the coronal slice in the middle of their depth (of
    the whole volume where there are no lungs). Pixels are square; lung window; the patient's right is on the left
    of each slice, the front at the top of axial slices, the head at the top of the coronal slice.

    Args:
        hu: ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
        spacing_mm_zyx: voxel spacing along z, y, x, mm.
        lungs: ``[z, y, x]``, non-zero inside the lungs.
        lesion: bool ``[z, y, x]``.
        body: bool ``[z, y, x]``, drawn as an outline where given.

    Returns:
        uint8 ``[row, col, 3]``, RGB, 1200 pixels wide.

    Raises:
        DrrvalError: a mask has another shape than the volume.
    """
    lung = np.asarray(lungs, dtype=bool)
    masks = [lung, lesion, body]
    for name, mask in zip(("lung", "lesion", "body"), masks, strict=True):
        if mask is not None and mask.shape != hu.shape:
            raise DrrvalError(
                f"The {name} mask has shape {mask.shape}, the CT {hu.shape}. Give masks on the CT's voxels."
            )
    dz, dy, dx = spacing_mm_zyx
    slices: list[tuple[Any, tuple[float, float]]] = [(np.s_[z], (dy, dx)) for z in _places(lung, 0, AXIAL_FRACTIONS)]
    slices += [(np.s_[::-1, y], (dz, dx)) for y in _places(lung, 1, (0.5,))]
    pixel_mm = hu.shape[2] * dx * len(slices) / (OVERVIEW_WIDTH - _GAP * (len(slices) - 1))
    panels = []
    for where, spacing in slices:
        grey = lung_window(resample_plane(hu[where], spacing, pixel_mm))
        drawn = [None if mask is None else resample_plane(mask[where], spacing, pixel_mm) > 0.5 for mask in masks]
        panels.append(_paint(grey, drawn, line=1))
    return _side_by_side(panels)


def _places(lungs: BoolArray, axis: int, fractions: tuple[float, ...]) -> list[int]:
    """Indices along an axis at fractions of the extent of the lungs."""
    occupied = np.flatnonzero(lungs.any(axis=tuple(a for a in range(3) if a != axis)))
    first, last = (occupied[0], occupied[-1]) if occupied.size else (0, lungs.shape[axis] - 1)
    return [round(first + fraction * (last - first)) for fraction in fractions]


def resample_plane(plane: npt.NDArray, spacing: tuple[float, float], pixel_mm: float) -> npt.NDArray[np.float32]:
    """A plane ``[row, col]`` of voxels with spacing (along rows' axis, along columns' axis), mm, on square pixels."""
    shape = tuple(max(1, round(n * step / pixel_mm)) for n, step in zip(plane.shape, spacing, strict=True))
    smaller = any(new < old for new, old in zip(shape, plane.shape, strict=True))
    resampled = resize(plane.astype(np.float32), shape, order=1, mode="edge", anti_aliasing=smaller)
    return resampled.astype(np.float32)


def lung_window(hu: npt.NDArray[np.float32]) -> ByteArray:
    """Hounsfield units as grey values of the lung window (-600/1500 HU)."""
    low, high = LUNG_WINDOW_HU
    return np.round(255 * np.clip((hu - low) / (high - low), 0, 1)).astype(np.uint8)


def _paint(grey: ByteArray, masks: list[BoolArray | None], line: int) -> ByteArray:
    """Draw the lung, lesion and body masks (in this order, each may be None) on a grey picture."""
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    lung, lesion, body = masks
    if lesion is not None:
        mixed = (1 - _LESION_OPACITY) * rgb[lesion] + _LESION_OPACITY * np.array(LESION_COLOUR)
        rgb[lesion] = np.round(mixed).astype(np.uint8)
    for mask, colour in ((body, BODY_COLOUR), (lung, LUNG_COLOUR), (lesion, LESION_COLOUR)):
        if mask is not None:
            rgb[outline(mask, line)] = colour
    return rgb


def outline(mask: BoolArray, line: int) -> BoolArray:
    """The rim of a mask, ``line`` pixels wide, just inside it; the picture's border counts as outside."""
    return mask & ~binary_erosion(mask, iterations=line)


def _side_by_side(panels: list[ByteArray]) -> ByteArray:
    height = max(panel.shape[0] for panel in panels)
    width = sum(panel.shape[1] for panel in panels) + _GAP * (len(panels) - 1)
    sheet = np.zeros((height, width, 3), dtype=np.uint8)
    column = 0
    for panel in panels:
        row = (height - panel.shape[0]) // 2
        sheet[row : row + panel.shape[0], column : column + panel.shape[1]] = panel
        column += panel.shape[1] + _GAP
    return sheet
