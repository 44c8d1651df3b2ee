"""Whether the lungs that were found can be scored: lungs that are missing, cut, left out, or in a scan that is turned.

Each limit is stated with the scans that it was measured on; ``docs/ct-scoring.md`` says what a reader should do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ct_models.contract import LEFT, RIGHT
from ct_models.lung_split import Labels
from ct_models.lungs import SMALLEST_LUNG_CM3, block_means, find_body, find_spine
from ct_models.morphology import Mask, Spacing, Volume, coarsen, convex_axial, open_mm

MISSING_FLAGS = {RIGHT: "right_lung_missing", LEFT: "left_lung_missing"}
CUT_FLAGS = {RIGHT: "right_lung_cut", LEFT: "left_lung_cut"}
LEFT_OUT, UPSIDE_DOWN, BACK_TO_FRONT = "lung_left_out", "upside_down", "back_to_front"
PLAUSIBILITY_FLAGS = (*MISSING_FLAGS.values(), *CUT_FLAGS.values(), LEFT_OUT, UPSIDE_DOWN, BACK_TO_FRONT)

#: A lung is missing when it is smaller than any lung, or than this share of the other: a scan of one half of the chest
#: still shows a piece of it, up to 19 % in 13 such scans. In 21 whole scans the smaller lung has 53 % of the larger or
#: more.
SMALLEST_OF_OTHER = 0.2

#: A lung is cut when its section at a face of the scan has this share of its largest section parallel to that face: in
#: the end slice, and in the sides' outermost 3 mm. Networks see less well at the border of a picture, so that a greater
#: share within 10 mm counts too. None of the 42 lungs of 21 whole scans is called cut, nor when the scan ends where its
#: lungs end; cut at either end of each axis, all that lost a tenth are (252 of 252), 200 that lost a twentieth, 9 that
#: lost 1 %.
CUT_SHARE, _FACE_MM = 0.4, 3.0
DEEP_CUT_SHARE, _BORDER_MM = 0.7, 10.0

#: Lungs are incomplete when this share of all that looks like aerated lung lies outside them. Of 21 whole scans the
#: worst has 1.6 %.
LEFT_OUT_SHARE = 0.1
_LUNG_HU = (-950.0, -500.0)
_THICK_MM = 6.0

#: The ends of the lungs that tell head from feet, share of their height; and by how much more hollow the upper must be.
_END_SHARE = 0.3
_HOLLOW_MARGIN = 0.1
_SMALLEST_SECTION = 20  # pixels of about 2.5 mm


@dataclass(frozen=True)
class Plausibility:
    """What speaks against the lungs of one scan.

    Attributes:
        flags: of :data:`PLAUSIBILITY_FLAGS`; empty when all is well.
        unreliable: sides (:data:`ct_models.contract.RIGHT`, ``LEFT``) whose ratio would mislead: missing, cut, or in
            a scan with lung left out.
        sides_known: whether right and left can be told; not in a scan that is upside down or back to front, since a
            mirrored header turns the sides too.
    """

    flags: tuple[str, ...]
    unreliable: frozenset[int]
    sides_known: bool


def plausibility(hu: Volume, labels: Labels, spacing_mm: Spacing) -> Plausibility:
    """Check segmented lungs against the scan.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
        labels: uint8, same shape: 1 right lung, 2 left lung; some not 0.
        spacing_mm: voxel spacing along z, y, x, mm.
    """
    flags: list[str] = []
    unreliable: set[int] = set()
    masks = {side: labels == side for side in (RIGHT, LEFT)}
    volumes_cm3 = {side: np.count_nonzero(mask) * float(np.prod(spacing_mm)) / 1000.0 for side, mask in masks.items()}
    smallest_cm3 = max(SMALLEST_LUNG_CM3, SMALLEST_OF_OTHER * max(volumes_cm3.values()))
    for side, mask in masks.items():
        if is_cut(mask, spacing_mm):
            flags.append(CUT_FLAGS[side])
            unreliable.add(side)
        elif volumes_cm3[side] < smallest_cm3:
            flags.append(MISSING_FLAGS[side])
            unreliable.add(side)
    work, spacing, factors = block_means(hu, spacing_mm)
    sides = [coarsen(mask.astype(np.float32), factors) > 0.5 for mask in masks.values()]
    if left_out_share(work, sides[0] | sides[1], spacing) >= LEFT_OUT_SHARE:
        flags.append(LEFT_OUT)
        unreliable.update(masks)
    turned = [UPSIDE_DOWN] if not unreliable and is_upside_down(sides) else []
    turned += [BACK_TO_FRONT] if is_back_to_front(work, sides[0] | sides[1]) else []
    return Plausibility((*flags, *turned), frozenset(unreliable), not turned)


def is_cut(lung: Mask, spacing_mm: Spacing) -> bool:
    """Whether a face of the scan cuts through a lung (:data:`CUT_SHARE`, :data:`DEEP_CUT_SHARE`)."""
    at_sides = edge_shares(lung, spacing_mm, _BORDER_MM)[1:]
    return bool(edge_shares(lung, spacing_mm, _FACE_MM).max() >= CUT_SHARE or at_sides.max() >= DEEP_CUT_SHARE)


def edge_shares(lung: Mask, spacing_mm: Spacing, depth_mm: float) -> Volume:
    """Section of a lung at each face of the scan by its largest parallel section, float32 ``[axis, first or last]``.

    In the end slices, and the largest one within ``depth_mm`` of each side face.
    """
    shares = np.zeros((3, 2), np.float32)
    for axis, depth in enumerate((1, *(max(1, round(depth_mm / step)) for step in spacing_mm[1:]))):
        section = np.count_nonzero(lung, axis=tuple(other for other in range(3) if other != axis))
        if section.max(initial=0):
            shares[axis] = section[:depth].max() / section.max(), section[-depth:].max() / section.max()
    return shares


def left_out_share(hu: Volume, lungs: Mask, spacing_mm: Spacing) -> float:
    """Share of thick regions as dense as aerated lung that lies outside the lungs, but within the body's outline.

    The outline is convex in every slice, so that a lung that is open to the scan's edge lies in it.

    Args:
        hu: block means of about 2.5 mm, ``[z, y, x]``.
        lungs: bool, same shape.
        spacing_mm: voxel spacing z, y, x, mm.
    """
    aerated = (hu > _LUNG_HU[0]) & (hu < _LUNG_HU[1])
    outside = open_mm(aerated & ~ndimage.binary_dilation(lungs), _THICK_MM, spacing_mm)
    levels = outside.any(axis=(1, 2))
    if levels.any():
        outside[levels] &= convex_axial(find_body(hu, spacing_mm)[levels])
    left_out, found = int(np.count_nonzero(outside)), int(np.count_nonzero(lungs))
    return left_out / max(left_out + found, 1)


def is_upside_down(sides: list[Mask]) -> bool:
    """Whether the hollow ends of the lungs, which the diaphragm bulges into, are the upper ones.

    In 21 scans the hollow (convex outline without lung) is 13 to 57 % of the lowest, 7 to 35 % of the highest 30 %.

    Args:
        sides: both lungs, bool ``[z, y, x]``.
    """
    height = np.flatnonzero((sides[0] | sides[1]).any(axis=(1, 2)))
    if len(height) == 0:
        return False
    n = max(1, round(_END_SHARE * (height[-1] + 1 - height[0])))
    low, high = (_hollow(sides, end) for end in (slice(height[0], height[0] + n), slice(height[-1] + 1 - n, None)))
    return high > low + _HOLLOW_MARGIN


def _hollow(sides: list[Mask], end: slice) -> float:
    inside = outline = 0
    for lung in sides:
        sections = lung[end]
        sections = sections[np.count_nonzero(sections, axis=(1, 2)) >= _SMALLEST_SECTION]
        inside += int(np.count_nonzero(sections))
        outline += int(np.count_nonzero(convex_axial(sections)))
    return 1.0 - inside / outline if outline else 0.0


def is_back_to_front(hu: Volume, lungs: Mask) -> bool:
    """Whether the spine, the bone that most slices show at one place, lies in front of the lungs' centre.

    In 21 scans it lies 32 to 139 mm behind it. A scan without bone tells nothing.

    Args:
        hu: block means of about 2.5 mm, ``[z, y, x]``.
        lungs: bool, same shape.
    """
    spine = find_spine(hu[lungs.any(axis=(1, 2))])
    return bool(spine.any() and np.nonzero(spine)[0].mean() < np.nonzero(lungs)[1].mean())
