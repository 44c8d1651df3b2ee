"""From detector signal to the displayed radiograph: bone bright, air dark."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.errors import DrrvalError
from drrval.settings import DisplaySettings

_OPEN_BEAM = 0.8  # less signal than this has passed a centimetre or more of tissue
_FLOOR = 1e-6  # a receptor does not resolve less; keeps the logarithm finite where no photon arrived


def displayed(
    signal: npt.NDArray[np.float32], field: npt.NDArray[np.bool_], settings: DisplaySettings
) -> npt.NDArray[np.float64]:
    """Displayed brightness, 0-1, ``[row, col]``; black outside the collimated field.

    Args:
        signal: receptor signal over the unattenuated beam's, ``[row, col]``.
        field: the collimated field, ``[row, col]``; per-image rules look at nothing else.
        settings: the rule; see :class:`drrval.settings.DisplaySettings`.

    Raises:
        DrrvalError: rule ``fixed`` without a window.
    """
    brightness = np.zeros(signal.shape)
    if field.any():
        brightness[field] = _brightness(signal[field].astype(float), settings)
    return brightness


def _brightness(signal: npt.NDArray[np.float64], settings: DisplaySettings) -> npt.NDArray[np.float64]:
    if settings.rule == "paper":
        return _paper_rule(signal, settings)
    log_signal = -np.log(np.maximum(signal, _FLOOR))
    if settings.rule == "minmax":
        return _minmax(log_signal)
    if settings.window is None:
        raise DrrvalError(
            "The display rule 'fixed' needs a window, two values of -ln(signal). Set DisplaySettings.window."
        )
    low, high = settings.window
    return np.clip((log_signal - low) / (high - low), 0.0, 1.0)


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
