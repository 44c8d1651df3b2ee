"""Thickness maps of the muscle sheets and the fat over the rib cage, by azimuth and height."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy.interpolate import PchipInterpolator, RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from drrval.phantom.shapes import Array, Vector

AZIMUTH_STEP_DEG = 1.0
Z_STEP_MM = 2.0
Z_LIMITS_MM = (-260.0, 260.0)
_TAPER_DEG = 9.0


@cache
def wall_tables() -> dict[str, Any]:
    """Contents of ``body_wall.yaml``: thicknesses in mm, Hounsfield units, with their sources."""
    text = files("drrval.phantom").joinpath("body_wall.yaml").read_text(encoding="utf-8")
    tables: dict[str, Any] = yaml.safe_load(text)
    return tables


def map_axes() -> tuple[Vector, Vector]:
    """Azimuths (0 to 180 degrees) and heights (mm) at which all maps are given."""
    return np.arange(0.0, 180.5, AZIMUTH_STEP_DEG), np.arange(*Z_LIMITS_MM, Z_STEP_MM)


def sheet_maps(scale_z: float, muscle: float) -> Array:
    """Thickness of each sheet, from the inside out, float32 ``[sheet, z, azimuth]``, mm.

    Args:
        scale_z: body height relative to the reference adult.
        muscle: thickness of the muscles relative to the reference adult.
    """
    maps = [_sheet(rows, scale_z) for rows in wall_tables()["sheets"].values()]
    return np.maximum(np.stack(maps) * muscle, 0.0).astype(np.float32)


def _sheet(rows: npt.ArrayLike, scale_z: float) -> Vector:
    z_rows, first, last, thick = np.asarray(rows, dtype=float).T
    azimuth, z = map_axes()
    at = np.clip(z / scale_z, z_rows[0], z_rows[-1])
    first, last, thick = (PchipInterpolator(z_rows, values)(at)[:, None] for values in (first, last, thick))
    inside = np.minimum(azimuth - first, last - azimuth) / _TAPER_DEG + 0.5
    near_midline = np.where(first <= 0.0, (last - azimuth) / _TAPER_DEG + 0.5, inside)
    t = np.clip(near_midline, 0.0, 1.0)
    return np.asarray(gaussian_filter(thick * np.sqrt(t * (2.0 - t)), (3.0, 3.0), mode="nearest"))


def floor_map() -> Vector:
    """Least distance of the lean surface from the inner chest wall, mm, ``[azimuth]``."""
    azimuth, thickness = np.asarray(wall_tables()["floor"], dtype=float).T
    return np.asarray(PchipInterpolator(azimuth, thickness)(map_axes()[0]))


def fat_map(scale_z: float) -> Vector:
    """Subcutaneous fat relative to the anatomy's mean, ``[z, azimuth]``."""
    rows = np.asarray(wall_tables()["fat_factor"], dtype=float)
    azimuth, z = map_axes()
    table = RegularGridInterpolator((rows[:, 0], np.linspace(0.0, 180.0, rows.shape[1] - 1)), rows[:, 1:])
    at = np.clip(z / scale_z, rows[0, 0], rows[-1, 0])
    grid = np.stack(np.meshgrid(at, azimuth, indexing="ij"), axis=-1)
    return np.asarray(gaussian_filter(table(grid), (10.0, 12.0), mode="nearest"))
