"""Labelled CTs on one grid, kept in a cache that is read by memory mapping."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import SimpleITK as sitk

from ct_models.contract import LEFT, RIGHT
from ct_models.grid import Shape, resample, resampled_shape
from ct_models.morphology import Spacing, bounding_box

#: Grid of the cached volumes, mm: as fine as the networks' slices need, and the step from slice to slice.
SPACING_MM: Spacing = (4.0, 1.5, 1.5)

_MARGIN_MM = 60.0
_NAMES = ("hu", "lungs", "lesions", "infected")


@dataclass(frozen=True)
class LabelledVolume:
    """One labelled CT on the grid ``SPACING_MM``, cut in-plane to the lungs and 60 mm around them.

    Attributes:
        patient: whose it is.
        hu: int16 ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
        lungs: uint8, same shape: 0 elsewhere, 1 right, 2 left.
        lesions: uint8, same shape: 1 where more than half of the voxel is diseased lung.
        infected: float32 ``[z]``, 0-1: the label of each slice, between 0 and 1 between slices of different label; NaN
            without labels.
        has_lesion_map: whether the table knew where disease is; ``lesions`` is 0 everywhere if not.
    """

    patient: str
    hu: npt.NDArray[np.int16]
    lungs: npt.NDArray[np.uint8]
    lesions: npt.NDArray[np.uint8]
    infected: npt.NDArray[np.float32]
    has_lesion_map: bool


def read_image(path: Path) -> tuple[npt.NDArray[Any], Spacing]:
    """Array ``[z, y, x]`` and spacing z, y, x (mm) of a NIfTI, NRRD or MetaImage file.

    z grows to the head, y to the back, x to the patient's left, whatever the order of the axes in the file.

    Raises:
        ValueError: not a readable 3D image.
    """
    try:
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    except RuntimeError as error:
        raise ValueError(f"Cannot read {path} as a 3D image: {error}") from None
    x, y, z = image.GetSpacing()
    return sitk.GetArrayFromImage(image), (z, y, x)


def load_volumes(
    table: pd.DataFrame, cache: Path, report: Callable[[str], None] = lambda line: None
) -> list[LabelledVolume]:
    """The scans of a table (:func:`ct_models.data.tables.read_table`) in its order; what is not cached yet is prepared.

    Args:
        table: the scans.
        cache: folder of the prepared volumes, made if absent; may be shared between runs.
        report: called with a line for every scan that had to be prepared.

    Raises:
        ValueError: a file is unreadable, on another grid than its CT, or holds no lung; slice labels that do not fit.
    """
    cache.mkdir(parents=True, exist_ok=True)
    volumes = []
    for row in table.itertuples():
        ct, lung_map = Path(str(row.path)), Path(str(row.lungs))
        lesion_map = Path(str(row.lesions)) if row.lesions else None
        labels = Path(str(row.slices)) if row.slices else None
        stem = _key(ct, lung_map, lesion_map, labels)
        files = [cache / f"{stem}_{name}.npy" for name in _NAMES]
        if not all(file.exists() for file in files):
            for file, values in zip(files, _prepare(ct, lung_map, lesion_map, labels), strict=True):
                part = file.with_suffix(".part.npy")
                np.save(part, values)
                part.replace(file)
            report(f"prepared {row.path}")
        hu, lungs, lesions, infected = (np.load(file, mmap_mode="r") for file in files)
        volumes.append(LabelledVolume(str(row.patient), hu, lungs, lesions, infected, bool(row.lesions)))
    return volumes


def _prepare(ct: Path, lung_map: Path, lesion_map: Path | None, labels: Path | None) -> tuple[npt.NDArray[Any], ...]:
    """HU, lungs, lesions and slice labels of a scan on the common grid."""
    hu, spacing = read_image(ct)
    maps = [read_image(path)[0] if path else np.zeros(hu.shape, np.uint8) for path in (lung_map, lesion_map)]
    for path, values in zip((lung_map, lesion_map), maps, strict=True):
        if values.shape != hu.shape:
            raise ValueError(f"{path} has {values.shape} voxels (z, y, x), its CT {hu.shape}. Resample it to the CT.")
    lungs, lesions = maps
    if not (lungs > 0).any():
        raise ValueError(f"{lung_map} holds no lung: labels are 1 for the right and 2 for the left lung.")
    shape = resampled_shape(hu.shape, spacing, SPACING_MM)
    grey = np.clip(np.rint(resample(hu, spacing, shape, SPACING_MM)), -1024, 3071).astype(np.int16)
    sides = _labels(lungs, spacing, shape)
    disease = (resample((lesions > 0).astype(np.uint8), spacing, shape, SPACING_MM) > 0.5).astype(np.uint8)
    box = (slice(None), *bounding_box(sides > 0, margin=round(_MARGIN_MM / SPACING_MM[1]))[1:])
    known = read_slice_labels(labels, len(hu)) if labels else np.full(len(hu), np.nan, np.float32)
    infected = resample(known[:, None, None], (spacing[0], 1.0, 1.0), (shape[0], 1, 1), (SPACING_MM[0], 1.0, 1.0))
    return grey[box], sides[box], disease[box], infected[:, 0, 0].astype(np.float32)


def read_slice_labels(path: Path, n: int) -> npt.NDArray[np.float32]:
    """Labels 0 or 1 of a CT's slices from a CSV file, float32 ``[n]`` from the feet to the head.

    Raises:
        ValueError: a column is missing, a slice is missing or listed twice, or a label is neither 0 nor 1.
    """
    table = pd.read_csv(path)
    columns = ("index_head_to_feet", "infected")
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{path} lacks the column(s) {', '.join(missing)}. Expected: {', '.join(columns)}.")
    index, infected = (table[name].to_numpy() for name in columns)
    if sorted(index) != list(range(n)):
        raise ValueError(
            f"{path} has {len(index)} rows; its CT has {n} slices. Give one row for each, index_head_to_feet from 0 to "
            f"{n - 1}."
        )
    if not np.isin(infected, (0, 1)).all():
        raise ValueError(f"{path} has other values than 0 and 1 in the column infected.")
    values = np.empty(n, np.float32)
    values[n - 1 - index] = infected
    return values


def _labels(lungs: npt.NDArray[Any], spacing: Spacing, shape: Shape) -> npt.NDArray[np.uint8]:
    """Lung labels on the common grid: the side with more than half of the voxel."""
    right, left = (resample((lungs == side).astype(np.uint8), spacing, shape, SPACING_MM) for side in (RIGHT, LEFT))
    return np.where(right + left > 0.5, np.where(right >= left, RIGHT, LEFT), 0).astype(np.uint8)


def _key(*paths: Path | None) -> str:
    """Name of a scan in the cache: changes when one of its files does."""
    known = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path]
    return hashlib.sha256(repr((known, SPACING_MM, _MARGIN_MM)).encode()).hexdigest()[:20]
