"""From receptor signal to brightness, in the manner of different makers: enhancement, window, contrast curve.

The steps that vendors combine are described by Prokop, Neitzel & Schaefer-Prokop 2003,
doi:10.1097/00005382-200307000-00004, and multi-frequency processing by Vuylsteke & Schoeters 1994,
doi:10.1117/12.175066.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.exposure import equalize_adapthist

from drrval.synthesis.draw import Processing

Image = npt.NDArray[np.float32]

_FLOOR = 1e-5  # less signal than any receptor resolves; keeps the logarithm finite
_OPEN_BEAM = 0.8  # more signal than this has passed no more than a centimetre of tissue
_BANDS_MM = (1.5, 4.0, 10.0, 25.0)


def brightness(
    signal: Image, shown: npt.NDArray[np.bool_], drawn: Processing, pixel_mm: float
) -> npt.NDArray[np.float64]:
    """Displayed brightness, 0-1, ``[row, col]``: bone bright; ``bottom`` of the display outside ``shown``.

    The window is set by the image itself, as makers do: between two percentiles of the logarithm behind the patient.

    Args:
        signal: receptor signal over that of the unattenuated beam, ``[row, col]``.
        shown: the part that shows the patient, ``[row, col]``.
        drawn: enhancement, window and curve.
        pixel_mm: pixel pitch, mm.
    """
    log_signal = -np.log(np.maximum(signal, _FLOOR))
    behind = shown & (signal < _OPEN_BEAM)
    if not behind.any():
        return np.full(signal.shape, drawn.bottom)
    filled = np.where(shown, log_signal, np.median(log_signal[behind]))
    enhanced = _enhanced(filled, drawn, pixel_mm)
    low, high = np.percentile(enhanced[behind], [drawn.black_percentile, drawn.white_percentile])
    grey = np.clip((enhanced - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    if drawn.style == "clahe":
        grey = equalize_adapthist(grey, clip_limit=drawn.clahe_clip)
    grey = _sigmoid(grey, drawn.sigmoid) ** drawn.gamma
    return np.where(shown, drawn.bottom + (drawn.top - drawn.bottom) * grey, drawn.bottom)


def _enhanced(image: npt.NDArray[np.float64], drawn: Processing, pixel_mm: float) -> npt.NDArray[np.float64]:
    if drawn.style == "unsharp":
        return image + drawn.detail_gain * (image - ndimage.gaussian_filter(image, drawn.detail_mm / pixel_mm))
    if drawn.style == "multi-frequency":
        return _multi_frequency(image, drawn, pixel_mm)
    return image


def _multi_frequency(image: npt.NDArray[np.float64], drawn: Processing, pixel_mm: float) -> npt.NDArray[np.float64]:
    """Bands between Gaussian means: fine ones raised, the coarse rest reduced to ``latitude``."""
    gains = 1.0 + drawn.detail_gain * np.linspace(1.0, 0.0, len(_BANDS_MM))
    result, finer = np.zeros_like(image), image
    for scale_mm, gain in zip(_BANDS_MM, gains, strict=True):
        coarser = ndimage.gaussian_filter(image, scale_mm / pixel_mm, truncate=3.0)
        result += gain * (finer - coarser)
        finer = coarser
    return result + drawn.latitude * finer


def _sigmoid(grey: npt.NDArray[np.float64], steepness: float) -> npt.NDArray[np.float64]:
    """S-shaped curve from 0 to 1 through the middle; straight at steepness 0."""
    if steepness < 1e-3:
        return grey
    top = np.tanh(steepness / 4.0)
    return 0.5 + 0.5 * np.tanh(steepness / 2.0 * (grey - 0.5)) / top
