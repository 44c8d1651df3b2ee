"""Read label maps that come with a CT: lungs, lobes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ct_models.lung_split import split_right_left
from drrval.errors import IntakeError, StudyError
from drrval.intake.canonical import to_canonical
from drrval.intake.report import IntakeReport
from drrval.intake.volume_file import read_volume_file, volume_suffix
from drrval.volume import CTVolume, Grid

RIGHT, LEFT = 1, 2

log = logging.getLogger("drrval")

_LOBES = {RIGHT: (1, 2, 3), LEFT: (4, 5)}
_MOST_LITRES = 12.0  # total lung capacity of the largest adults is about 10 litres of air, and tissue comes on top
_MOST_SHARE = 0.75  # of the voxels: lungs fill about half of a CT that is cropped to them
_TISSUE_HU = -500.0
_OWN_SIDE = 0.65  # of a lung, on its side of the body, at least; a lung whose fellow is missing may cross the middle
_SAME_PLACE = 0.1  # of a voxel, at the outermost corners
_SMALLER_LUNG = 0.2  # of the larger one's area in a slice
_PAIRED = 0.25  # of the slices: 43 to 72 % in masks of both lungs of real chests, 2 to 8 % in those of one lung


def read_labels(path: Path, grid: Grid, what: str, highest: int) -> npt.NDArray[np.uint8]:
    """Read a label map on the grid of its CT; nothing is resampled.

    Args:
        path: NIfTI, NRRD or MetaImage file.
        grid: of the CT, as intake returned it.
        what: what to call the map in errors, such as ``lung mask``.
        highest: labels run from 1 to this; 0 is elsewhere.

    Returns:
        uint8 ``[z, y, x]`` in the CT's canonical axes.

    Raises:
        StudyError: unreadable, on another grid, or with other values.
    """
    if not path.exists():
        raise StudyError(f"There is no {what} {path}. Check the path.")
    if volume_suffix(path) is None:
        raise StudyError(f"The {what} {path} is no NIfTI, NRRD or MetaImage file. Save it as .nii.gz, .nrrd or .mha.")
    report = IntakeReport(path=str(path))
    try:
        values, found = to_canonical(read_volume_file(path, report), report)
    except (IntakeError, OSError) as error:
        raise StudyError(f"Cannot read the {what}: {error}") from None
    _check_grid(path, what, found, grid)
    if not np.isin(values, np.arange(highest + 1)).all():
        odd = values[~np.isin(values, np.arange(highest + 1))].flat[0]
        raise StudyError(f"The {what} {path} holds the value {odd:g}. Give whole labels from 0 to {highest}.")
    return values.astype(np.uint8)


def read_lungs(path: Path, ct: CTVolume) -> npt.NDArray[np.uint8]:
    """Read a lung mask; both lungs may have one label, and are then split, which the log says.

    Args:
        path: NIfTI, NRRD or MetaImage file on the grid of the CT.
        ct: whose lungs.

    Returns:
        uint8 ``[z, y, x]``: 1 right, 2 left lung.

    Raises:
        StudyError: as :func:`read_labels`; no lung in it; more than lungs can hold; right and left swapped; one label
            that does not say which lung it is.
    """
    lungs = read_labels(path, ct.grid, "lung mask", 2)
    right, left = ((lungs == label).any(axis=(0, 1)) for label in (RIGHT, LEFT))
    if not (right.any() or left.any()):
        raise StudyError(f"The lung mask {path} is empty. Give a mask with 1 in the right and 2 in the left lung.")
    _check_size(path, lungs, ct)
    if not (right.any() and left.any()):
        if _is_pair(lungs > 0):
            return _split(path, lungs > 0, ct)
        _check_side(path, lungs, ct)
        return lungs
    if np.flatnonzero(right).mean() > np.flatnonzero(left).mean():
        raise StudyError(f"The lung mask {path} has right and left swapped. Label the patient's right lung 1, left 2.")
    return lungs


def lobes_present(lungs: npt.NDArray[np.uint8], lobes: npt.NDArray[np.uint8] | None = None) -> tuple[int, ...]:
    """Lobes, 1 to 5, that a lung map has: those of the lobe map, or without one all of each lung that is there.

    Args:
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        lobes: uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5, or None.
    """
    if lobes is not None and (found := tuple(int(lobe) for lobe in np.unique(lobes[lungs > 0]) if lobe)):
        return found
    return tuple(lobe for side, own in _LOBES.items() if (lungs == side).any() for lobe in own)


def _check_size(path: Path, lungs: npt.NDArray[np.uint8], ct: CTVolume) -> None:
    voxels = np.count_nonzero(lungs)
    litres, share = voxels * ct.grid.voxel_volume_cm3 / 1000.0, voxels / lungs.size
    if litres > _MOST_LITRES or share > _MOST_SHARE:
        raise StudyError(
            f"The lung mask {path} marks {litres:.1f} litres, {100.0 * share:.0f} percent of the CT's voxels, as lung. "
            f"Lungs hold at most about {_MOST_LITRES:g} litres and {100.0 * _MOST_SHARE:.0f} percent. Give a mask of "
            "the lungs alone, with 1 in the right and 2 in the left lung."
        )


def _check_side(path: Path, lungs: npt.NDArray[np.uint8], ct: CTVolume) -> None:
    """Refuse a mask with one label that does not lie on the side of the body that the label names."""
    label = int(lungs.max())
    named, other = ("right", "left") if label == RIGHT else ("left", "right")
    slices = (lungs > 0).any(axis=(1, 2))
    tissue = (ct.hu[slices] > _TISSUE_HU).sum(axis=(0, 1), dtype=np.float64)
    columns = np.arange(lungs.shape[2])
    middle = (tissue @ columns) / tissue.sum() if tissue.any() else columns.mean()
    area = (lungs > 0).sum(axis=(0, 1), dtype=np.float64)
    on_right = float(area[columns < middle].sum() / area.sum())
    share = on_right if label == RIGHT else 1.0 - on_right
    if share < _OWN_SIDE:
        where = f"on the patient's {other} side" if share < 1.0 - _OWN_SIDE else "on both sides of the body"
        raise StudyError(
            f"The lung mask {path} has one label only, {label}, which is the {named} lung's, but lies {where} "
            f"({100.0 * share:.0f} percent of it on the {named}). Label the patient's right lung 1 and the left lung 2."
        )


def _split(path: Path, lungs: npt.NDArray[np.bool_], ct: CTVolume) -> npt.NDArray[np.uint8]:
    """Label right and left, as the classical segmentation of the CT scorers does."""
    middle = float(np.nonzero(lungs.any(axis=(0, 1)))[0][[0, -1]].mean())
    sx, sy, sz = ct.grid.spacing_mm
    labels, separated = split_right_left(ct.hu, lungs, middle, (sz, sy, sx))
    if separated:
        log.info("%s has one label for both lungs; they were split into right (1) and left (2)", path)
    else:
        log.warning(
            "%s has one label for both lungs, which are joined; they were cut at the midline into right (1) and "
            "left (2): look at them",
            path,
        )
    return labels


def _is_pair(lungs: npt.NDArray[np.bool_]) -> bool:
    """Whether many axial slices of a mask show two large parts, as a pair of lungs does (the trachea may join them)."""
    pairs = []
    for part in lungs[lungs.any(axis=(1, 2))]:
        labels, _ = ndimage.label(part)
        sizes = np.sort(np.bincount(labels.ravel())[1:])
        pairs.append(sizes.size > 1 and sizes[-2] > _SMALLER_LUNG * sizes[-1])
    return float(np.mean(pairs)) > _PAIRED


def _check_grid(path: Path, what: str, found: Grid, grid: Grid) -> None:
    if found.shape != grid.shape:
        raise StudyError(
            f"The {what} {path} has {found.shape} voxels (z, y, x), the CT {grid.shape}. Resample the mask to the CT."
        )
    corners = np.array([[0, 0, 0], np.subtract(grid.shape, 1)])
    away = np.abs(found.index_to_world(corners) - grid.index_to_world(corners)).max(axis=0) / grid.spacing_mm
    if away.max() > _SAME_PLACE:
        raise StudyError(
            f"The {what} {path} lies up to {away.max():.2g} voxels away from the CT. Resample the mask to the CT."
        )
