"""Do the 95 % intervals of trend numbers hold the truth? Simulated courses of known truth, small and large."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from drrval.stats.changes import (
    change_line,
    direction_agreement,
    polar_concordance,
    quadrant_concordance,
    zone_agreement,
)
from drrval.stats.course_model import CourseModel
from drrval.stats.courses import change_table
from drrval.stats.paired import Analysis
from drrval.stats.resampling import Resampling
from drrval.stats.slopes import slope_agreement
from validation.markdown import table

N_STUDIES, N_RESAMPLES = 400, 2000
MODEL = CourseModel(
    mean=20.0, between_sd=10.0, course_sd=6.0, intercept=1.0, slope=0.9, test_patient_sd=3.0, error_sd=4.0
)
# Changes that may be measurement error, points, of reference and test.
ZONES = (3.0, 5.0)
# Patients of the one large study whose numbers count as the truth.
N_TRUE = 100_000
SEED = 20210330

Method = Callable[[pd.DataFrame, pd.DataFrame, Resampling], Analysis]
# Name, how to run it on courses and their changes, and which numbers to follow.
METHODS: tuple[tuple[str, Method, tuple[str, ...]], ...] = (
    ("Labels", lambda _, c, how: direction_agreement(c, **how), ("trend_accuracy", "cohen_kappa", "gwet_ac1")),
    ("Three labels", lambda _, c, how: zone_agreement(c, *ZONES, **how), ("accuracy", "weighted_kappa", "gwet_ac2")),
    ("Four quadrants", lambda _, c, how: quadrant_concordance(c, max(ZONES), **how), ("concordance", "share_kept")),
    (
        "Polar plot",
        lambda _, c, how: polar_concordance(c, max(ZONES), **how),
        ("concordance", "bias_degrees", "sd_degrees"),
    ),
    ("Line of changes", lambda _, c, how: change_line(c, **how), ("pearson_r", "slope")),
    ("Patients' slopes", lambda k, _, how: slope_agreement(k, **how), ("pearson_r", "bias", "sd", "same_sign")),
)


def report(large: tuple[int, int], small: tuple[int, int]) -> str:
    """Measure studies of so many patients and scans each."""
    columns = [(dict(true_values(n_times)), covered(n_patients, n_times)) for n_patients, n_times in (large, small)]
    heads = ["method", "number"]
    for n_patients, n_times in (large, small):
        heads += [f"true, {n_patients} x {n_times}", "patients"]
    rows = []
    for name, _, numbers in METHODS:
        for number in numbers:
            cells = [
                text
                for true, share in columns
                for text in (f"{true[name, number]:.3f}", f"{100 * share[name, number]:.1f}")
            ]
            rows.append([name, number, *cells])
    return (
        f"{N_STUDIES} simulated studies of each size, {N_RESAMPLES} resamples each: standard error 1.1 points at 95 %. "
        f"Zones {ZONES[0]:g} (CT) and {ZONES[1]:g} points; the true values are those of {N_TRUE} patients.\n\n"
        + table(heads, rows)
    )


def simulated(n_patients: int, n_times: int, generator: np.random.Generator) -> pd.DataFrame:
    """Courses of new patients with a scan every 30 days."""
    x, y = MODEL.simulate((n_patients, n_times), generator)
    days = np.tile(30.0 * np.arange(n_times), n_patients)
    labels = np.repeat(np.arange(n_patients), n_times)
    return pd.DataFrame({"patient": labels, "time": days, "days": days, "reference": x.ravel(), "test": y.ravel()})


def true_values(n_times: int) -> Iterator[tuple[tuple[str, str], float]]:
    """The numbers of one very large study."""
    courses = simulated(N_TRUE, n_times, np.random.default_rng([SEED, n_times]))
    changes = change_table(courses)
    for name, run, numbers in METHODS:
        analysis = run(courses, changes, {"n_resamples": 1})
        for number in numbers:
            yield (name, number), float(analysis[number].estimate or 0.0)


def covered(n_patients: int, n_times: int) -> dict[tuple[str, str], float]:
    """Share of the studies whose interval holds the truth; a study without an interval does not."""
    true = dict(true_values(n_times))
    generator = np.random.default_rng([SEED, n_patients])
    hits: dict[tuple[str, str], list[bool]] = {key: [] for key in true}
    for study in range(N_STUDIES):
        courses = simulated(n_patients, n_times, generator)
        changes = change_table(courses)
        for name, run, numbers in METHODS:
            analysis = run(courses, changes, {"n_resamples": N_RESAMPLES, "seed": study})
            for number in numbers:
                low, high = analysis[number].low, analysis[number].high
                inside = low is not None and high is not None and low <= true[name, number] <= high
                hits[name, number].append(inside)
    return {key: float(np.mean(values)) for key, values in hits.items()}
