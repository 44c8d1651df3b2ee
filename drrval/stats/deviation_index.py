"""How large is the difference for most scans, and how many scans differ by no more than a margin?

Source: Lin, Hedayat, Sinha & Yang, J. Am. Stat. Assoc. 2002;97:257-270, doi 10.1198/016214502753479392.
"""

from __future__ import annotations

from typing import Unpack

import numpy as np
from scipy.special import ndtr, ndtri

from drrval.errors import StudyError
from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.resampling import Floats, Resampling, patient_bootstrap, warn_of_few
from drrval.stats.variance_components import VarianceComponents

# Halvings of the bracket: to 1e-12 of its width.
_HALVINGS = 40
# Percent of the intervals of few patients that hold the truth.
_HELD = 91


def total_deviation(
    scans: PairedScans, margin: float, share: float = 0.9, **resampling: Unpack[Resampling]
) -> Analysis:
    """Total deviation index and coverage probability of test minus reference, with patient-bootstrap intervals.

    The differences are taken as normal, with the mean over all scans and the variance between plus within patients
    (as in :func:`limits_of_agreement`). The index is solved for exactly, not by the root of the mean squared
    difference, which needs a small bias.

    Args:
        scans: see :class:`PairedScans`.
        margin: largest difference that does not matter, above 0, in the unit of the measurements.
        share: of the scans that the index shall cover, between 0 and 1.

    Returns:
        ``total_deviation_index``: ``share`` of the scans differ by no more than this.
        ``coverage_probability``: share of the scans that differ by no more than ``margin``, 0 to 1.

    Raises:
        StudyError: the margin is not above 0 or the share not between 0 and 1.
    """
    if not (np.isfinite(margin) and margin > 0 and 0 < share < 1):
        raise StudyError(
            f"Total deviation needs a margin above 0 and a share between 0 and 1, got {margin} and {share}. "
            "Give the margin in the unit of the measurements, such as 5, and the share as a fraction, such as 0.9."
        )
    method = (
        f"Total deviation index ({share:.0%} of the scans) and coverage probability (margin {margin:g}) of normal "
        "differences with variance between plus within patients (Lin et al. 2002)."
    )
    components = VarianceComponents(scans.difference, scans.patients)

    def deviation(weights: Floats) -> dict[str, Floats]:
        spread = components(weights)
        bias, sd = np.abs(spread.mean), np.sqrt(spread.total)
        return {
            "total_deviation_index": _deviation_index(bias, sd, share),
            "coverage_probability": _covered(np.full_like(bias, margin), bias, sd),
        }

    found = patient_bootstrap(deviation, scans.patients, **resampling)
    numbers = {name: warn_of_few(number, _HELD) for name, number in found.items()}
    note = "" if scans.patients.n_patients > 1 else "One patient says nothing about the spread between patients."
    return Analysis("total_deviation", method, numbers, note)


def _covered(margin: Floats, bias: Floats, sd: Floats) -> Floats:
    """Probability that a normal difference lies within plus and minus ``margin``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = ndtr((margin - bias) / sd) - ndtr((-margin - bias) / sd)
    return np.where(sd > 0, inside, np.where(np.isnan(sd), np.nan, (bias <= margin).astype(float)))


def _deviation_index(bias: Floats, sd: Floats, share: float) -> Floats:
    """Margin that covers ``share``, by halving a bracket that holds it."""
    low, high = np.zeros_like(bias), bias + ndtri((1 + share) / 2) * sd
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = _covered(middle, bias, sd) >= share
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high
