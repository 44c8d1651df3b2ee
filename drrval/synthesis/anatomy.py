"""Label maps of a scan as they are projected: lungs with their lesions, and what hides or overlies the lungs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import convex_hull_image

from drrval.disease import KINDS
from drrval.materials import hu_to_density
from drrval.phantom.labels import LEFT, RIB_LEFT, RIB_RIGHT, RIGHT, Label
from drrval.simulation import VirtualScan
from drrval.volume import Grid

SIDES = {"right": RIGHT, "left": LEFT}
SILHOUETTE, HEART, RIBS, CLAVICLES, SCAPULAE = "silhouette", "heart", "ribs", "clavicles", "scapulae"
LUNG_NAMES = (
    *(f"lung_{side}" for side in SIDES),
    *(f"{kind}_{side}" for kind in KINDS for side in SIDES),
)  # healthy lung, and each kind of lesion, of each side
ORGAN_NAMES = (HEART, RIBS, CLAVICLES, SCAPULAE)

_COARSE_MM = 2.0
_BACKGROUND_MM = (4.0, 15.0)  # grid, and reach of the mean over healthy lung
_LEAST_WEIGHT = 1e-3  # less healthy lung than this is no neighbour
_PADDING = 2  # voxels around a label map: projection interpolates across its outermost voxels


@dataclass(frozen=True)
class LabelMap:
    """Labels cut to what they hold.

    Attributes:
        labels: uint8 ``[z, y, x]``: 0, or 1 + index in ``names``.
        grid: where these voxels lie.
        names: of the labels that are there.
    """

    labels: npt.NDArray[np.uint8]
    grid: Grid
    names: tuple[str, ...]


def lung_map(scan: VirtualScan) -> LabelMap:
    """Healthy lung and each kind of lesion, right and left: names of :data:`LUNG_NAMES`."""
    box = bounding_box(scan.lungs > 0)
    lungs, lesions = scan.lungs[box], scan.lesions[box]
    codes = np.zeros((3, 1 + len(KINDS)), np.uint8)
    codes[RIGHT:] = np.arange(1, 1 + len(LUNG_NAMES), dtype=np.uint8).reshape(-1, 2).T
    return _numbered(codes[lungs, lesions], cut_grid(scan.volume.grid, box), LUNG_NAMES)


def organ_map(scan: VirtualScan) -> LabelMap | None:
    """Heart, ribs, clavicles and scapulae (names of :data:`ORGAN_NAMES`), or None for a scan without organ labels."""
    if scan.organs is None:
        return None
    table = np.zeros(256, np.uint8)
    table[Label.HEART] = 1
    for first in (RIB_RIGHT, RIB_LEFT):
        table[first + 1 : first + 13] = 2
    table[[Label.CLAVICLE_RIGHT, Label.CLAVICLE_LEFT]] = 3
    table[[Label.SCAPULA_RIGHT, Label.SCAPULA_LEFT]] = 4
    labels = table[scan.organs]
    box = bounding_box(labels > 0)
    return _numbered(labels[box], cut_grid(scan.volume.grid, box), ORGAN_NAMES)


def silhouette_map(scan: VirtualScan) -> LabelMap:
    """What hides lung in a frontal view (:func:`hidden_region`), under the name :data:`SILHOUETTE`.

    It is found from the lungs also where organ labels are at hand, so that procedural and real chests follow one
    convention.
    """
    hidden, grid = hidden_region(scan.lungs, scan.volume.grid)
    return _numbered(hidden.astype(np.uint8), grid, (SILHOUETTE,))


def hidden_region(lungs: npt.NDArray[np.uint8], grid: Grid) -> tuple[npt.NDArray[np.bool_], Grid]:
    """Mediastinum and what lies below the diaphragm, from the lungs alone, and its grid of about 2 mm.

    The chest cavity of a slice is the convex hull of its lungs; below a slice its cavity goes on as the abdomen. What
    of this is not lung hides the lung before and behind it: heart, vessels and spine between the lungs, and liver,
    spleen and stomach within and below the domes.

    Args:
        lungs: uint8 ``[z, y, x]``, 0 elsewhere; slice 0 at the feet.
        grid: where its voxels lie.
    """
    box = bounding_box(lungs > 0)
    steps = [max(1, round(_COARSE_MM / s)) for s in grid.spacing_mm[::-1]]
    coarse = lungs[box][tuple(slice(None, None, s) for s in steps)] > 0
    cavity = np.stack([convex_hull_image(s) if s.any() else s for s in coarse])
    cavity = np.logical_or.accumulate(cavity[::-1], axis=0)[::-1]
    x, y, z = (s * step for s, step in zip(grid.spacing_mm, reversed(steps), strict=True))
    nz, ny, nx = coarse.shape
    return cavity & ~coarse, replace(cut_grid(grid, box), shape=(nz, ny, nx), spacing_mm=(x, y, z))


def density_rise(scan: VirtualScan) -> tuple[npt.NDArray[np.float32], Grid] | None:
    """How much denser the lesions are than healthy lung, g/cm3, cut to the lesions; None without any.

    Exact where the scan knows its rise of Hounsfield units. Elsewhere healthy lung is the mean over healthy voxels of
    the same lung, weighted by a Gaussian of 15 mm; where none is near, the mean of that lung; and less than nothing
    counts as nothing.
    """
    if not scan.lesions.any():
        return None
    if scan.rise_hu is not None:
        box = bounding_box(scan.lesions > 0)
        hu = scan.volume.hu[box]
        rise = np.where(scan.lesions[box] > 0, hu_to_density(hu) - hu_to_density(hu - scan.rise_hu[box]), 0.0)
        return rise.astype(np.float32), cut_grid(scan.volume.grid, box)
    return _rise_over_surroundings(scan)


def _rise_over_surroundings(scan: VirtualScan) -> tuple[npt.NDArray[np.float32], Grid]:
    around = bounding_box(scan.lungs > 0)
    hu, lungs, lesions = scan.volume.hu[around], scan.lungs[around], scan.lesions[around]
    grid = cut_grid(scan.volume.grid, around)
    box = bounding_box(lesions > 0)
    spacing = np.array(grid.spacing_mm[::-1])
    steps = np.maximum(1, np.rint(_BACKGROUND_MM[0] / spacing)).astype(int)
    coarse = tuple(slice(None, None, s) for s in steps.tolist())
    density = hu_to_density(hu[coarse])
    rise = np.zeros(lesions[box].shape, np.float32)
    for side in SIDES.values():
        sick = (lungs[box] == side) & (lesions[box] > 0)
        healthy = (lungs[coarse] == side) & (lesions[coarse] == 0)
        if not sick.any() or not healthy.any():
            continue
        sigma = _BACKGROUND_MM[1] / (spacing * steps)
        weight = ndimage.gaussian_filter(healthy.astype(float), sigma)
        mean = ndimage.gaussian_filter(np.where(healthy, density, 0.0), sigma) / np.maximum(weight, 1e-9)
        mean = np.where(weight > _LEAST_WEIGHT, mean, density[healthy].mean())
        index = (np.argwhere(sick) + [s.start for s in box]) // steps
        rise[sick] = np.maximum(hu_to_density(hu[box][sick]) - mean[tuple(index.T)], 0.0)
    return rise, cut_grid(grid, box)


def bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Slices ``[z, y, x]`` around what is true, and two voxels more where the array has them."""
    if not mask.any():
        return (slice(0, 2),) * 3
    ends = []
    for axis, length in enumerate(mask.shape):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        ends.append(slice(max(0, int(found[0]) - _PADDING), min(length, int(found[-1]) + 1 + _PADDING)))
    return ends[0], ends[1], ends[2]


def cut_grid(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The grid of an array that is cut to ``box``."""
    x, y, z = grid.index_to_world([s.start for s in box]).tolist()
    nz, ny, nx = (s.stop - s.start for s in box)
    return replace(grid, shape=(nz, ny, nx), origin_mm=(x, y, z))


def _numbered(labels: npt.NDArray[np.uint8], grid: Grid, names: tuple[str, ...]) -> LabelMap:
    """Number only the labels that are there: each costs time in a projection."""
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=1 + len(names))[1:])
    renumber = np.zeros(256, np.uint8)
    renumber[present + 1] = np.arange(1, 1 + len(present))
    return LabelMap(renumber[labels], grid, tuple(names[i] for i in present))
