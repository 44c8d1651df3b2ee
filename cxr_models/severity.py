"""Severity score of pneumonia, 0-8, from the share of each lung that is involved."""

from __future__ import annotations

import math

_EDGES_PERCENT = (25.0, 50.0, 75.0)


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
