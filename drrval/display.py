"""From detector signal to the displayed radiograph: bone bright, air dark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.errors import DrrvalError
from drrval.settings import DisplaySettings

_OPEN_BEAM = 0.8  # less signal than this has passed a centimetre or more of tissue
_FLOOR = 1e-6  # a receptor does not resolve less; keeps the logarithm finite where no photon arrived


def displayed(
    signal: npt.NDArray[np.float32], field: npt.NDArray[np.bool_], settings: DisplaySettings, pixel_mm: float
) -> npt.NDArray[np.float64]:
    """Displayed brightness, 0-1, ``[row, col]``; black outside the collimated field.

    Args:
        signal: receptor signal over the unattenuated beam's, ``[row, col]``.
        field: the collimated field, ``[row, col]``; nothing outside it counts.
        settings: the rule; see :class:`drrval.settings.DisplaySettings`.
        pixel_mm: pixel pitch, mm.

    Raises:
        DrrvalError: rule ``fixed`` without a window.
    """
    brightness = np.zeros(signal.shape)
    if field.any():
        if settings.rule == "paper":
            brightness[field] = _paper_rule(signal[field].astype(float), settings)
        elif settings.rule == "minmax":
            brightness[field] = _minmax(_log_signal(signal[field]))
        else:
            brightness[field] = _windowed(_detailed(_log_signal(signal), field, settings, pixel_mm)[field], settings)
    return brightness


def _log_signal(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return -np.log(np.maximum(signal.astype(float), _FLOOR))


def _windowed(log_signal: npt.NDArray[np.float64], settings: DisplaySettings) -> npt.NDArray[np.float64]:
    if settings.window is None:
        raise DrrvalError(
            "The display rule 'fixed' needs a window, two values of -ln(signal). Set DisplaySettings.window."
        )
    low, high = settings.window
    return np.clip((log_signal - low) / (high - low), 0.0, 1.0)


def _detailed(
    log_signal: npt.NDArray[np.float64], field: npt.NDArray[np.bool_], settings: DisplaySettings, pixel_mm: float
) -> npt.NDArray[np.float64]:
    """Unsharp masking: adds ``detail_gain`` times the difference to the Gaussian mean over the field.

    A grating of f cycles/mm grows by the factor ``1 + gain (1 - exp(-2 (pi sigma f)^2))``. Prokop, Neitzel &
    Schaefer-Prokop 2003, doi:10.1097/00005382-200307000-00004.
    """
    if settings.detail_gain == 0:
        return log_signal
    sigma = settings.detail_mm / pixel_mm
    share = ndimage.gaussian_filter(field.astype(float), sigma)
    mean = ndimage.gaussian_filter(np.where(field, log_signal, 0.0), sigma) / np.maximum(share, _FLOOR)
    return np.asarray(log_signal + settings.detail_gain * (log_signal - mean))


def quantised(brightness: npt.NDArray[np.float64], bits: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Brightness 0-1 as unsigned integers of 8 or 16 bits."""
    top = 2**bits - 1
    return np.rint(brightness * top).astype(np.uint8 if bits == 8 else np.uint16)


def _paper_rule(signal: npt.NDArray[np.float64], settings: DisplaySettings) -> npt.NDArray[np.float64]:
    """Invert, convert to 8 bit, and apply gamma 0.2 to very bright images (mean above 220), which must darken them.

    The paper's printed field (1024 pixels of 0.168 mm) lies wholly within a chest, so its mean is one behind the
    patient. In a field that shows the whole chest the air at the sides would decide, so the mean is taken behind the
    patient too.
    """
    inverted = quantised(1.0 - _minmax(signal), 8) / 255.0
    behind_patient = inverted[signal < _OPEN_BEAM]
    if behind_patient.size and 255.0 * behind_patient.mean() > settings.gamma_above_mean:
        return inverted ** (1.0 / settings.gamma)
    return inverted


def _minmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
