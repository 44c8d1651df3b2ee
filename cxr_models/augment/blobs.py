"""Blob implanting (the paper's section IV-A): obstructions such as devices, tubes and dense infiltrates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxr_models.augment.fields import smooth_noise, soft_ellipse
from cxr_models.augment.intensity import check_unit_range

Image = npt.NDArray[np.float32]


def implant_blobs(image: Image, rng: np.random.Generator, most: int = 5) -> Image:
    """Draw one to ``most`` blobs anywhere on the image; the masks of the image stay as they are.

    The paper names blob implanting without its details. Here a blob is a soft ellipse (half of them: an infiltrate or
    a device) or a band along a curve (the other half: a tube or a lead), brighter or now and then darker than what lies
    below, partly see-through.

    Args:
        image: float32 ``[row, col]``, 0-1.
        rng: where the numbers come from.
        most: most blobs.

    Returns:
        float32 ``[row, col]``, 0-1.

    Raises:
        ValueError: an image outside 0-1.
    """
    check_unit_range(image)
    out = image
    for _ in range(rng.integers(1, most + 1)):
        shape = _ellipse(image.shape, rng) if rng.random() < 0.5 else _band(image.shape, rng)
        strength = np.float32(rng.uniform(0.2, 0.8)) * shape
        out = out + strength * (np.float32(rng.uniform(0.6, 1.0) if rng.random() < 0.8 else 0.1) - out)
    return out.astype(np.float32)


def _ellipse(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    rows, cols = shape
    radii = rng.uniform(0.03, 0.18, 2) * rows
    blob = soft_ellipse(
        (rows, cols),
        (rng.uniform(0, rows), rng.uniform(0, cols)),
        (float(radii[0]), float(radii[1])),
        rng.uniform(0, np.pi),
        rng.uniform(0.1, 1.0),
    )
    return blob * np.clip(0.8 + 0.3 * smooth_noise((rows, cols), 12, rng), 0.0, 1.0).astype(np.float32)


def _band(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """A band of even width along a parabola that crosses the image."""
    rows, cols = shape
    bend, slope, start = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.9)
    upright = rng.random() < 0.7
    length, breadth = (rows, cols) if upright else (cols, rows)
    along = np.linspace(-0.5, 0.5, length, dtype=np.float32)
    middle = (start + slope * along + bend * along**2) * breadth
    distance = np.abs(np.arange(breadth, dtype=np.float32)[None, :] - middle[:, None])
    half_width = rng.uniform(0.003, 0.015) * rows
    band = np.clip(half_width + 1.0 - distance, 0.0, 1.0).astype(np.float32)
    return band if upright else band.T
