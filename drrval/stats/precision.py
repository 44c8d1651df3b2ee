"""Precision: how far repeated measurements of one condition differ, and which change is more than that.

Definitions of the Quantitative Imaging Biomarkers Alliance: Raunig et al., Stat. Methods Med. Res. 2015;24:27-67, doi
10.1177/0962280214537344; Obuchowski & Bullen, Stat. Methods Med. Res. 2018;27:3139-3150, doi 10.1177/0962280217693662.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, kendalltau, norm

from drrval.errors import StudyError
from drrval.stats.paired import Analysis
from drrval.stats.resampling import Floats, Interval, Resampling
from drrval.stats.sums import bootstrap_sums, ratio

REPEATABILITY_COLUMNS = ["subject", "session", "condition", "value"]
NO_REPEATS = "No precision: no condition was measured twice."


@dataclass(frozen=True)
class _Conditions:
    """Repeated conditions: patient, number of values, mean and sum of squared deviations of each, ``[condition]``."""

    patients: npt.NDArray[np.object_]
    n: Floats
    mean: Floats
    squares: Floats

    @property
    def freedom(self) -> Floats:
        """Degrees of freedom, ``[condition]``."""
        return self.n - 1


def repeatability(measurements: pd.DataFrame, **resampling: Unpack[Resampling]) -> Analysis:
    """Within-subject standard deviation and repeatability coefficient from repeats of the same condition.

    The within-subject variance is the error mean square of a one-way analysis of variance over conditions, so the
    number of repeats may differ. ``repeatability_coefficient`` is ``1.96 sqrt(2)`` (2.77) times its root: 95 % of the
    differences of two measurements of one condition are smaller, so it is also the minimal detectable change of a
    single measurement. Its interval is the chi-square one, which takes all repeats as of one precision and their
    errors as normal; ``within_sd_by_patient`` is the standard deviation with a patient bootstrap, which does not.

    For errors that grow with the value, ``within_cv_percent`` is the root mean square of SD / mean over conditions
    (weighted by degrees of freedom) and ``repeatability_percent`` the percent difference that 95 % of pairs stay below.
    ``sd_mean_tau`` (Kendall, between the SD and mean of the conditions) tells which of the two fits: near 0, the
    coefficient in points; clearly positive, the one in percent.

    Args:
        measurements: one row per measurement: ``subject, session, condition`` (which together name what was measured
            again) and ``value``, finite. Conditions with one value do not count.
        resampling: see :class:`drrval.stats.resampling.Resampling`; ``level`` is that of all intervals.

    Returns:
        The numbers named above and ``sd_mean_p``; ``n_scans`` is the number of repeated measurements.

    Raises:
        StudyError: a column is missing, or a value is missing or infinite.
    """
    conditions = _conditions(measurements)
    level = resampling.get("level", 0.95)
    method = "One-way analysis of variance over repeated conditions (Raunig 2015, Obuchowski & Bullen 2018)."
    features = np.stack([conditions.squares, conditions.freedom], axis=-1)
    by_patient = bootstrap_sums(
        features,
        lambda sums: {"within_sd_by_patient": np.sqrt(ratio(sums[..., 0], sums[..., 1]))},
        conditions.patients,
        NO_REPEATS,
        **resampling,
    )
    known = Interval(
        None,
        level=level,
        n_patients=len(np.unique(conditions.patients)),
        n_scans=int(conditions.n.sum()),
        note=NO_REPEATS,
    )
    by_patient = {name: replace(number, n_scans=known.n_scans) for name, number in by_patient.items()}
    within = _scaled(known, conditions.squares.sum(), conditions.freedom.sum(), 1.0)
    factor = difference_factor(0.95)
    numbers = {
        "within_sd": within,
        "repeatability_coefficient": _scaled(known, conditions.squares.sum(), conditions.freedom.sum(), factor),
        **by_patient,
        **_relative(conditions, known, factor),
        **_sd_against_mean(conditions, known),
    }
    return Analysis("repeatability", method, numbers)


def minimal_detectable_change(within_sd: float, n_averaged: int = 1, confidence: float = 0.95) -> float:
    """Smallest change that is more than measurement error: ``z sqrt(2) wSD / sqrt(n)``.

    Args:
        within_sd: within-subject standard deviation, points, at least 0.
        n_averaged: measurements that are averaged at each time point.
        confidence: share of unchanged patients who stay below it, between 0 and 1.

    Raises:
        StudyError: an argument is outside these ranges.
    """
    if not (within_sd >= 0 and n_averaged >= 1 and 0 < confidence < 1):
        raise StudyError(
            "A minimal detectable change needs a standard deviation of at least 0, at least 1 measurement and a "
            f"confidence between 0 and 1, got {within_sd}, {n_averaged} and {confidence}."
        )
    return difference_factor(confidence) * within_sd / math.sqrt(n_averaged)


def difference_factor(confidence: float) -> float:
    """``z sqrt(2)`` with z the two-sided normal quantile: 2.77 for 0.95."""
    return float(norm.ppf((1 + confidence) / 2)) * math.sqrt(2)


def check_values(table: pd.DataFrame, columns: list[str], what: str) -> None:
    """Check that a table has its columns and that its column ``value`` is finite.

    Raises:
        StudyError: it does not.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StudyError(f"{what} has no column {', '.join(missing)}. It needs {', '.join(columns)}.")
    bad = ~np.isfinite(table["value"].to_numpy(dtype=float))
    if bad.any():
        raise StudyError(
            f"{what} holds {table['value'][bad].iloc[0]} in row {int(np.argmax(bad))}, not a finite number. "
            "Leave that row out first."
        )


def _conditions(measurements: pd.DataFrame) -> _Conditions:
    check_values(measurements, REPEATABILITY_COLUMNS, "The table of repeated measurements")
    keys = ["subject", "session", "condition"]
    by_condition = measurements.groupby(keys, sort=False, dropna=False)["value"]
    table = by_condition.agg(["size", "mean", "var"]).reset_index()
    table = table[table["size"] > 1]
    n = table["size"].to_numpy(dtype=float)
    squares = table["var"].to_numpy(dtype=float) * (n - 1)
    return _Conditions(table["subject"].to_numpy(), n, table["mean"].to_numpy(dtype=float), squares)


def _scaled(known: Interval, squares: float, freedom: float, factor: float) -> Interval:
    """Factor times the root mean square, with its chi-square interval."""
    if freedom == 0:
        return known
    tails = np.array([(1 + known.level) / 2, (1 - known.level) / 2])
    ends = factor * np.sqrt(squares / chi2.ppf(tails, freedom))
    estimate = factor * math.sqrt(squares / freedom)
    note = "" if squares > 0 else "All repeats are equal: the measurement has no scatter here."
    return replace(known, estimate=estimate, low=float(ends[0]), high=float(ends[1]), method="chi-square", note=note)


def _relative(conditions: _Conditions, known: Interval, factor: float) -> dict[str, Interval]:
    if conditions.n.size and (conditions.mean <= 0).any():
        note = "No coefficient of variation: the mean of a condition is not above 0."
        missing = replace(known, note=note)
        return {"within_cv_percent": missing, "repeatability_percent": missing}
    squares = float(np.sum(conditions.squares / conditions.mean**2))
    freedom = float(conditions.freedom.sum())
    return {
        "within_cv_percent": _scaled(known, squares, freedom, 100.0),
        "repeatability_percent": _scaled(known, squares, freedom, 100.0 * factor),
    }


def _sd_against_mean(conditions: _Conditions, known: Interval) -> dict[str, Interval]:
    spread = np.sqrt(conditions.squares / np.maximum(conditions.freedom, 1))
    plain = replace(known, note="")
    if spread.size < 3 or np.ptp(spread) == 0 or np.ptp(conditions.mean) == 0:
        note = "Not defined: it needs 3 conditions that differ in mean and in SD."
        return {name: replace(plain, note=note) for name in ("sd_mean_tau", "sd_mean_p")}
    found = kendalltau(conditions.mean, spread)
    return {
        "sd_mean_tau": replace(plain, estimate=float(found.statistic)),
        "sd_mean_p": replace(plain, estimate=float(found.pvalue)),
    }
