"""Morphology with radii in millimetres, and the coarse grid that the lung segmentation works on.

Arrays are ``[z, y, x]``; ``spacing_mm`` is in the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from skimage.morphology import convex_hull_image

Mask = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.float32]
Spacing = tuple[float, float, float]


def distance_to_mm(mask: Mask, spacing_mm: Spacing) -> Volume:
    """Euclidean distance of each voxel centre to the nearest voxel centre of a non-empty mask, mm; 0 inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(s) for s in spacing_mm[::-1]])
    signed = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(signed), 0.0)


def dilate_mm(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Dilate by a ball: every voxel whose centre lies within ``radius_mm`` of the mask."""
    grown = mask.copy()
    if mask.any():
        box = _reach(mask, radius_mm, spacing_mm)
        grown[box] = distance_to_mm(mask[box], spacing_mm) <= radius_mm
    return grown


def erode_mm(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Erode by a ball. Outside the array counts as mask, so the array's faces do not erode it."""
    left = mask.copy()
    if mask.any():
        box = _reach(mask, radius_mm, spacing_mm)
        left[box] = ~dilate_mm(~mask[box], radius_mm, spacing_mm)
    return left


def open_mm(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Remove what a ball of ``radius_mm`` does not fit into."""
    return dilate_mm(erode_mm(mask, radius_mm, spacing_mm), radius_mm, spacing_mm)


def close_mm(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Fill gaps and bays that a ball of ``radius_mm`` does not fit into; the ball may leave the array."""
    closed = mask.copy()
    if mask.any():
        box = bounding_box(mask)
        margin = [(m, m) for m in (int(np.ceil(radius_mm / s)) + 1 for s in spacing_mm)]
        grown = dilate_mm(np.pad(mask[box], margin), radius_mm, spacing_mm)
        inside = tuple(slice(before, -after) for before, after in margin)
        closed[box] |= erode_mm(grown, radius_mm, spacing_mm)[inside]
    return closed


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """Slices of the smallest box around a non-empty mask, widened by ``margin`` voxels within the array."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)


def _reach(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> tuple[slice, ...]:
    """The box of a non-empty mask, widened by a radius within the array."""
    return tuple(
        slice(max(0, s.start - margin), s.stop + margin)
        for s, margin in zip(bounding_box(mask), (int(radius_mm / step) + 1 for step in spacing_mm), strict=True)
    )


def fill_axial_holes(mask: Mask) -> Mask:
    """Fill the holes of every axial slice (in 3D the lungs are open at the first and last slice)."""
    return np.stack([ndimage.binary_fill_holes(axial) for axial in mask])


def convex_axial(mask: Mask) -> Mask:
    """The convex outline of every axial slice."""
    return np.array([convex_hull_image(axial) if axial.any() else axial for axial in mask]).reshape(mask.shape)


def coarse_factors(spacing_mm: Spacing, target_mm: float) -> tuple[int, int, int]:
    """Whole numbers of voxels along z, y, x that come nearest to ``target_mm``, at least one."""
    fz, fy, fx = (max(1, int(target_mm / spacing + 0.5)) for spacing in spacing_mm)
    return fz, fy, fx


def coarse_spacing(spacing_mm: Spacing, factors: tuple[int, int, int]) -> Spacing:
    """Voxel spacing of the coarse grid, mm."""
    return spacing_mm[0] * factors[0], spacing_mm[1] * factors[1], spacing_mm[2] * factors[2]


def coarsen(hu: Volume, factors: tuple[int, int, int]) -> Volume:
    """Block means over ``factors`` voxels along z, y, x (edge voxels repeated to complete the last block)."""
    padding = [(0, -size % factor) for size, factor in zip(hu.shape, factors, strict=True)]
    padded = np.pad(hu, padding, mode="edge")
    (nz, ny, nx), (fz, fy, fx) = padded.shape, factors
    return padded.reshape(nz // fz, fz, ny // fy, fy, nx // fx, fx).mean(axis=(1, 3, 5), dtype=np.float32)


def refine(mask: Mask, factors: tuple[int, int, int], shape: tuple[int, int, int]) -> Mask:
    """Bring a mask of the coarse grid to the full grid of ``shape`` by linear interpolation at the level 0.5."""
    image = sitk.GetImageFromArray(mask.astype(np.float32))
    image.SetSpacing([float(f) for f in factors[::-1]])
    image.SetOrigin([(f - 1) / 2.0 for f in factors[::-1]])
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in shape[::-1]])
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.UseNearestNeighborExtrapolatorOn()
    return sitk.GetArrayFromImage(resampler.Execute(image)) >= 0.5
