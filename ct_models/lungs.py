"""Classical lung segmentation of chest CT: thresholds, connected components and morphology, no training.

The steps follow Hu, Hoffman and Reinhardt (2001, 10.1109/42.929615): air inside the body, airways removed, right and
left separated, boundary closed. Added here: bowel gas, dense disease along the chest wall, table and clothes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ct_models.airways import find_airways
from ct_models.contract import LEFT, RIGHT
from ct_models.lung_split import Labels, remove_bowel_gas, split_right_left
from ct_models.morphology import (
    Mask,
    Spacing,
    Volume,
    bounding_box,
    close_mm,
    coarse_factors,
    coarse_spacing,
    coarsen,
    dilate_mm,
    erode_mm,
    fill_axial_holes,
    open_mm,
    refine,
)

LUNG_FLAGS = (
    "lungs_joined",
    "lung_volume_small",
    "lungs_touch_first_slice",
    "lungs_touch_last_slice",
    "lungs_touch_side",
)

#: Block means of about this size carry the segmentation, mm.
WORK_MM = 2.5

#: Half-way between lung and soft tissue: the border of aerated lung.
AIR_HU = -400.0

#: Smaller parts of a lung, and smaller lungs, are no finding, cm3.
SMALLEST_PART_CM3 = 5.0
SMALLEST_LUNG_CM3 = 150.0

_TISSUE_HU = -500.0
_ROOM_AIR_HU = -975.0  # half-way between air and emphysema (-950 HU)
_BONE_HU = 200.0
_SPONGY_BONE_HU = 150.0
_LEAST_SPINE, _MOST_OF_SPINE = 0.3, 0.8  # share of the slices, and of the largest such share
_FAT_HU = (-150.0, -30.0)
_OPEN_MM = 4.0
_PART_HU = -930.0
_THICK_SHARE = 0.2
_SMALL_LUNGS_CM3 = 1000.0
_CLIPPED_CM2 = 10.0
_CLOSE_MM = 10.0
_COSTAL_CLOSE_MM = 30.0
_COSTAL_REACH_MM = 20.0


@dataclass(frozen=True)
class LungSegmentation:
    """Lungs of one CT.

    Attributes:
        labels: uint8 ``[z, y, x]``: 0 outside, 1 right lung, 2 left lung.
        flags: what is doubtful, empty when all is well: ``lungs_joined`` (no border between right and left was found;
            they are cut at the midline), ``lung_volume_small`` (both together under 1000 cm3),
            ``lungs_touch_first_slice`` and ``lungs_touch_last_slice`` (more than 10 cm2 of lung in the slice at the
            feet or the head end: the scan clips the lungs), ``lungs_touch_side`` (the same of a side face).
    """

    labels: npt.NDArray[np.uint8]
    flags: tuple[str, ...] = ()


def segment_lungs(hu: Volume, spacing_mm: Spacing) -> LungSegmentation:
    """Segment the right and the left lung; dense disease inside or along the chest wall counts as lung.

    Works on block means of about 2.5 mm and brings the result back to the full grid, where the border to aerated
    lung follows the -400 HU surface, half-way between lung and soft tissue. Trachea and main bronchi are left out;
    vessels inside the lungs are part of them. Disease that fills a whole lobe next to the mediastinum or the diaphragm
    has no border on them in Hounsfield values and is left out: read a lung with lobar collapse with care.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
        spacing_mm: voxel spacing along z, y, x, mm.

    Raises:
        ValueError: the array is not a volume, the spacing is not positive, or no lungs are in it.
    """
    work, spacing, factors = block_means(hu, spacing_mm)
    body = find_body(work, spacing)
    aerated, filled = np.zeros(work.shape, np.uint8), np.zeros(work.shape, np.uint8)
    box = bounding_box(body) if body.any() else (slice(None),) * 3
    aerated[box], filled[box], separated = _segment_body(work[box], body[box], spacing)
    full = refine_border(hu, aerated, filled, factors, spacing)
    return LungSegmentation(full, lung_flags(full, spacing_mm, separated))


def block_means(hu: Volume, spacing_mm: Spacing) -> tuple[Volume, Spacing, tuple[int, int, int]]:
    """Means over blocks of about ``WORK_MM``, their spacing, and how many voxels they count along each axis.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units.
        spacing_mm: voxel spacing along z, y, x, mm.

    Raises:
        ValueError: the array is not a volume, or the spacing is not positive.
    """
    if hu.ndim != 3 or min(spacing_mm) <= 0:
        raise ValueError(
            f"the lung segmentation got an array of shape {hu.shape} with spacing_mm={spacing_mm}. It needs a "
            "[z, y, x] volume in Hounsfield units and three positive spacings in millimetres."
        )
    factors = coarse_factors(spacing_mm, WORK_MM)
    return coarsen(hu, factors), coarse_spacing(spacing_mm, factors), factors


def _segment_body(hu: Volume, body: Mask, spacing_mm: Spacing) -> tuple[Labels, Labels, bool]:
    """Labels of the aerated lungs, the same with disease filled in, and whether right and left are well separated."""
    air = (hu < AIR_HU) & body
    airways = find_airways(hu, air, spacing_mm)
    aerated = _keep_lung_parts(hu, remove_bowel_gas(hu, air & ~airways, spacing_mm), spacing_mm)
    labels, separated = split_right_left(hu, aerated, _midline_x(hu, airways, body), spacing_mm)
    return labels, _fill_disease(hu, labels, body & ~airways, spacing_mm), separated


def _midline_x(hu: Volume, airways: Mask, body: Mask) -> float:
    """x index of the airways; without any that of the spine, without bone that of the body."""
    spine = np.broadcast_to(find_spine(hu), hu.shape)
    midline = next((mask for mask in (airways, spine) if mask.any()), body)
    return float(np.mean(np.nonzero(midline)[2]))


def find_spine(hu: Volume) -> Mask:
    """Where most slices show bone at one place, bool ``[y, x]``; nowhere if fewer than 30 % do.

    Args:
        hu: block means of about 2.5 mm, ``[z, y, x]``, at the height of the lungs.
    """
    share = np.count_nonzero(hu > _SPONGY_BONE_HU, axis=0) / max(len(hu), 1)
    return (share >= _LEAST_SPINE) & (share >= _MOST_OF_SPINE * share.max(initial=0.0))


def find_body(hu: Volume, spacing_mm: Spacing) -> Mask:
    """The patient with the air inside, without table and clothes; also lungs that a side face of the scan cuts."""
    tissue = hu > _TISSUE_HU
    parts, _ = ndimage.label(open_mm(tissue, _OPEN_MM, spacing_mm))
    largest = parts == np.bincount(parts.ravel(), weights=(parts > 0).ravel()).argmax()
    body = tissue & dilate_mm(largest, 2 * _OPEN_MM, spacing_mm)
    for face in ((slice(None), 0), (slice(None), -1), (..., 0), (..., -1)):
        body[face] |= _cut_air(hu[face], body[face])
    return fill_axial_holes(body)


def _cut_air(hu: Volume, body: Mask) -> Mask:
    """Air that tissue encloses in a side face ``[z, along]`` of the scan: a lung is cut there.

    Beyond the first and the last slice the body goes on. Enclosed air as thin as room air is a gap beside an arm.
    """
    holes, _ = ndimage.label(
        ndimage.binary_fill_holes(np.pad(body, ((1, 1), (0, 0)), constant_values=True))[1:-1] & ~body
    )
    middles = ndimage.median(hu, holes, np.arange(1, holes.max(initial=0) + 1))
    return np.isin(holes, 1 + np.flatnonzero(middles > _ROOM_AIR_HU))


def _keep_lung_parts(hu: Volume, air: Mask, spacing_mm: Spacing) -> Mask:
    """Keep the lungs and parts of lungs; drop small bowel gas and gaps between skin folds and table.

    A small part must be thick (a fifth of it lies off its surface) and denser than gas.

    Raises:
        ValueError: nothing as large as a lung is left.
    """
    parts, _ = ndimage.label(air)
    voxel_cm3 = float(np.prod(spacing_mm)) / 1000.0
    core = air & erode_mm(air, 1.01 * max(spacing_mm[1:]), spacing_mm)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = []
    for index in np.flatnonzero(sizes * voxel_cm3 >= SMALLEST_PART_CM3):
        inside = core & (parts == index)
        if inside.sum() < _THICK_SHARE * sizes[index]:
            continue
        if sizes[index] * voxel_cm3 > SMALLEST_LUNG_CM3 or np.median(hu[inside]) > _PART_HU:
            keep.append(index)
    if not (sizes[keep] * voxel_cm3 > SMALLEST_LUNG_CM3).any():
        raise ValueError(
            f"no lungs found: the largest region of air inside the body has {sizes.max() * voxel_cm3:.0f} cm3, and a "
            f"lung needs more than {SMALLEST_LUNG_CM3:.0f} cm3. Check that the volume is a chest CT in Hounsfield "
            "units (air -1000, water 0) with axes [z, y, x], or pass another lung segmenter."
        )
    return np.isin(parts, keep)


def _fill_disease(hu: Volume, labels: Labels, free: Mask, spacing_mm: Spacing) -> Labels:
    """Add vessels, nodules and dense disease to each lung.

    A ball of 10 mm closes each lung everywhere. A ball of 30 mm closes it within 20 mm of bone, fat left out, which
    catches dense disease along the chest wall and leaves heart, aorta, diaphragm and mediastinal fat alone.
    """
    bone = hu > _BONE_HU
    fat = (hu > _FAT_HU[0]) & (hu < _FAT_HU[1])
    costal = dilate_mm(bone, _COSTAL_REACH_MM, spacing_mm) & ~dilate_mm(bone, 3.0, spacing_mm)
    filled = labels.copy()
    for side in (RIGHT, LEFT):
        lung = labels == side
        closed = close_mm(lung, _CLOSE_MM, spacing_mm)
        along_wall = close_mm(lung, _COSTAL_CLOSE_MM, spacing_mm) & costal & free & ~fat
        closed |= open_mm(along_wall, _OPEN_MM, spacing_mm)
        inside = fill_axial_holes(closed & free & ~bone)
        filled[inside & (filled == 0)] = side
    return filled


def refine_border(
    hu: Volume, aerated: Labels, filled: Labels, factors: tuple[int, int, int], spacing_mm: Spacing
) -> Labels:
    """Labels on the full grid: voxels near the border of aerated lung go by their own Hounsfield value."""
    if factors == (1, 1, 1):
        return filled
    full = np.zeros(hu.shape, dtype=np.uint8)
    reach = max(spacing_mm[1:])
    for side in np.unique(filled[filled > 0]):
        box = bounding_box(filled == side, margin=2)
        lung, air = filled[box] == side, aerated[box] == side
        rim = dilate_mm(lung, reach, spacing_mm) & ~erode_mm(lung, reach, spacing_mm)
        rim &= dilate_mm(air, 1.5 * reach, spacing_mm) & ((filled[box] == 0) | air)
        full_box = tuple(slice(s.start * f, s.stop * f) for s, f in zip(box, factors, strict=True))
        values, target = hu[full_box], full[full_box]
        inside = refine(lung, factors, values.shape)
        by_value = refine(rim, factors, values.shape)
        inside[by_value] = values[by_value] < AIR_HU
        target[inside & (target == 0)] = side
    return full


def lung_flags(labels: Labels, spacing_mm: Spacing, separated: bool) -> tuple[str, ...]:
    """What a reader should doubt; see :class:`LungSegmentation`."""
    voxel_cm3 = float(np.prod(spacing_mm)) / 1000.0

    def clipped(face: Labels, axis: int) -> bool:
        return bool(np.count_nonzero(face) * voxel_cm3 / (spacing_mm[axis] / 10.0) > _CLIPPED_CM2)

    doubts = (
        not separated,
        np.count_nonzero(labels) * voxel_cm3 < _SMALL_LUNGS_CM3,
        clipped(labels[0], 0),
        clipped(labels[-1], 0),
        any(clipped(labels[:, end], 1) or clipped(labels[..., end], 2) for end in (0, -1)),
    )
    return tuple(flag for flag, doubtful in zip(LUNG_FLAGS, doubts, strict=True) if doubtful)
