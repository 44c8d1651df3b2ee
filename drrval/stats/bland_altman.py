"""Bland-Altman analysis of patients with several scans each, whose true value changes from scan to scan.

Source: Bland & Altman, J. Biopharm. Stat. 2007;17:571-582, doi 10.1080/10543400701329422, section 3: the variance of
a difference is that between patients plus that within patients, from a one-way analysis of variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from drrval.stats.paired import CONSTANT, MIN_SCANS, Analysis, PairedScans
from drrval.stats.regression import clustered_test
from drrval.stats.resampling import Floats, Patients, Resampling, patient_bootstrap

LIMITS = (
    "Limits of agreement of repeated measures whose true value varies (Bland & Altman 2007): mean difference (y - x) "
    "over all scans, plus and minus 1.96 times the root of the variances between and within patients of a one-way "
    "analysis of variance."
)
PROPORTIONAL = (
    "Least squares line of the difference (y - x) on the mean of the two (Bland & Altman 1999, section 3.2). p_value "
    "is cluster-robust (CR1), Student's t with one degree of freedom fewer than patients."
)
# 97.5 % point of the normal distribution as Bland and Altman print it.
LIMIT_FACTOR = 1.96


@dataclass(frozen=True)
class Spread:
    """Mean and variance components of a quantity of each scan, ``[resample]``, in its unit and unit squared.

    With one scan per patient the components cannot be told apart: all is ``between`` and ``within`` is NaN.
    """

    mean: Floats
    between: Floats
    within: Floats

    @property
    def total(self) -> Floats:
        """Variance of one scan of a patient drawn at random."""
        return self.between + np.where(np.isnan(self.within), 0.0, self.within)


class VarianceComponents:
    """One-way random-effects analysis of variance of a quantity, patients being the groups."""

    def __init__(self, values: Floats, patients: Patients) -> None:
        """Add up ``values [scan]`` per patient."""
        self.centre = float(values.mean())
        self.rounding = CONSTANT**2 * float(np.mean(values**2))
        centred = values - self.centre
        n = patients.sums(np.ones_like(values))
        total, squares = patients.sums(centred), patients.sums(centred**2)
        self.sums = patients.unit_sums(np.stack([np.ones_like(n), n, n * n, total, total**2 / n, squares], axis=1))

    def __call__(self, weights: Floats) -> Spread:
        """Spread of every resample of ``weights [resample, unit]``; ``between`` is NaN where one patient is left.

        A variance between patients that comes out negative is set to 0.
        """
        patients, n, n_squares, total, between, squares = (weights @ self.sums).T
        within_squares = np.maximum(squares - between, 0.0)
        between_squares = np.maximum(between - total**2 / n, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            within = np.where(n > patients, within_squares / (n - patients), np.nan)
            excess = between_squares / (patients - 1) - np.where(n > patients, within, 0.0)
            component = np.maximum(excess, 0.0) / ((n - n_squares / n) / (patients - 1))
        component = np.where(component <= self.rounding, 0.0, component)
        return Spread(self.centre + total / n, component, np.where(within <= self.rounding, 0.0, within))


def limits_of_agreement(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Bias and 95 % limits of agreement of test minus reference, with patient-bootstrap intervals.

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


def _limits_note(scans: PairedScans, sd_between: float | None) -> str:
    if scans.patients.n_patients < 2:
        return "One patient says nothing about the spread between patients, so there are no limits."
    if scans.n_scans == scans.patients.n_patients:
        return "One scan per patient: the variances between and within patients cannot be told apart."
    return "The variance between patients came out at or below 0 and is taken as 0." if sd_between == 0 else ""
