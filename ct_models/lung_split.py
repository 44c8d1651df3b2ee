"""Separate what air-like voxels join: bowel gas from lung, and the right lung from the left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

from ct_models.contract import LEFT, RIGHT
from ct_models.morphology import Mask, Spacing, Volume, dilate_mm, distance_to_mm, erode_mm, open_mm

Labels = npt.NDArray[np.uint8]

_GAS_HU = -960.0
_GAS_RADIUS_MM = 4.0
_SMALLEST_GAS_CM3 = 1.5
_AERATED_HU = -700.0
_SPLIT_RADII_MM = (0.0, 1.0, 3.0, 5.0, 8.0, 12.0)
_SMALLEST_LUNG = 0.1
_LUNG_DISTANCE_MM = 40.0


def remove_bowel_gas(hu: Volume, air: Mask, spacing_mm: Spacing) -> Mask:
    """Take gas of stomach and bowel out of the air inside the body, also where a thin wall lets it touch the lung.

    Gas is a region below -960 HU (lung parenchyma, emphysema included, rarely stays under -950 HU over several
    millimetres) into which a ball of 4 mm fits, in the lower half of the air in the body. A watershed on the
    Hounsfield values puts the border on the wall between gas and lung.

    Returns:
        bool ``[z, y, x]``: ``air`` without the gas.
    """
    uniform = ndimage.uniform_filter(hu, 3) < _GAS_HU
    gas, count = ndimage.label(open_mm(air & uniform, _GAS_RADIUS_MM, spacing_mm))
    if count == 0:
        return air
    heights = np.nonzero(air)[0]
    low = np.array(ndimage.center_of_mass(gas > 0, gas, range(1, count + 1)))[:, 0] < heights.mean()
    large = np.bincount(gas.ravel())[1:] * np.prod(spacing_mm) / 1000.0 >= _SMALLEST_GAS_CM3
    gas_seed = np.isin(gas, 1 + np.flatnonzero(low & large))
    if not gas_seed.any():
        return air
    lung_seed = erode_mm(
        air & ~dilate_mm(gas_seed, 2 * _GAS_RADIUS_MM, spacing_mm) & ~uniform, _GAS_RADIUS_MM, spacing_mm
    )
    markers = gas_seed.astype(np.int32) + 2 * lung_seed
    return air & (watershed(hu, markers, mask=air) != 1)


def split_right_left(hu: Volume, lungs: Mask, midline_x: float, spacing_mm: Spacing) -> tuple[Labels, bool]:
    """Label the right (1) and the left lung (2).

    Lungs that meet at the anterior or posterior junction line are parted by eroding what is below -700 HU (which
    leaves out the pleura between them where it shows) until two large parts remain. These grow back with a watershed
    on the depth, so that the border runs through the neck between them.

    Args:
        hu: Hounsfield units ``[z, y, x]``.
        lungs: both lungs, without airways.
        midline_x: x index of the patient's midline; used only where no two parts are found.
        spacing_mm: voxel spacing z, y, x, mm.

    Returns:
        labels (0, 1, 2), and whether the split is reliable (False: cut at the midline plane).
    """
    depth_mm = distance_to_mm(~(lungs & (hu < _AERATED_HU)), spacing_mm)
    for radius in _SPLIT_RADII_MM:
        parts, count = ndimage.label(depth_mm > radius if radius else lungs)
        if count == 0:
            break
        sizes = np.bincount(parts.ravel())[1:]
        large = 1 + np.argsort(-sizes)[:2]
        if count < 2 or sizes[large[1] - 1] < _SMALLEST_LUNG * sizes.sum():
            continue
        centres = np.array(ndimage.center_of_mass(parts > 0, parts, large))[:, 2]
        if abs(centres[0] - centres[1]) * spacing_mm[2] < _LUNG_DISTANCE_MM:
            continue
        right, left = large[np.argsort(centres)]
        markers = np.where(parts == right, RIGHT, np.where(parts == left, LEFT, 0)).astype(np.int32)
        return _spread(watershed(-depth_mm, markers, mask=lungs), lungs, spacing_mm), True
    sides = np.where(np.arange(lungs.shape[2]) < midline_x, RIGHT, LEFT).astype(np.uint8)
    share = (lungs & (sides == RIGHT)).sum() / lungs.sum()
    if min(share, 1 - share) < _SMALLEST_LUNG:  # one lung only: the midline must not cut it
        return (lungs * (RIGHT if share > 0.5 else LEFT)).astype(np.uint8), True
    return (lungs * sides).astype(np.uint8), False


def _spread(labels: npt.NDArray[np.int32], lungs: Mask, spacing_mm: Spacing) -> Labels:
    """Give parts of the lungs without a label the label of the nearest labelled voxel."""
    if not (lungs & (labels == 0)).any():
        return labels.astype(np.uint8)
    nearest = ndimage.distance_transform_edt(labels == 0, spacing_mm, return_distances=False, return_indices=True)
    return (labels[tuple(nearest)] * lungs).astype(np.uint8)
