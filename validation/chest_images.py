"""Frontal radiographs of real and of procedural chests, brought to the same field, pixel size and sharpness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ct_models.lungs import segment_lungs
from drrval.geometry import Geometry, view_geometry
from drrval.intake import read_ct
from drrval.rendering import Patient, position, render
from drrval.settings import DetectorSettings
from drrval.simulation import Recipe
from drrval.volume import CTVolume

Array = npt.NDArray[np.float64]

VIEWS = ("PA", "AP")
VARIANTS = 4  # radiographs of each scan and view
PIXEL_MM = 1.68  # on the panel
FIELD_MM = (216.0, 252.0)  # rows, columns on the panel about the middle of the lungs; every scan covers it
SHARPNESS_MM = 10.0  # FWHM of the Gaussian that every image is blurred with: twice the thickest slice

_PANEL_PIXELS = 256
_TURN_DEG = (3.0, 3.0, 5.0)  # largest turn about x, y, z
_SID_MM = {"PA": (1600.0, 2000.0), "AP": (950.0, 1300.0)}
_PHOTONS = (2e4, 2e5)  # per pixel, drawn evenly in the logarithm
_LUNG_POINTS = 20_000
_SIGMA_OF_FWHM = 1.0 / (2.0 * np.sqrt(2.0 * np.log(2.0)))


@dataclass(frozen=True)
class ChestImage:
    """One radiograph, as the negative logarithm of the receptor's signal.

    Attributes:
        scan: whose.
        view: ``PA`` or ``AP``.
        whole: the panel's middle, ``[row, col]``, not matched; 0 outside the scanned range.
        matched: the common field about the lungs at the common sharpness, ``[row, col]``.
        covered: whether the scan covers that field.
    """

    scan: str
    view: str
    whole: Array
    matched: Array
    covered: bool


def real_chest_images(path: Path, seed: int) -> list[ChestImage]:
    """Radiographs of a CT file or folder."""
    return list(_images(path.name.split(".")[0], read_ct(path), seed))


def virtual_chest_images(recipe: Recipe) -> list[ChestImage]:
    """Radiographs of a virtual scan."""
    return list(_images(recipe.scan_id, recipe.make().volume, recipe.conditions.seed))


def _images(name: str, ct: CTVolume, seed: int) -> Iterator[ChestImage]:
    """Each view from slightly different sides, distances and with different exposures."""
    rng = np.random.default_rng([seed, 0xD2])
    patient = position(ct)
    points = _lung_points(patient)
    for view in VIEWS:
        for number in range(VARIANTS):
            geometry = _geometry(view, patient, rng)
            photons = float(np.exp(rng.uniform(*np.log(_PHOTONS))))
            drr = render(
                patient, geometry=geometry, detector=DetectorSettings(photons_per_pixel=photons), seed=number + seed
            )
            density = np.where(drr.field, -np.log(np.maximum(drr.signal.astype(float), 1e-6)), 0.0)
            box = _common_field(geometry, points)
            sigma = SHARPNESS_MM * _SIGMA_OF_FWHM / PIXEL_MM
            smooth = ndimage.gaussian_filter(density, sigma) / np.maximum(
                ndimage.gaussian_filter(drr.field.astype(float), sigma), 1e-6
            )
            yield ChestImage(name, view, density, smooth[box], bool(drr.field[box].all()))


def _geometry(view: str, patient: Patient, rng: np.random.Generator) -> Geometry:
    placed = view_geometry(
        view,
        isocentre_mm=patient.centre_mm,
        sid_mm=float(rng.uniform(*_SID_MM[view])),
        rows=_PANEL_PIXELS,
        columns=_PANEL_PIXELS,
        pixel_mm=PIXEL_MM,
    )
    for axis, most in zip(np.eye(3), _TURN_DEG, strict=True):
        placed = placed.rotated(axis, float(rng.uniform(-most, most)), patient.centre_mm)
    return placed


def _lung_points(patient: Patient) -> Array:
    """LPS positions of some voxels of the lungs, found in the same way in every scan."""
    ct = patient.ct
    inside = np.argwhere(segment_lungs(ct.hu, ct.grid.spacing_mm[::-1]).labels > 0)
    return ct.grid.index_to_world(inside[:: max(1, len(inside) // _LUNG_POINTS)])


def _common_field(geometry: Geometry, lung_points: Array) -> tuple[slice, slice]:
    """Rows and columns of ``FIELD_MM`` about the middle of the lungs' shadow."""
    low, high = np.quantile(geometry.project_points(lung_points), [0.01, 0.99], axis=0)
    middle = (low + high) / 2.0
    row, column = (
        slice(start := round(float(centre) - size / PIXEL_MM / 2.0), start + round(size / PIXEL_MM))
        for centre, size in zip(middle, FIELD_MM, strict=True)
    )
    return row, column
