"""Do 95 % intervals hold the truth 95 times in 100? Simulated studies of known truth, small and large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import ncx2

from drrval.stats.bland_altman import LIMIT_FACTOR, limits_of_agreement, proportional_bias
from drrval.stats.concordance import intraclass_correlation, lin_concordance
from drrval.stats.deming_regression import deming
from drrval.stats.deviation_index import total_deviation
from drrval.stats.mixed import mixed_model
from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.passing_bablok_regression import passing_bablok
from drrval.stats.regression import least_squares
from drrval.stats.repeated_correlation import repeated_measures_correlation
from drrval.stats.resampling import Patients
from validation import skewed_coverage, trend_coverage
from validation.markdown import table

HEAD_OF_TRENDS = (
    "Trends: courses of the power model (mean 20, patients' SD 10, course SD 6, slope 0.9, test's patient SD 3, error "
    "SD 4 points)."
)
HEAD_OF_SKEWED = "Limits of agreement of differences that are not normal (offsets and errors of SD 4 points)."
N_STUDIES, N_RESAMPLES = 1000, 2000
# The analysis that forgets patients is tried on every fourth study only.
NAIVE_EVERY = 4
LARGE, SMALL = (50, 4), (9, 3)
# Pairs of scans from which the true Passing-Bablok slope is computed.
N_PAIRS = 4_000_000
# Percentage points within which the coverage probability counts a difference.
MARGIN = 10.0
SEED = 20210330


@dataclass(frozen=True)
class Design:
    """What the simulated patients are like; ratios in percent.

    CT: a patient's mean, and scans about it. Radiograph: 5 + 0.8 CT with an offset and a slope of the patient's own,
    and an error of each scan. All normal.
    """

    mean: float = 30.0
    sd_patients: float = 12.0
    sd_scans: float = 8.0
    intercept: float = 5.0
    slope: float = 0.8
    sd_offset: float = 4.0
    sd_slope: float = 0.15
    sd_error: float = 4.0

    def draw(self, n_patients: int, n_times: int, generator: np.random.Generator) -> PairedScans:
        """Scans of new patients."""
        labels = np.repeat(np.arange(n_patients), n_times)
        patient = generator.normal(size=(3, n_patients))[:, labels]
        scan = generator.normal(size=(2, labels.size))
        x = self.mean + self.sd_patients * patient[0] + self.sd_scans * scan[0]
        own_slope = self.slope + self.sd_slope * patient[1]
        level = self.intercept + self.slope * self.mean + self.sd_offset * patient[2]
        return PairedScans.of(x, level + own_slope * (x - self.mean) + self.sd_error * scan[1], labels)


Method = Callable[[PairedScans, int, int], Analysis]
# Name, how to run it, which numbers to follow, and whether an analysis that knows of no patients makes sense.
METHODS: tuple[tuple[str, Method, tuple[str, ...], bool], ...] = (
    (
        "Least squares",
        lambda s, n, k: least_squares(s, n_resamples=n, seed=k),
        ("pearson_r", "slope", "intercept"),
        True,
    ),
    ("Deming", lambda s, n, k: deming(s, n_resamples=n, seed=k), ("slope", "intercept"), True),
    ("Passing-Bablok", lambda s, n, k: passing_bablok(s, n_resamples=n, seed=k), ("slope", "intercept"), True),
    ("Mixed model", lambda s, n, k: mixed_model(s, n_resamples=n, seed=k), ("slope", "intercept"), False),
    (
        "Limits of agreement",
        lambda s, n, k: limits_of_agreement(s, n_resamples=n, seed=k),
        ("bias", "lower_limit", "upper_limit", "sd"),
        True,
    ),
    ("Proportional bias", lambda s, n, k: proportional_bias(s, n_resamples=n, seed=k), ("slope",), True),
    ("Lin's concordance", lambda s, n, k: lin_concordance(s, n_resamples=n, seed=k), ("concordance",), True),
    (
        "Intraclass correlation",
        lambda s, n, k: intraclass_correlation(
            np.stack([s.x, s.y], axis=1), s.patients.codes, n_resamples=n, seed=k
        ),
        ("icc_2_1", "icc_3_1"),
        True,
    ),
    (
        "Repeated measures correlation",
        lambda s, n, k: repeated_measures_correlation(s, n_resamples=n, seed=k),
        ("r",),
        False,
    ),
    (
        "Total deviation",
        lambda s, n, k: total_deviation(s, MARGIN, n_resamples=n, seed=k),
        ("total_deviation_index", "coverage_probability"),
        True,
    ),
)  # fmt: skip


def report(images: Path) -> str:
    """Measure the coverage of every interval; ``images`` is not used."""
    return "\n\n".join(
        [
            main_table(),
            HEAD_OF_TRENDS,
            trend_coverage.report(LARGE, SMALL),
            HEAD_OF_SKEWED,
            skewed_coverage.report(LARGE, SMALL),
        ]
    )


def main_table() -> str:
    """Coverage of the intervals of regression and agreement."""
    true = true_values(Design())
    columns = [covered(*design, true) for design in (LARGE, SMALL)]
    heads = ["method", "number", "true value"]
    for n_patients, n_times in (LARGE, SMALL):
        heads += [f"{n_patients} x {n_times}, patients", "scans"]
    rows = []
    for name, _, numbers, _ in METHODS:
        for number in numbers:
            cells = [column.get((name, number, naive)) for column in columns for naive in (False, True)]
            shown = ["" if cell is None else f"{100 * cell:.1f}" for cell in cells]
            rows.append([name, number, f"{true[name, number]:.3f}", *shown])
    return (
        f"{N_STUDIES} simulated studies of each size, {N_RESAMPLES} resamples each; share of the 95 % intervals that "
        "hold the true value, in percent. Its own standard error is 0.7 points at 95 %. *Scans* takes each scan as a "
        f"patient of its own, as an analysis that forgets patients does (on {N_STUDIES // NAIVE_EVERY} of the studies; "
        "standard error 2.5 points at 80 %).\n\n" + table(heads, rows)
    )


def true_values(design: Design) -> dict[tuple[str, str], float]:
    """The numbers of the population, from its means and variances; only Passing-Bablok's line needs a simulation."""
    d = design
    var_x, within_x = d.sd_patients**2 + d.sd_scans**2, d.sd_scans**2
    own = d.sd_slope**2 * var_x + d.sd_offset**2 + d.sd_error**2
    cov, var_y = d.slope * var_x, d.slope**2 * var_x + own
    mean_y = d.intercept + d.slope * d.mean
    within_y = (d.slope**2 + d.sd_slope**2) * within_x + d.sd_error**2
    bias, sd = mean_y - d.mean, np.sqrt(var_x + var_y - 2 * cov)
    deming_slope = (var_y - var_x + np.hypot(var_y - var_x, 2 * cov)) / (2 * cov)
    median_slope = _median_slope(design)
    return {
        ("Least squares", "pearson_r"): cov / np.sqrt(var_x * var_y),
        ("Least squares", "slope"): d.slope,
        ("Least squares", "intercept"): d.intercept,
        ("Deming", "slope"): deming_slope,
        ("Deming", "intercept"): mean_y - deming_slope * d.mean,
        ("Passing-Bablok", "slope"): median_slope,
        ("Passing-Bablok", "intercept"): mean_y - median_slope * d.mean,
        ("Mixed model", "slope"): d.slope,
        ("Mixed model", "intercept"): d.intercept,
        ("Limits of agreement", "bias"): bias,
        ("Limits of agreement", "lower_limit"): bias - LIMIT_FACTOR * sd,
        ("Limits of agreement", "upper_limit"): bias + LIMIT_FACTOR * sd,
        ("Limits of agreement", "sd"): sd,
        ("Proportional bias", "slope"): 2 * (var_y - var_x) / (var_x + var_y + 2 * cov),
        ("Lin's concordance", "concordance"): 2 * cov / (var_x + var_y + bias**2),
        ("Intraclass correlation", "icc_2_1"): 2 * cov / (var_x + var_y + bias**2),
        ("Intraclass correlation", "icc_3_1"): 2 * cov / (var_x + var_y),
        ("Repeated measures correlation", "r"): d.slope * np.sqrt(within_x / within_y),
        ("Total deviation", "total_deviation_index"): sd * np.sqrt(ncx2.ppf(0.9, 1, (bias / sd) ** 2)),
        ("Total deviation", "coverage_probability"): ncx2.cdf((MARGIN / sd) ** 2, 1, (bias / sd) ** 2),
    }


def covered(
    n_patients: int, n_times: int, true: dict[tuple[str, str], float], n_studies: int = N_STUDIES
) -> dict[tuple[str, str, bool], float]:
    """Share of the studies whose interval holds the truth, by method, number and whether patients were forgotten."""
    generator = np.random.default_rng([SEED, n_patients])
    hits: dict[tuple[str, str, bool], list[bool]] = {}
    for study in range(n_studies):
        scans = Design().draw(n_patients, n_times, generator)
        alone = replace(scans, patients=Patients.independent(scans.n_scans))
        for name, run, numbers, naive_too in METHODS:
            for naive in (False, True) if naive_too and study % NAIVE_EVERY == 0 else (False,):
                analysis = run(alone if naive else scans, N_RESAMPLES, study)
                for number in numbers:
                    low, high = analysis[number].low, analysis[number].high
                    inside = low is not None and high is not None and low <= true[name, number] <= high
                    hits.setdefault((name, number, naive), []).append(inside)
    return {key: float(np.mean(values)) for key, values in hits.items()}


def _median_slope(design: Design) -> float:
    """Passing and Bablok's shifted median of the slopes between scans of different patients."""
    generator = np.random.default_rng(SEED)
    one, other = (design.draw(N_PAIRS, 1, generator) for _ in range(2))
    slopes = (one.y - other.y) / (one.x - other.x)
    return float(np.median(np.where(slopes < -1, np.inf, slopes)))
