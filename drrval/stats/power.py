"""How many patients and time points a study needs, by simulating it with the very intervals it will report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from drrval.errors import StudyError
from drrval.stats.course_model import CourseModel
from drrval.stats.resampling import MIN_PATIENTS, Floats, Patients, patient_bootstrap
from drrval.stats.sums import ratio

# Studies that share one draw: the draw costs most of the time, its own error should not be that of all studies.
_BATCH = 50
STATISTICS = ("pearson_r", "bias", "trend_accuracy")
POWER_COLUMNS = [
    "patients", "timepoints", "statistic", "truth", "expected_half_width", "half_width_q80", "coverage", "n_studies",
    "n_without_interval",
]  # fmt: skip


def interval_widths(
    model: CourseModel,
    patients: Sequence[int],
    timepoints: Sequence[int],
    *,
    n_studies: int = 400,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Width and coverage of patient-bootstrap intervals in simulated studies of every design.

    Studies come in batches of 50, each of which shares the bootstrap's draws of patients; their scans differ.

    Args:
        model: where the scans come from.
        patients: numbers of patients to look at, each at least 3.
        timepoints: scans per patient to look at, each at least 2.
        n_studies: simulated studies per design.
        n_resamples, level: of each interval.
        seed: of all draws.

    Returns:
        One row per design and statistic (``pearson_r``, ``bias`` in points, ``trend_accuracy``): :data:`POWER_COLUMNS`.
        ``half_width_q80`` is the half width that 80 % of studies stay below (a study without an interval has an
        endless one); ``coverage`` the share of intervals that
        hold the truth (its own standard error is about 0.011 with 400 studies).

    Raises:
        StudyError: a design is too small, or there is no study.
    """
    if min(patients, default=0) < MIN_PATIENTS or min(timepoints, default=0) < 2 or n_studies < 1:
        raise StudyError(
            f"A design needs at least {MIN_PATIENTS} patients, 2 time points and 1 simulated study, got "
            f"{list(patients)}, {list(timepoints)} and {n_studies}."
        )
    rows = []
    for design, (n_patients, n_times) in enumerate((n, t) for n in patients for t in timepoints):
        generator = np.random.default_rng([seed, design])
        batches = []
        for start in range(0, n_studies, _BATCH):
            x, y = model.simulate((min(_BATCH, n_studies - start), n_patients, n_times), generator)
            batches.append(_intervals(x, y, n_resamples, level, int(generator.integers(2**32))))
        for statistic, truth in model.truths.items():
            ends = np.concatenate([batch[statistic] for batch in batches])
            rows.append([n_patients, n_times, statistic, truth, *_summary(ends, truth)])
    return pd.DataFrame(rows, columns=POWER_COLUMNS)


def smallest_design(widths: pd.DataFrame, statistic: str, half_width: float) -> dict[str, int] | None:
    """Design with the fewest scans (then patients) whose half width stays below the wanted one in 80 % of studies.

    Args:
        widths: from :func:`interval_widths`.
        statistic: one of its statistics.
        half_width: wanted, in the statistic's unit.

    Returns:
        ``patients`` and ``timepoints``; None if no design of the table is large enough.

    Raises:
        StudyError: the statistic is unknown.
    """
    if statistic not in STATISTICS:
        raise StudyError(f"Unknown statistic {statistic!r}. Expected one of: {', '.join(STATISTICS)}.")
    fit = widths[(widths["statistic"] == statistic) & (widths["half_width_q80"] <= half_width)]
    if fit.empty:
        return None
    order = fit.assign(scans=fit["patients"] * fit["timepoints"]).sort_values(["scans", "patients"])
    return {"patients": int(order["patients"].iloc[0]), "timepoints": int(order["timepoints"].iloc[0])}


def _intervals(x: Floats, y: Floats, n_resamples: int, level: float, seed: int) -> dict[str, Floats]:
    """Ends of the intervals of every study, ``[study, 2]`` by statistic; x and y ``[study, patient, time]``."""
    n_studies, n_patients, n_times = x.shape
    centred_x, centred_y = x - x.mean(axis=(1, 2), keepdims=True), y - y.mean(axis=(1, 2), keepdims=True)
    agree = (np.diff(x, axis=2) > 0) == (np.diff(y, axis=2) > 0)
    features = (centred_x, centred_y, centred_x**2, centred_y**2, centred_x * centred_y, y - x, agree.astype(float))
    sums = [feature.sum(axis=2).T for feature in features]

    def statistic(weights: Floats) -> dict[str, Floats]:
        n = weights.sum(axis=1)[:, None] * n_times
        sx, sy, sxx, syy, sxy, difference, n_agree = (weights @ part for part in sums)
        r = ratio(sxy - sx * sy / n, np.sqrt(np.maximum(sxx - sx * sx / n, 0) * np.maximum(syy - sy * sy / n, 0)))
        numbers = (r, difference / n, n_agree / (n * (n_times - 1) / n_times))
        return {
            f"{name} {study}": values[:, study]
            for name, values in zip(STATISTICS, numbers, strict=True)
            for study in range(n_studies)
        }

    groups = Patients.of(np.repeat(np.arange(n_patients), n_times))
    shares = {f"trend_accuracy {study}": n_patients for study in range(n_studies)}
    found = patient_bootstrap(statistic, groups, shares=shares, n_resamples=n_resamples, level=level, seed=seed)
    ends = {}
    for name in STATISTICS:
        numbers = [found[f"{name} {study}"] for study in range(n_studies)]
        ends[name] = np.array([[number.low, number.high] for number in numbers], dtype=float)
    return ends


def _summary(ends: Floats, truth: float) -> list[float]:
    """Expected half width, its 80 % quantile, coverage, number of studies, and of those without an interval."""
    known = ends[np.isfinite(ends).all(axis=1)]
    n_without = len(ends) - len(known)
    if len(known) == 0:
        return [np.nan, np.inf, np.nan, len(ends), n_without]
    half = (known[:, 1] - known[:, 0]) / 2
    q80 = np.quantile(np.append(half, np.full(n_without, np.inf)), 0.8, method="higher")
    covered = np.mean((known[:, 0] <= truth) & (truth <= known[:, 1])) if np.isfinite(truth) else np.nan
    return [float(half.mean()), float(q80), float(covered), len(ends), n_without]
