"""Numbers that follow from sums over patients, so that all bootstrap resamples are one matrix product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Unpack

import numpy as np
import numpy.typing as npt

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
        shares: for each number that is a share, which rows it is a share of, ``[row]``.
        resampling: for :func:`drrval.stats.resampling.patient_bootstrap`.

    Returns:
        One interval per name; ``n_scans`` is the number of rows.
    """
    if len(features) == 0:
        return {name: Interval(None, note=empty_note) for name in numbers(np.zeros(features.shape[1]))}
    groups = Patients.of(patients)
    sums = groups.unit_sums(groups.sums(features))
    of_share = {name: int(np.count_nonzero(groups.sums(rows.astype(float)))) for name, rows in (shares or {}).items()}
    return patient_bootstrap(lambda weights: numbers(weights @ sums), groups, shares=of_share, **resampling)


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Quotient, NaN where the denominator is not above 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def standard_deviation(n: Floats, total: Floats, squares: Floats) -> Floats:
    """Standard deviation (n - 1) from a count, a sum and a sum of squares; NaN for fewer than 2."""
    return np.sqrt(ratio(np.maximum(squares - total * ratio(total, n), 0.0), np.asarray(n) - 1))
