"""Numbers that follow from sums over patients, so that all bootstrap resamples are one matrix product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from drrval.stats.resampling import Floats, Interval, Patients, Resampling, patient_bootstrap


def bootstrap_sums(
    features: Floats,
    numbers: Callable[[Floats], dict[str, Floats]],
    patients: npt.ArrayLike,
    empty_note: str,
    shares: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    **resampling: Unpack[Resampling],
) -> dict[str, Interval]:
    """Patient-bootstrap intervals of numbers of sums.

    Args:
        features: what is summed, ``[row, feature]``.
        numbers: from sums ``[..., feature]`` to named numbers ``[...]``, NaN where one is not defined.
        patients: patient label of each row.
        empty_note: why there is no number, if there is no row.
        shares: for each number that is a share, which rows it is a share of, ``[row]``; see :func:`spread_ends`.
        resampling: for :func:`drrval.stats.resampling.patient_bootstrap`.

    Returns:
        One interval per name; ``n_scans`` is the number of rows.
    """
    if len(features) == 0:
        return {name: Interval(None, note=empty_note) for name in numbers(np.zeros(features.shape[1]))}
    groups = Patients.of(patients)
    sums = groups.unit_sums(groups.sums(features))
    found = patient_bootstrap(lambda weights: numbers(weights @ sums), groups, **resampling)
    of_share = {name: np.unique(groups.codes[rows]).size for name, rows in (shares or {}).items()}
    return {name: spread_ends(number, of_share.get(name)) for name, number in found.items()}


def spread_ends(number: Interval, n_patients: int | None = None) -> Interval:
    """Mend an interval of no width: equal resamples say nothing about the uncertainty.

    A share of 0 or 1 then gets the exact binomial interval (Clopper & Pearson, Biometrika 1934;26:404-413, doi
    10.1093/biomet/26.4.404) with its patients as the trials: exact where all rows of a patient agree, else too wide.
    Any other number gets none.

    Args:
        number: with its bootstrap interval.
        n_patients: patients that have rows the share is of; None if the number is not a share.
    """
    if number.estimate is None or number.low is None or number.high is None or number.high > number.low:
        return number
    if n_patients and number.estimate in (0.0, 1.0):
        tail = (1 - number.level) / 2
        inner = float(beta.ppf(1 - tail, 1, n_patients))
        low, high = (0.0, inner) if number.estimate == 0 else (1 - inner, 1.0)
        return replace(number, low=low, high=high, method="exact by patient", note="")
    return replace(number, low=None, high=None, method="none", note="No interval: all resamples give the same number.")


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Quotient, NaN where the denominator is not above 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def standard_deviation(n: Floats, total: Floats, squares: Floats) -> Floats:
    """Standard deviation (n - 1) from a count, a sum and a sum of squares; NaN for fewer than 2."""
    return np.sqrt(ratio(np.maximum(squares - total * ratio(total, n), 0.0), np.asarray(n) - 1))
