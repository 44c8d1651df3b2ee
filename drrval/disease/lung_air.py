"""How much air each voxel of a lung holds, read from a noisy CT."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from drrval.disease.texture import Array
from drrval.volume import Grid

AIR_HU, TISSUE_HU = -1000.0, 40.0  # tissue: blood-filled lung tissue without air
_SMOOTH_MM, _SMOOTH_VOXELS = 2.5, 1.2
_TRUST = 3.0  # structure is half believed where it stands out by this many standard deviations of the noise
_ENOUGH = 0.15  # of a neighbourhood without structure, to know its mean
_SOFT_TISSUE_HU = (0.0, 120.0)
_SLABS = 6
_EVEN_VOXELS = 7  # noise is measured where nothing but soft tissue is so near
_LUMEN_MM = 9.0  # widest bronchus that is looked for
_LUMEN_HU, _BELOW_LUNG_HU = -890.0, 40.0  # how dark it is, and how much darker than the lung about it at least
_LUNG_HU = (-970.0, -600.0)  # between the vessels, and not the air outside the patient
_LUMEN_CONTRAST_HU = 90.0
_SMALLEST_LUMEN_MM3 = 60.0


def noise_level(hu: Array, grid: Grid) -> float:
    """Standard deviation of the noise in soft tissue, HU; 0 for a noise-free volume.

    From the median absolute deviation of what a blur takes away, in a few slabs of three slices.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units.
        grid: of the volume.
    """
    away = []
    for middle in np.unique(np.linspace(1, max(hu.shape[0] - 2, 1), _SLABS).astype(int)):
        slab = hu[max(middle - 1, 0) : middle + 2]
        blurred = _blur(slab, grid)
        soft = (blurred > _SOFT_TISSUE_HU[0]) & (blurred < _SOFT_TISSUE_HU[1])
        soft = ndimage.minimum_filter(soft, (1, _EVEN_VOXELS, _EVEN_VOXELS))
        away.append(np.abs(slab[soft] - blurred[soft]))
    found = np.concatenate(away)
    return float(1.4826 * np.median(found)) if found.size else 0.0


def denoise(hu: Array, grid: Grid, noise_hu: float) -> Array:
    """Blur noise away and keep what stands out of it: vessels, walls, borders.

    What stands out is left out of a second blur, so that the voxels around it are compared with the tissue that they
    belong to.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, a part of the volume.
        grid: of the volume.
        noise_hu: as :func:`noise_level` gives it.

    Returns:
        float32 ``[z, y, x]``, Hounsfield units; the input itself where there is no noise.
    """
    if noise_hu < 1.0:
        return hu
    scale = np.float32(_TRUST * noise_hu)
    blurred = _blur(hu, grid)
    plain = (np.abs(hu - blurred) < scale).astype(np.float32)
    share = _blur(plain, grid)
    blurred = np.where(share > _ENOUGH, _blur(hu * plain, grid) / np.maximum(share, _ENOUGH), blurred)
    detail = hu - blurred
    strength = (detail / scale) ** 4
    return np.asarray(blurred + detail * strength / (1.0 + strength), dtype=np.float32)


def air_fraction(hu: Array) -> Array:
    """Share of air in a voxel of lung, 0..1: linear from tissue without air (40 HU) to air (-1000 HU)."""
    return np.clip((TISSUE_HU - hu) / np.float32(TISSUE_HU - AIR_HU), 0.0, 1.0)


def bronchi(hu: Array, grid: Grid) -> Array:
    """Lumen of the bronchi inside the lung, float32 0..1: black, narrow, and with a brighter wall all around.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units without noise, a part of the volume.
        grid: of the volume.
    """
    width = [max(3, 2 * round(_LUMEN_MM / step / 2.0) + 1) for step in grid.spacing_mm[1::-1]]
    wall = ndimage.grey_closing(hu, size=(1, *width)) - hu
    lung = hu[(hu > _LUNG_HU[0]) & (hu < _LUNG_HU[1])]
    darkest = min(_LUMEN_HU, float(np.median(lung)) - _BELOW_LUNG_HU) if lung.size else _LUMEN_HU
    parts, _ = ndimage.label((wall > _LUMEN_CONTRAST_HU) & (hu < darkest))
    large = np.bincount(parts.ravel()) * float(np.prod(grid.spacing_mm)) > _SMALLEST_LUMEN_MM3
    large[0] = False
    lumen = large[parts]
    return ndimage.uniform_filter(lumen.astype(np.float32), (1, 3, 3))


def _blur(hu: Array, grid: Grid) -> Array:
    across, *in_plane = (_SMOOTH_MM / step for step in grid.spacing_mm[::-1])
    sigma = (across, *(max(width, _SMOOTH_VOXELS) for width in in_plane))
    return np.asarray(ndimage.gaussian_filter(hu, sigma, truncate=2.5), dtype=np.float32)
