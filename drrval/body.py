"""Chest mask: the body without table, clothes and cables, lungs included (Amer et al., section IV-C).

The paper's rule is NOT(air) OR soft tissue OR bone, then hole filling. Written literally it keeps the table, so the
largest body is kept, and holes are filled per axial slice, because in 3D the lungs are open at the end slices. The
body is found on a coarse grid (about 3 mm), where morphology is cheap; the air threshold then acts on the full grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy import ndimage

from drrval.errors import IntakeError
from drrval.materials import AIR_HU
from drrval.settings import MaterialSettings
from drrval.volume import CTVolume

_COARSE_MM = 3.0
_TISSUE_HU = -500.0  # skin and table tops count as tissue, foam, blankets and lung do not
_OPENING_MM = 4.0  # detaches table tops and tubes thinner than twice this from the body
_REGROWTH_MM = 24.0
_LUNG_LIKE_HU = -400.0
_GAS_HU = -960.0  # mean over 9 mm: gas of stomach and bowel, and the trachea; lung stays above, also with emphysema
_SKIN_VOXELS = 2  # coarse voxels at the surface, where partial volumes look like lung
_OUTSIDE, _TISSUE, _INTERIOR = 0, 1, 2


@dataclass(frozen=True)
class Body:
    """The body on a coarse grid: every ``stride``-th voxel of the CT.

    Attributes:
        zones: uint8 ``[z, y, x]``: 0 outside, 1 body envelope (a voxel is body where it is not air), 2 enclosed
            (lungs, airways, bowel gas: always body).
        filled: bool ``[z, y, x]``: the body with its holes filled.
        lung_like: bool ``[z, y, x]``: voxels inside the body that look like aerated lung.
        stride: (z, y, x) voxels of the CT per coarse voxel.
        air_max_hu: the air threshold that was used.
    """

    zones: npt.NDArray[np.uint8]
    filled: npt.NDArray[np.bool_]
    lung_like: npt.NDArray[np.bool_]
    stride: tuple[int, int, int]
    air_max_hu: float

    def chest_slices(self) -> slice:
        """Coarse slices that hold the lungs: the longest run with at least a tenth of the largest lung-like area."""
        area = self.lung_like.sum(axis=(1, 2))
        runs, count = ndimage.label(area >= 0.1 * area.max())
        sizes = ndimage.sum_labels(area, runs, np.arange(1, count + 1))
        start, stop = np.flatnonzero(runs == int(np.argmax(sizes)) + 1)[[0, -1]]
        return slice(int(start), int(stop) + 1)

    def coarse_to_index(self, coarse_zyx: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """CT array indices of coarse voxels, both (..., [z, y, x])."""
        return coarse_zyx * np.asarray(self.stride)


def find_body(ct: CTVolume, settings: MaterialSettings | None = None) -> Body:
    """Find the patient's body in a chest CT.

    Raises:
        IntakeError: no body, or no air inside it, so the volume is not a chest CT in Hounsfield units.
    """
    chosen = settings or MaterialSettings()
    sx, sy, sz = (max(1, round(_COARSE_MM / s)) for s in ct.grid.spacing_mm)
    coarse = ct.hu[::sz, ::sy, ::sx]
    spacing = np.array([ct.grid.spacing_mm[2] * sz, ct.grid.spacing_mm[1] * sy, ct.grid.spacing_mm[0] * sx])

    tissue = coarse > _TISSUE_HU
    core = _largest_component(_eroded(tissue, _OPENING_MM, spacing))
    if core is None:
        raise IntakeError(
            f"{ct.name}: no body found above {_TISSUE_HU:g} HU. The volume must be a chest CT in Hounsfield units."
        )
    # Growing back through tissue restores the thin parts of the chest wall; the table is too far along its own shell.
    grown = ndimage.binary_dilation(core, mask=tissue, iterations=round(_REGROWTH_MM / spacing.min()))
    envelope = ndimage.binary_dilation(grown, structure=_ball(spacing.max(), spacing))
    body = envelope & (coarse > chosen.air_max_hu)
    filled = np.stack([_filled_holes(s) for s in body])
    # What lies deeper than the skin is body, and so is the rim of every hole, though partial volumes look like air.
    deep = np.stack([ndimage.binary_erosion(s, iterations=_SKIN_VOXELS, border_value=1) for s in filled])
    interior = deep | ndimage.binary_dilation(filled & ~body, structure=np.ones((1, 3, 3), bool)) & filled
    zones = np.where(interior, _INTERIOR, np.where(envelope, _TISSUE, _OUTSIDE)).astype(np.uint8)

    lung_like = _lungs_of(deep & (coarse < _LUNG_LIKE_HU) & ~_gas(coarse))
    if lung_like.sum() * spacing.prod() < 2e5:
        raise IntakeError(
            f"{ct.name}: the body holds less than 200 cm3 of air-like voxels, so there are no lungs to project. "
            "Give a chest CT in Hounsfield units."
        )
    return Body(zones, filled, lung_like, (sz, sy, sx), chosen.air_max_hu)


def body_mask(ct: CTVolume, body: Body) -> npt.NDArray[np.bool_]:
    """The body on the full grid, bool ``[z, y, x]``."""
    z, y, x = (
        np.minimum((np.arange(n) + s // 2) // s, m - 1)
        for n, s, m in zip(ct.hu.shape, body.stride, body.zones.shape, strict=True)
    )
    zones = body.zones[z][:, y][:, :, x]
    return (zones == _INTERIOR) | ((zones == _TISSUE) & (ct.hu > body.air_max_hu))


def isolate_body(ct: CTVolume, body: Body, end_slices: int = 0) -> npt.NDArray[np.int16]:
    """Hounsfield units with everything outside the body set to air (-1000 HU), int16 ``[z, y, x]``.

    Args:
        ct: the scan.
        body: its body.
        end_slices: how many copies of the first and of the last slice are put before and after the volume.
    """
    return _isolate(ct.hu, body.zones, *body.stride, np.float32(body.air_max_hu), np.int16(AIR_HU), end_slices)


@njit(cache=True, parallel=True, nogil=True)
def _isolate(hu, zones, sz, sy, sx, air_max_hu, outside, end_slices):  # type: ignore[no-untyped-def]
    nz, ny, nx = hu.shape
    mz, my, mx = zones.shape
    result = np.empty((nz + 2 * end_slices, ny, nx), np.int16)
    for k in prange(nz + 2 * end_slices):
        z = min(max(k - end_slices, 0), nz - 1)
        # The nearest coarse voxel: coarse voxel i is the CT's voxel i * stride.
        zone_z = min((z + sz // 2) // sz, mz - 1)
        for y in range(ny):
            zone_y = min((y + sy // 2) // sy, my - 1)
            for x in range(nx):
                zone = zones[zone_z, zone_y, min((x + sx // 2) // sx, mx - 1)]
                value = hu[z, y, x]
                inside = zone == 2 or (zone == 1 and value > air_max_hu)
                result[k, y, x] = np.int16(np.rint(value)) if inside else outside
    return result


def _eroded(mask: npt.NDArray[np.bool_], radius_mm: float, spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    # In the axial plane only: end slices must not erode the body from above and below.
    disc = _ball(radius_mm, spacing[1:])[None]
    return ndimage.binary_erosion(mask, structure=disc, border_value=1)


def _ball(radius_mm: float, spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Voxel offsets up to a distance, a structuring element of as many axes as ``spacing``."""
    reach = np.floor(radius_mm / spacing + 1e-6).astype(int)
    offsets = np.meshgrid(*(step * np.arange(-n, n + 1) for n, step in zip(reach, spacing, strict=True)), indexing="ij")
    return np.sqrt(sum(offset**2 for offset in offsets)) <= radius_mm + 1e-6


def _filled_holes(tissue: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Fill what the air in front of and behind the patient does not reach.

    Air at the sides is no starting point: where the scan crops the chest wall, the lung itself meets the side.
    """
    air, _ = ndimage.label(~tissue)
    outside = np.union1d(air[0], air[-1])
    return ~np.isin(air, outside[outside > 0])


def _gas(coarse: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Open gas, at least 15 mm thick, with a rim of one voxel."""
    gas = ndimage.binary_opening(ndimage.uniform_filter(coarse, 3) < _GAS_HU, iterations=2)
    return ndimage.binary_dilation(gas)


def _lungs_of(air_like: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Lungs without bowel gas: the parts that hold a seventh of the whole once thin bridges are eroded away."""
    core = ndimage.binary_erosion(ndimage.binary_closing(air_like), iterations=2)
    labels, _ = ndimage.label(core)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = (sizes >= sizes.sum() / 7)[labels] & core
    return ndimage.binary_dilation(kept, iterations=3) & air_like


def _largest_component(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1
