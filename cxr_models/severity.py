"""Severity score of pneumonia, 0-8, from the share of each lung that is involved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

_EDGES_PERCENT = (25.0, 50.0, 75.0)

#: Ratio (percent) of one lung in the middle of the range of each extent score 0-4: where a continuous score passes it.
_MIDDLES_PERCENT, _EXTENTS = (0.0, 12.5, 37.5, 62.5, 87.5), (0.0, 1.0, 2.0, 3.0, 4.0)

#: Fewer lungs than this do not settle two parameters.
_LEAST_LUNGS = 20


@dataclass(frozen=True)
class SeverityCalibration:
    """From the mean of the localisation map over a lung to the share of that lung that is diseased.

    ``share = min(1, gain * mean) ** power``: rises with the mean, and is 0 at 0.

    Attributes:
        gain, power: both above 0.
    """

    gain: float
    power: float

    def share(self, mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Diseased share, 0-1, of lungs with these means of the map, 0-1."""
        return np.asarray(np.minimum(1.0, self.gain * mean) ** self.power)


def continuous_extent(ratio_percent: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The extent score of a lung, 0-4, without its steps: linear between the middles of the steps' ranges."""
    return np.interp(ratio_percent, _MIDDLES_PERCENT, _EXTENTS)


def continuous_severity(mean_right: float, mean_left: float, calibration: SeverityCalibration) -> float:
    """Severity 0-8 without steps and without a threshold on the map, which both lose information.

    Args:
        mean_right, mean_left: mean of the localisation map over each lung, 0-1, or NaN for a lung not found.
        calibration: of the network that made the map.

    Returns:
        0-8, or NaN when either mean is NaN.
    """
    shares = calibration.share(np.array([mean_right, mean_left]))
    return float(continuous_extent(100.0 * shares).sum()) if np.isfinite(shares).all() else float("nan")


def fit_calibration(
    means: npt.NDArray[np.float64],
    ratios_percent: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64] | None = None,
) -> SeverityCalibration | None:
    """Least squares of the extent score of lungs whose true ratio is known.

    Args:
        means: ``[lung]``, mean of the localisation map, 0-1.
        ratios_percent: ``[lung]``, true pneumonia ratio, 0-100.
        weights: ``[lung]``, what each counts; None counts all alike.

    Returns:
        The calibration, or None for fewer than 20 lungs.
    """
    if len(means) < _LEAST_LUNGS:
        return None
    truth = continuous_extent(ratios_percent)
    root = np.sqrt(np.ones(len(means)) if weights is None else weights)

    def residual(logarithms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        gain, power = np.exp(logarithms)
        return root * (continuous_extent(100.0 * SeverityCalibration(gain, power).share(means)) - truth)

    bounds = (np.log([0.2, 0.3]), np.log([10.0, 3.0]))
    starts = [np.log([gain, power]) for gain in (1.0, 2.0) for power in (0.7, 1.5)]
    found = min((optimize.least_squares(residual, start, bounds=bounds) for start in starts), key=lambda r: r.cost)
    gain, power = np.exp(found.x)
    return SeverityCalibration(round(float(gain), 4), round(float(power), 4))


def severity_score(ratio_right_percent: float, ratio_left_percent: float) -> float:
    """Sum over both lungs of the extent score: 0 none, 1 under 25 %, 2 25-50 %, 3 50-75 %, 4 over 75 %.

    The rule of the paper this project follows (its section V-C, after Wong et al. 2020,
    10.1148/radiol.2020201160). It leaves the shared edges open; here 25 % scores 2, 50 % scores 3 and 75 % scores 3
    (its 4 is "over 75 %").

    Args:
        ratio_right_percent, ratio_left_percent: pneumonia ratio of each lung, 0-100 %, or NaN.

    Returns:
        0-8, or NaN when either ratio is NaN: half a score would read as a mild case.

    Raises:
        ValueError: a ratio outside 0-100.
    """
    return _extent(ratio_right_percent) + _extent(ratio_left_percent)


def _extent(ratio_percent: float) -> float:
    if math.isnan(ratio_percent):
        return float("nan")
    if not 0.0 <= ratio_percent <= 100.0:
        raise ValueError(
            f"A pneumonia ratio of {ratio_percent:g} % is outside 0-100 %. Give 100 x diseased / lung area."
        )
    if ratio_percent == 0.0:
        return 0.0
    quarter, half, three_quarters = _EDGES_PERCENT
    return 1.0 + (ratio_percent >= quarter) + (ratio_percent >= half) + (ratio_percent > three_quarters)
