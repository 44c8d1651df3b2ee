"""Do the 95 % limits of agreement hold the truth where differences are skewed or heavy-tailed? Simulated studies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drrval.stats.bland_altman import LIMIT_FACTOR, limits_of_agreement
from drrval.stats.paired import PairedScans
from drrval.stats.resampling import Floats
from validation.markdown import table

N_STUDIES, N_RESAMPLES = 500, 2000
# Standard deviations of a patient's own offset and of the error of a scan, points.
SD_OFFSET, SD_ERROR = 4.0, 4.0
SEED = 20210331

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
# Offsets and errors of mean 0 and variance 1: the first are skewed, the second have heavy tails.
DISTRIBUTIONS: dict[str, Draw] = {
    "exponential": lambda generator, size: generator.exponential(size=size) - 1.0,
    "Student's t, 5 degrees of freedom": lambda generator, size: generator.standard_t(5, size) * np.sqrt(3 / 5),
}
NUMBERS = ("bias", "lower_limit", "upper_limit", "sd")


def report(large: tuple[int, int], small: tuple[int, int]) -> str:
    """Measure studies of so many patients and scans each."""
    rows = []
    for name, draw in DISTRIBUTIONS.items():
        columns = [covered(draw, *design) for design in (large, small)]
        rows += [[name, number, *(f"{100 * column[number]:.1f}" for column in columns)] for number in NUMBERS]
    heads = ["patients' offsets and errors", "number", *(f"{n} x {times}, patients" for n, times in (large, small))]
    head = f"{N_STUDIES} simulated studies of each size, {N_RESAMPLES} resamples each: standard error 1 point at 95 %."
    return f"{head}\n\n{table(heads, rows)}"


def covered(draw: Draw, n_patients: int, n_times: int) -> dict[str, float]:
    """Share of the studies whose interval holds the truth, by number."""
    sd = np.hypot(SD_OFFSET, SD_ERROR)
    true = {"bias": 0.0, "lower_limit": -LIMIT_FACTOR * sd, "upper_limit": LIMIT_FACTOR * sd, "sd": sd}
    generator = np.random.default_rng([SEED, n_patients])
    labels = np.repeat(np.arange(n_patients), n_times)
    hits: dict[str, list[bool]] = {name: [] for name in NUMBERS}
    for study in range(N_STUDIES):
        x = 30 + 8 * generator.normal(size=labels.size)
        offset = SD_OFFSET * draw(generator, (n_patients,))
        difference = offset[labels] + SD_ERROR * draw(generator, labels.shape)
        scans = PairedScans.of(x, x + difference, labels)
        found = limits_of_agreement(scans, n_resamples=N_RESAMPLES, seed=study)
        for name in NUMBERS:
            low, high = found[name].low, found[name].high
            hits[name].append(low is not None and high is not None and low <= true[name] <= high)
    return {name: float(np.mean(values)) for name, values in hits.items()}
