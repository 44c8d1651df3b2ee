"""Grey-value augmentation: other detectors, exposures and displays."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from scipy import ndimage

from cxr_models.augment.fields import smooth_noise

Image = npt.NDArray[np.float32]


def adjust_gamma(image: Image, gamma: float) -> Image:
    """``image ** gamma`` on the 0-1 scale; above 1 darkens.

    Raises:
        ValueError: a gamma that is not positive, or an image outside 0-1.
    """
    if not gamma > 0:
        raise ValueError(f"gamma={gamma:g} must be positive: 1 changes nothing, above 1 darkens.")
    check_unit_range(image)
    return np.power(image, np.float32(gamma))


def random_gamma(image: Image, rng: np.random.Generator, octaves: float = 1.0) -> Image:
    """Gamma between ``2 ** -octaves`` and ``2 ** octaves``, log-uniform (the paper's section IV-A gives no range)."""
    return adjust_gamma(image, float(2.0 ** rng.uniform(-octaves, octaves)))


def random_intensity(image: Image, rng: np.random.Generator) -> Image:
    """Contrast, brightness, uneven exposure, noise and blur, each drawn anew and each mild.

    Contrast by 0.7 to 1.3 about the mean, brightness by up to 0.1, a field of standard deviation up to 0.05 that varies
    across the image (heel effect, grid misalignment), white noise up to 0.015, Gaussian blur up to 0.3 % of the rows.

    Returns:
        float32 ``[row, col]``, clipped to 0-1.

    Raises:
        ValueError: an image outside 0-1.
    """
    check_unit_range(image)
    mean = float(image.mean())
    out = (image - mean) * rng.uniform(0.7, 1.3) + mean + rng.uniform(-0.1, 0.1)
    out = out + rng.uniform(0.0, 0.05) * smooth_noise(image.shape, 2, rng)
    out = ndimage.gaussian_filter(out, rng.uniform(0.0, 0.003) * image.shape[0], truncate=3.0)
    out = out + rng.uniform(0.0, 0.015) * rng.standard_normal(image.shape).astype(np.float32)
    return np.clip(out, 0.0, 1.0).astype(np.float32)


def random_quality(image: Image, rng: np.random.Generator) -> Image:
    """What copies do to a radiograph: fewer pixels (four in ten images) and JPEG compression (half of them).

    Collections of published images went through journals, screens and several compressions, and those of hospitals
    did not; a network must not tell them apart by that. Reduced by up to 2.5 and enlarged again; quality 30 to 95.

    Returns:
        float32 ``[row, col]``, 0-1.

    Raises:
        ValueError: an image outside 0-1.
    """
    check_unit_range(image)
    rows, cols = image.shape
    if rng.random() < 0.4:
        factor = rng.uniform(1.0, 2.5)
        small = Picture.fromarray(image).resize((round(cols / factor), round(rows / factor)), Picture.Resampling.BOX)
        image = np.asarray(small.resize((cols, rows), Picture.Resampling.BILINEAR))
    if rng.random() < 0.5:
        file = BytesIO()
        grey = Picture.fromarray(np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8))
        grey.save(file, "JPEG", quality=int(rng.integers(30, 96)))
        image = np.asarray(Picture.open(file), dtype=np.float32) / np.float32(255.0)
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def check_unit_range(image: Image) -> None:
    """Refuse an image that is not on the 0-1 scale.

    Raises:
        ValueError: a value below 0 or above 1.
    """
    low, high = float(image.min()), float(image.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"The image spans {low:g} to {high:g}, but augmentation works on 0-1: divide 8-bit values by 255."
        )
