"""Put disease into a chest CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from drrval.disease.bronchogram import air_bronchograms
from drrval.disease.envelope import Envelope, LungSpace, kind_table
from drrval.disease.lesion import KINDS, Lesion
from drrval.disease.lung_air import AIR_HU, TISSUE_HU, air_fraction, bronchi, denoise, noise_level
from drrval.disease.texture import Array, lobules, smooth_noise
from drrval.errors import StudyError
from drrval.volume import Grid

_DENSITY_ORDER = ("ggo", "crazy_paving", "consolidation")  # where lesions meet, the denser one counts
_TEXTURE_MM = (12.0, 5.0, 2.2)
_SEPTUM_MM = 0.9  # half thickness of a thickened septum
_SEPTUM_STEP_MM, _LOBULE_STEP_MM = 1.0, 2.0
_BRONCHOGRAM_RADIUS_MM = 12.0  # smaller consolidations hide their airways
_AERATED_HU = -600.0  # lung between the vessels
_RIM_HU, _RIM_MM = (-700.0, -200.0), 1.5  # voxels that lung and pleura share, and how far they reach
_MOST_HU = 60.0  # no filled voxel gets denser, unless the lesion is asked to be


@dataclass(frozen=True)
class Inserted:
    """A CT with disease.

    Attributes:
        hu: float32 ``[z, y, x]``, Hounsfield units; equal to the input wherever ``rise_hu`` is 0.
        lesions: uint8 ``[z, y, x]``: 0 healthy, else 1 + index in :data:`drrval.disease.KINDS`; inside the lungs.
        rise_hu: float32 ``[z, y, x]``, what was added, never negative.
    """

    hu: Array
    lesions: npt.NDArray[np.uint8]
    rise_hu: Array


def insert_disease(
    hu: Array,
    grid: Grid,
    lungs: npt.NDArray[np.uint8],
    lesions: Sequence[Lesion],
    *,
    lobes: npt.NDArray[np.uint8] | None = None,
) -> Inserted:
    """Replace air in the lungs by fluid, lesion by lesion.

    A voxel gains ``air * filling``: vessels hold no air and stay as they are, and bronchi keep theirs. Air is read from
    a denoised copy, so the noise of the CT is left alone. Each lesion is filled until the mean over its mask between
    the vessels is its ``hu``; where lesions meet the larger rise counts, so their order does not matter. A lesion whose
    lung is that dense already changes nothing and is not labelled.

    The mask of a lesion is where its border lets through at least half of the full change, inside its lung (or lobe);
    vessels and bronchi inside it count. Voxels just outside that lung and chest wall share are filled in their part, so
    that no dark line is left, but never labelled.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or a real CT.
        grid: of the volume.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung; vessels and disease inside count as lung.
        lesions: any number; one in a lung that the scan lacks is left out.
        lobes: uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5. With it lesions step back at fissures; without it a lesion
            that is confined to a lobe gets one from :func:`drrval.disease.fissures.rough_lobes`.

    Returns:
        the CT with disease, the label map, and the rise of each voxel.

    Raises:
        StudyError: a map of another shape or with other labels, or no lung.
    """
    if hu.shape != grid.shape:
        raise StudyError(f"hu: shape {hu.shape} differs from the grid's {grid.shape}. Give the CT's own grid.")
    space = LungSpace(grid, lungs, lobes)
    noise_hu = noise_level(hu, grid) if lesions else 0.0
    labels = np.zeros(hu.shape, np.uint8)
    rise_hu = np.zeros(hu.shape, np.float32)
    for lesion in sorted(lesions, key=lambda lesion: _DENSITY_ORDER.index(lesion.kind)):
        envelope = space.envelope(lesion)
        if envelope is None:
            continue
        rise = _rise(hu[envelope.box], lungs[envelope.box], grid, lesion, envelope, noise_hu)
        if rise is not None:
            np.maximum(rise_hu[envelope.box], rise, out=rise_hu[envelope.box])
            labels[envelope.box][envelope.lesion] = 1 + KINDS.index(lesion.kind)
    return Inserted(hu + rise_hu, labels, rise_hu)


def _rise(
    hu: Array, lungs: npt.NDArray[np.uint8], grid: Grid, lesion: Lesion, envelope: Envelope, noise_hu: float
) -> Array | None:
    """Rise of each voxel of the lesion's box, HU; None where the lesion is empty or the lung is denser already."""
    mask = envelope.lesion
    if not mask.any():
        return None
    clean = denoise(hu, grid, noise_hu)
    lumen = _open_airways(clean, grid, lesion, envelope)
    touched = envelope.weight * (envelope.lung | _rim(clean, lungs, envelope.lung, grid))
    room = touched * air_fraction(clean) * (1.0 - lumen) * np.float32(TISSUE_HU - AIR_HU)
    pattern = _pattern(lesion, envelope)
    most = np.float32((max(lesion.hu + 20.0, _MOST_HU) - AIR_HU) / (TISSUE_HU - AIR_HU))
    aerated = mask & (clean < _AERATED_HU) & (lumen < 0.5)
    level = _level(hu, room, pattern, aerated if aerated.any() else mask, lesion.hu, most)
    return room * np.clip(level * pattern, 0.0, most) if level > 0.0 else None


def _level(
    hu: Array, room: Array, pattern: Array, where: npt.NDArray[np.bool_], target_hu: float, most: np.float32
) -> np.float32:
    """Filling that brings the mean over ``where`` to the target: 0 if it is denser, at most ``most`` everywhere."""
    start, room, pattern = float(hu[where].mean(dtype=np.float64)), room[where], pattern[where]

    def excess(level: float) -> float:
        filled = room * np.clip(np.float32(level) * pattern, 0.0, most)
        return start + float(filled.mean(dtype=np.float64)) - target_hu

    top = 4.0 * float(most)
    if excess(0.0) >= 0.0:
        return np.float32(0.0)
    return np.float32(top if excess(top) <= 0.0 else optimize.brentq(excess, 0.0, top, xtol=1e-4))


def _open_airways(clean: Array, grid: Grid, lesion: Lesion, envelope: Envelope) -> Array:
    """Share of each voxel that keeps its air: bronchi that the CT shows, and thinner ones in consolidated lung."""
    lumen = bronchi(clean, grid)
    if lesion.kind == "consolidation" and min(lesion.radii_mm) >= _BRONCHOGRAM_RADIUS_MM:
        lumen = np.maximum(lumen, air_bronchograms(envelope.axes, envelope.to_hilum_mm, (lesion.seed, 30)))
    return lumen


def _pattern(lesion: Lesion, envelope: Envelope) -> Array:
    """How unevenly a lesion is filled: about 1 on average, float32 ``[z, y, x]``."""
    table = kind_table()[lesion.kind]
    pattern = np.ones(envelope.weight.shape, np.float32)
    for number, (scale, size) in enumerate(zip(_TEXTURE_MM, table["texture"], strict=True), start=10):
        pattern += np.float32(size) * smooth_noise(envelope.axes, scale, (lesion.seed, number))
    if table["lobular"]:
        wall_mm, own = lobules(envelope.axes, (lesion.seed, 20), _SEPTUM_STEP_MM if table["septa"] else _LOBULE_STEP_MM)
        pattern += np.float32(table["lobular"]) * own
    if table["septa"]:
        strength = np.maximum(0.75 + 0.5 * smooth_noise(envelope.axes, _TEXTURE_MM[0], (lesion.seed, 21)), 0.0)
        pattern += np.float32(table["septa"]) * strength * np.exp(-((wall_mm / np.float32(_SEPTUM_MM)) ** 2))
    return np.maximum(pattern, 0.0)


def _rim(clean: Array, lungs: npt.NDArray[np.uint8], lung: npt.NDArray[np.bool_], grid: Grid) -> npt.NDArray[np.bool_]:
    """Voxels next to the lung, outside both, that are part lung and part chest wall or diaphragm."""
    next_to, near = (
        ndimage.maximum_filter(lung, size=[2 * n + 1 for n in reach]) & (lungs == 0)
        for reach in ((0, 1, 1), (1, *(max(1, round(_RIM_MM / step)) for step in grid.spacing_mm[1::-1])))
    )
    return (next_to & (clean > _RIM_HU[0])) | (near & (clean > _RIM_HU[0]) & (clean < _RIM_HU[1]))
