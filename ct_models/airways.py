"""Find the trachea and the main bronchi, so that they do not count as lung and do not join the two lungs."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage

from ct_models.morphology import Mask, Spacing, Volume, dilate_mm

_SMALLEST_HOLE_MM2, _LARGEST_HOLE_MM2 = 50.0, 900.0
_DARK_HU = -900.0
_MIDLINE_REACH_MM = 45.0
_SHORTEST_TRACHEA_MM = 15.0
_HOLE_HU = (-600.0, -800.0, -900.0)
_LUMEN_HU = range(-960, -700, 20)
_LARGEST_AIRWAY_CM3 = 110.0
_LARGEST_STEP = 1.5
_WALL_MM = 2.5


def find_airways(hu: Volume, air: Mask, spacing_mm: Spacing) -> Mask:
    """Trachea and main bronchi with their walls.

    The trachea is the darkest long chain of compact holes near the midline of the axial slices. From it a region grows
    at rising Hounsfield thresholds and stops before it leaks into the lungs (volume jumps by more than half, or
    exceeds 110 cm3), the explosion-controlled growing of Mori et al. (ICPR 1996).

    Args:
        hu: Hounsfield units ``[z, y, x]``, about 2-3 mm voxels.
        air: air inside the body.
        spacing_mm: voxel spacing z, y, x, mm.

    Returns:
        bool ``[z, y, x]``; empty when no trachea is in the scan.
    """
    chains, seed = _dark_chains(hu, air, spacing_mm)
    if not seed.any():
        return seed
    voxel_cm3 = float(np.prod(spacing_mm)) / 1000.0
    lumen, volume = seed, seed.sum() * voxel_cm3
    for threshold in _LUMEN_HU:
        grown = _connected_to(seed, (air & (hu < threshold)) | seed)
        grown_volume = grown.sum() * voxel_cm3
        if grown_volume > min(_LARGEST_AIRWAY_CM3, max(_LARGEST_STEP * volume, volume + 10.0)):
            break
        lumen, volume = grown, grown_volume
    return dilate_mm(lumen | chains, _WALL_MM, spacing_mm)


def _dark_chains(hu: Volume, air: Mask, spacing_mm: Spacing) -> tuple[Mask, Mask]:
    """Long dark chains of central holes in the upper half (trachea, air in the oesophagus), and the longest of them."""
    chains, _ = ndimage.label(_central_holes(hu, air, spacing_mm))
    dark, longest, longest_mm = np.zeros_like(air), np.zeros_like(air), _SHORTEST_TRACHEA_MM
    for index, box in enumerate(ndimage.find_objects(chains), start=1):
        length_mm = (box[0].stop - box[0].start) * spacing_mm[0]
        chain = chains[box] == index
        if box[0].stop < air.shape[0] / 2 or length_mm < _SHORTEST_TRACHEA_MM or np.median(hu[box][chain]) > _DARK_HU:
            continue
        dark[box] |= chain
        if length_mm > longest_mm:
            longest, longest_mm = chains == index, length_mm
    return dark, longest


def _central_holes(hu: Volume, air: Mask, spacing_mm: Spacing) -> Mask:
    """Compact holes of a trachea's size near the midline of each axial slice, at any of three thresholds."""
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    middle = float(np.mean(np.nonzero(air)[2])) if air.any() else air.shape[2] / 2.0
    holes = np.zeros_like(air)
    for z, threshold in itertools.product(range(air.shape[0]), _HOLE_HU):
        labels, _ = ndimage.label(air[z] & (hu[z] < threshold))
        sizes = np.bincount(labels.ravel()) * pixel_mm2
        for index, box in enumerate(ndimage.find_objects(labels), start=1):
            if not _SMALLEST_HOLE_MM2 <= sizes[index] <= _LARGEST_HOLE_MM2:
                continue
            hole = labels[box] == index
            height, width = hole.shape
            compact = hole.mean() > 0.5 and max(height, width) <= 3 * min(height, width)
            if compact and abs((box[1].start + box[1].stop) / 2.0 - middle) * spacing_mm[2] < _MIDLINE_REACH_MM:
                holes[z][box] |= hole
    return holes


def _connected_to(seed: Mask, mask: Mask) -> Mask:
    """Components of the mask that touch the seed."""
    labels, _ = ndimage.label(mask)
    touched = np.unique(labels[seed])
    return np.isin(labels, touched[touched > 0])
