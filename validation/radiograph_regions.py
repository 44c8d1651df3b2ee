"""Regions of a frontal chest radiograph that its lung mask alone defines, and what is measured in them.

Lengths are shares of the width of the lung field (outer border to outer border), so that radiographs without a stated
pixel size can be compared with rendered ones. The regions avoid what masks disagree about: some draw the lung behind
the heart, others do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.transform import rescale

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
REGIONS = ("lung", "mediastinum", "below the diaphragm")
FIELD_PIXELS = 320  # width of the lung field to which every image is brought
PATCH = 32  # side of the squares whose spectra are averaged, pixels
RINGS = np.arange(2, PATCH // 2)  # frequencies of the spectrum, cycles per square


@dataclass(frozen=True)
class Scaled:
    """A radiograph brought to a lung field ``FIELD_PIXELS`` wide.

    Attributes:
        grey: displayed grey values, 0-255, ``[row, col]``.
        regions: bool ``[row, col]`` for each of ``REGIONS``.
    """

    grey: Array
    regions: dict[str, Mask]

    def level(self, name: str, quantile: float = 0.5) -> float:
        """Quantile of the grey values of a region; NaN where the image does not show it."""
        inside = self.grey[self.regions[name]]
        return float(np.quantile(inside, quantile)) if inside.size else float("nan")

    @property
    def relative(self) -> Array:
        """Grey values with the median lung at 0 and the median mediastinum at 1, which undoes any linear display."""
        lung, mediastinum = self.level("lung"), self.level("mediastinum")
        return (self.grey - lung) / (mediastinum - lung)


def scaled(grey: npt.NDArray[np.uint8], lungs: Mask) -> Scaled:
    """Bring a frontal radiograph to the common size and find its regions.

    Args:
        grey: displayed image, ``[row, col]``, bone bright, the patient's right on the left.
        lungs: lung mask, ``[row, col]``, with or without the lung behind the heart.
    """
    columns = np.flatnonzero(lungs.any(axis=0))
    factor = FIELD_PIXELS / (columns[-1] - columns[0] + 1)
    small = rescale(grey.astype(float), factor, order=1, anti_aliasing=factor < 1)
    mask = rescale(lungs.astype(float), factor, order=1, anti_aliasing=factor < 1) > 0.5
    return Scaled(small, find_regions(mask))


def find_regions(lungs: Mask) -> dict[str, Mask]:
    """Regions of an image whose lung field is ``FIELD_PIXELS`` wide.

    Lung: the outer part, more than a quarter of the width from the midline, without a rim. Mediastinum: a tenth of the
    width about the midline, from 35 to 85 % of the lungs' height (spine and heart). Below the diaphragm: under the
    right lung, 5 to 15 % of the width below its border (liver).
    """
    width = FIELD_PIXELS
    rows, columns = np.indices(lungs.shape)
    covered = np.flatnonzero(lungs.any(axis=1))
    top, height = covered[0], covered[-1] - covered[0]
    middle = _midline(lungs[top + int(0.2 * height) : top + int(0.45 * height)])
    share = (rows - top) / height
    lung = ndimage.binary_erosion(lungs, iterations=int(0.02 * width)) & (np.abs(columns - middle) > 0.25 * width)
    mediastinum = (np.abs(columns - middle) < 0.05 * width) & (share > 0.35) & (share < 0.85)
    below = rows - np.where(lungs, rows, -1).max(axis=0)
    liver = (below > 0.05 * width) & (below < 0.15 * width)
    liver &= lungs.any(axis=0) & (columns > middle - 0.35 * width) & (columns < middle - 0.15 * width)
    return {"lung": lung, "mediastinum": mediastinum, "below the diaphragm": liver}


def _midline(upper_lungs: Mask) -> float:
    """Column half-way between the lungs above the heart."""
    centres = []
    for row in upper_lungs:
        seen = np.flatnonzero(row)
        gap = np.diff(seen).argmax()
        centres.append((seen[gap] + seen[gap + 1]) / 2)
    return float(np.median(centres))


def rib_contrast(image: Scaled) -> float:
    """Ribs against the spaces between them, over the contrast of mediastinum and lung.

    Root mean square within the lung of what varies from head to feet over one rib and its space (difference of
    Gaussians of 1 and 4 % of the field's width) and hardly from side to side (Gaussian of 3 %).
    """
    fine, coarse, across = (share * FIELD_PIXELS for share in (0.01, 0.04, 0.03))
    lung = image.regions["lung"]
    band = _smoothed(image.relative, lung, (fine, across)) - _smoothed(image.relative, lung, (coarse, across))
    return float(np.sqrt(np.mean(band[lung] ** 2)))


def _smoothed(values: Array, mask: Mask, sigmas: tuple[float, float]) -> Array:
    """Gaussian mean of the values inside the mask alone."""
    weight = ndimage.gaussian_filter(mask.astype(float), sigmas)
    return np.asarray(ndimage.gaussian_filter(values * mask, sigmas) / np.maximum(weight, 1e-6))


def texture_spectrum(image: Scaled) -> Array:
    """Mean power spectrum in the lung, in squares of ``PATCH`` pixels without their plane, Hann window.

    Returns:
        power at the frequencies ``RINGS`` (mean over directions), squared units of :attr:`Scaled.relative`; NaN where
        no square fits into the lung.
    """
    values, lung = image.relative, image.regions["lung"]
    taper = np.hanning(PATCH + 2)[1:-1]
    window = taper[:, None] * taper
    total, count = np.zeros((PATCH, PATCH)), 0
    for row in range(0, lung.shape[0] - PATCH, PATCH // 2):
        for column in range(0, lung.shape[1] - PATCH, PATCH // 2):
            here = slice(row, row + PATCH), slice(column, column + PATCH)
            if lung[here].mean() > 0.98:
                total += np.abs(np.fft.fft2(_without_plane(values[here]) * window)) ** 2
                count += 1
    power = total / max(count, 1) / np.sum(window**2)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(PATCH)] * 2))
    ring = np.rint(frequency * PATCH).astype(int)
    return np.asarray(ndimage.mean(power, ring, RINGS) if count else np.full(RINGS.size, np.nan))


def _without_plane(patch: Array) -> Array:
    row, column = np.indices(patch.shape)
    basis = np.stack([np.ones(patch.size), row.ravel(), column.ravel()], axis=1)
    return np.asarray(patch - (basis @ np.linalg.lstsq(basis, patch.ravel(), rcond=None)[0]).reshape(patch.shape))
