"""How much a quantity varies between and within patients, and how well that is known.

One-way random-effects analysis of variance, patients being the groups (Searle, Casella & McCulloch, Variance
Components, 1992, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm

from drrval.stats.paired import CONSTANT
from drrval.stats.resampling import Floats, Patients

Ends = tuple[float, float]


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

    def mover_ends(self, factor: float, level: float) -> dict[str, Ends]:
        """Intervals of the standard deviation and of the mean plus and minus ``factor`` standard deviations.

        The variance of one scan is a sum of two mean squares, each with its chi-square interval; MOVER joins those
        intervals, and that of the mean (Zou, Stat. Methods Med. Res. 2013;22:630-642, doi 10.1177/0962280211402548;
        in place of its harmonic mean of the numbers of scans stands the n0 of the analysis of variance, so that
        unequal numbers keep the point estimates). Patients and errors are taken as normal.

        Args:
            factor: number of standard deviations, such as 1.96.
            level: confidence level, between 0 and 1.

        Returns:
            ``sd, lower_limit, upper_limit``, each with its two ends. Needs at least 2 patients.
        """
        spread = self(np.ones((1, len(self.sums))))
        patients, n, n_squares, total, between, squares = self.sums.sum(axis=0)
        mean, variance, sd = spread.mean[0], spread.total[0], np.sqrt(spread.total[0])
        part = (patients - 1) / (n - n_squares / n)
        terms = [(patients - 1, part * (between - total**2 / n) / (patients - 1))]
        if n > patients:
            terms.append((n - patients, (1 - part) * (squares - between) / (n - patients)))
        tail = (1 - level) / 2
        down, up = (
            np.sqrt(sum((mean_square * (freedom / chi2.ppf(p, freedom) - 1)) ** 2 for freedom, mean_square in terms))
            for p in (1 - tail, tail)
        )
        low, high = np.sqrt(max(variance - down, 0.0)), np.sqrt(variance + up)
        within = 0.0 if np.isnan(spread.within[0]) else spread.within[0]
        of_mean = float(norm.ppf(1 - tail)) * np.sqrt(spread.between[0] * n_squares / n**2 + within / n)
        far, near = np.hypot(of_mean, factor * (high - sd)), np.hypot(of_mean, factor * (sd - low))
        lower, upper = mean - factor * sd, mean + factor * sd
        return {
            "sd": (float(low), float(high)),
            "lower_limit": (float(lower - far), float(lower + near)),
            "upper_limit": (float(upper - near), float(upper + far)),
        }
