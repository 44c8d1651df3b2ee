"""Bland-Altman analysis of patients with several scans each, whose true value changes from scan to scan.

Source: Bland & Altman, J. Biopharm. Stat. 2007;17:571-582, doi 10.1080/10543400701329422, section 3: the variance of
a difference is that between patients plus that within patients, from a one-way analysis of variance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np

from drrval.stats.clustered import CLUSTERED, clustered_test
from drrval.stats.paired import CONSTANT, MIN_SCANS, Analysis, PairedScans
from drrval.stats.resampling import Floats, Interval, Resampling, patient_bootstrap
from drrval.stats.variance_components import Ends, VarianceComponents

LIMITS = (
    "Limits of agreement of repeated measures whose true value varies (Bland & Altman 2007): mean difference (y - x) "
    "over all scans, plus and minus 1.96 times the root of the variances between and within patients of a one-way "
    "analysis of variance. Each end of the intervals of sd and limits is the farther out of the patient bootstrap's, "
    "which needs many patients, and of Zou's (2013), which needs normal differences."
)
PROPORTIONAL = (
    "Least squares line of the difference (y - x) on the mean of the two (Bland & Altman 1999, section 3.2). p_value "
    f"has {CLUSTERED}."
)
# 97.5 % point of the normal distribution as Bland and Altman print it.
LIMIT_FACTOR = 1.96


def limits_of_agreement(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Bias and 95 % limits of agreement of test minus reference, with their intervals.

    Those of ``sd`` and of the limits are the wider of the patient bootstrap's and Zou's, end by end: few patients do
    not show how much patients differ, so that the bootstrap alone is too narrow; Zou's alone is too narrow where
    differences are skewed. ``python -m validation coverage`` measures what they hold.

    Returns:
        ``bias, lower_limit, upper_limit, sd, sd_between, sd_within``, in the unit of the measurements. From one
        patient only ``bias`` and ``sd_within`` are known.
    """
    components = VarianceComponents(scans.difference, scans.patients)

    def limits(weights: Floats) -> dict[str, Floats]:
        spread = components(weights)
        sd = np.sqrt(spread.total)
        return {
            "bias": spread.mean,
            "lower_limit": spread.mean - LIMIT_FACTOR * sd,
            "upper_limit": spread.mean + LIMIT_FACTOR * sd,
            "sd": sd,
            "sd_between": np.where(np.isnan(spread.within), np.nan, np.sqrt(spread.between)),
            "sd_within": np.sqrt(spread.within),
        }

    numbers = patient_bootstrap(limits, scans.patients, **resampling)
    if numbers["sd"].low is not None:
        for name, ends in components.mover_ends(LIMIT_FACTOR, numbers["sd"].level).items():
            numbers[name] = _farther_out(numbers[name], ends)
    return Analysis("limits_of_agreement", LIMITS, numbers, _limits_note(scans, numbers["sd_between"].estimate))


def proportional_bias(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Does the difference grow with the size of the measurement?

    Returns:
        ``slope`` (difference per unit of the mean) and ``intercept`` with BCa intervals, and ``p_value`` of slope 0.
        A slope also comes from x and y having unlike spreads about the same truth (Bland & Altman, Lancet
        1995;346:1085-1087, doi 10.1016/S0140-6736(95)91748-9, on why the mean of the two is taken).
    """
    names = ("slope", "intercept", "p_value")
    mean = (scans.x + scans.y) / 2
    pairs = PairedScans(mean, scans.difference, scans.patients, ("mean of the two", "difference"))
    constant = np.ptp(mean) <= CONSTANT * np.abs(mean).max()
    if scans.n_scans < MIN_SCANS or constant:
        why = f"{MIN_SCANS} scans, got {scans.n_scans}" if not constant else "means that differ, and all are equal"
        note = f"No regression of the difference: it needs at least {why}."
        return Analysis("proportional_bias", PROPORTIONAL, scans.nothing(names, note))

    def line(weights: Floats) -> dict[str, Floats]:
        m = pairs.moments(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = m.sxy / m.sxx
            return {"slope": slope, "intercept": m.mean_y - slope * m.mean_x}

    numbers = patient_bootstrap(line, scans.patients, **resampling)
    numbers["p_value"] = clustered_test(pairs, mean[:, None], pairs.y)[1]
    return Analysis("proportional_bias", PROPORTIONAL, numbers)


def _farther_out(number: Interval, ends: Ends) -> Interval:
    if number.low is None or number.high is None:
        return number
    low, high = min(number.low, ends[0]), max(number.high, ends[1])
    return replace(number, low=low, high=high, method=f"wider of {number.method} and mover")


def _limits_note(scans: PairedScans, sd_between: float | None) -> str:
    if scans.patients.n_patients < 2:
        return "One patient says nothing about the spread between patients, so there are no limits."
    if scans.n_scans == scans.patients.n_patients:
        return "One scan per patient: the variances between and within patients cannot be told apart."
    return "The variance between patients came out at or below 0 and is taken as 0." if sd_between == 0 else ""
