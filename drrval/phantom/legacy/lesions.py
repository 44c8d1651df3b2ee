"""Pneumonia in the phantom: single lesions, and how they come and go over days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from drrval.errors import StudyError
from drrval.phantom.legacy.canvas import Canvas, soft_mask
from drrval.phantom.legacy.shapes import Array, Ellipsoid

# Hounsfield units and width of the soft edge (mm) by kind. Ground glass lies between lung and soft tissue, vessels
# stay visible; consolidation has the density of soft tissue (Hansell et al. Radiology 2008, 10.1148/radiol.2462070712).
_HU_RANGE = {"ggo": (-750.0, -300.0), "consolidation": (-100.0, 80.0)}
_EDGE_MM = {"ggo": 7.0, "consolidation": 4.0}
_TEXTURE_HU = {"ggo": 45.0, "consolidation": 15.0}
_RAGGED = 0.22  # standard deviation of the border as a fraction of the mean radius


@dataclass(frozen=True)
class Lesion:
    """One ellipsoidal opacity.

    Attributes:
        side: ``right`` or ``left`` lung.
        centre: fractions 0..1 (medial to lateral, front to back, base to apex) within that lung: the height picks the
            slice, the second the row of the slice, the first the place in this row.
        radii_mm: half axes along x, y and z before the lung's border cuts the lesion, mm.
        kind: ``ggo`` (ground-glass opacity) or ``consolidation``.
        hu: mean Hounsfield units, -750..-300 for ``ggo``, -100..80 for ``consolidation``.

    Raises:
        StudyError: a value outside its range.
    """

    side: Literal["right", "left"]
    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    kind: Literal["ggo", "consolidation"] = "ggo"
    hu: float = -560.0

    def __post_init__(self) -> None:
        if self.side not in ("right", "left"):
            raise StudyError(f"Lesion side={self.side!r}. Expected one of: 'right', 'left'.")
        if self.kind not in _HU_RANGE:
            raise StudyError(f"Lesion kind={self.kind!r}. Expected one of: 'ggo', 'consolidation'.")
        if not all(0.0 <= c <= 1.0 for c in self.centre):
            raise StudyError(f"Lesion centre={self.centre!r}. Give three fractions of the lung between 0 and 1.")
        if not all(0.0 < r <= 150.0 for r in self.radii_mm):
            raise StudyError(f"Lesion radii_mm={self.radii_mm!r}. Give three half axes above 0 and up to 150 mm.")
        low, high = _HU_RANGE[self.kind]
        if not low <= self.hu <= high:
            raise StudyError(f"Lesion hu={self.hu!r} is outside {low:g}..{high:g} HU, the range of {self.kind}.")


def paint_lesions(
    canvas: Canvas, lungs: npt.NDArray[np.uint8], lesions: Sequence[Lesion], rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Paint lesions into the lungs of a canvas and return their mask ``[z, y, x]``.

    Args:
        canvas: its lungs are aerated already; changed in place.
        lungs: labels ``[z, y, x]``, 1 right, 2 left.
        lesions: later ones lie over earlier ones.
        rng: random state of the borders and the texture.
    """
    mask = np.zeros(lungs.shape, dtype=bool)
    for lesion in lesions:
        label = 1 if lesion.side == "right" else 2
        shape = Ellipsoid(_place(canvas, lungs == label, lesion.centre), lesion.radii_mm)
        low, high = shape.bounds()
        box = canvas.box(low - 20.0, high + 20.0)
        size = float(np.cbrt(np.prod(lesion.radii_mm)))
        axes = canvas.local_axes(box)
        extent = (axes[2].size, axes[1].size, axes[0].size)
        border = shape.distance(axes) + _RAGGED * size * _smooth_noise(extent, size / 3.0 / canvas.spacing_mm, rng)
        inside = lungs[box] == label
        weight = soft_mask(border, _EDGE_MM[lesion.kind]) * inside
        texture = _TEXTURE_HU[lesion.kind] * _smooth_noise(extent, 3.0 / canvas.spacing_mm, rng)
        hu = canvas.hu[box]
        hu += weight * np.maximum(np.float32(lesion.hu) + texture - hu, 0.0)
        mask[box] |= weight >= 0.5
    return mask


def _place(canvas: Canvas, lung: npt.NDArray[np.bool_], centre: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """World position (x, y, z) of a lung-relative centre; it always lies between the borders of the lung."""
    medial_to_lateral, front_to_back, base_to_apex = centre
    z = _between(np.flatnonzero(lung.any(axis=(1, 2))), base_to_apex)
    y = _between(np.flatnonzero(lung[z].any(axis=1)), front_to_back)
    columns = np.flatnonzero(lung[z, y])
    on_right = canvas.axes[0].ravel()[columns[0]] < 0
    x = _between(columns, 1.0 - medial_to_lateral if on_right else medial_to_lateral)
    return canvas.grid.index_to_world([z, y, x])


def _between(indices: npt.NDArray[np.int64], fraction: float) -> int:
    return int(indices[round(fraction * (len(indices) - 1))])


def _smooth_noise(shape: tuple[int, int, int], sigma_voxels: float, rng: np.random.Generator) -> Array:
    """Gaussian noise ``[z, y, x]`` of unit standard deviation, smooth over ``sigma_voxels``."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), max(sigma_voxels, 0.5), mode="wrap")
    return np.asarray(noise / noise.std(), dtype=np.float32)
