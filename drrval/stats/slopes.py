"""Slope of each patient's course per day, and how far reference and test slopes agree."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from drrval.stats.changes import NO_DAYS
from drrval.stats.courses import patient_codes
from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.regression import least_squares
from drrval.stats.resampling import Floats, Interval, Resampling, warn_of_few
from drrval.stats.sums import bootstrap_sums, ratio, standard_deviation

SLOPE_COLUMNS = ["patient", "n_scans", "days", "reference_slope", "test_slope"]


def patient_slopes(courses: pd.DataFrame) -> pd.DataFrame:
    """Least squares slope of reference and test over days, per patient.

    Args:
        courses: from :func:`drrval.stats.courses.make_courses`.

    Returns:
        One row per patient whose scans all have a date and lie on at least two different days: :data:`SLOPE_COLUMNS`;
        ``days`` from first to last scan, slopes in points per day.
    """
    known = courses["days"].notna().groupby(courses["patient"], observed=True).transform("all")
    dated = courses[known.astype(bool)]
    columns = ["days", "reference", "test"]
    by_patient = dated.groupby("patient", sort=False, observed=True)
    centred = dated[columns] - by_patient[columns].transform("mean")
    products = pd.DataFrame(
        {
            "patient": dated["patient"],
            "n_scans": 1,
            "squares": centred["days"] ** 2,
            "reference": centred["days"] * centred["reference"],
            "test": centred["days"] * centred["test"],
        }
    )
    table = products.groupby("patient", sort=False, observed=True).sum().reset_index()
    table["days"] = (by_patient["days"].max() - by_patient["days"].min()).to_numpy()
    table = table[table["days"] > 0]
    for side in ("reference", "test"):
        table[f"{side}_slope"] = table[side] / table["squares"]
    return table[SLOPE_COLUMNS].reset_index(drop=True)


def slope_agreement(courses: pd.DataFrame, **resampling: Unpack[Resampling]) -> Analysis:
    """Agreement of the patients' slopes, each patient counted once whatever the number of scans.

    Returns:
        ``pearson_r``; ``bias`` and ``sd``, mean and standard deviation of test minus reference slope, points per day;
        ``same_sign``, the share of patients whose slopes have the same sign (a slope of exactly 0 agrees with nothing).
        ``n_scans`` is the number of slopes.
    """
    slopes = patient_slopes(courses)
    reference, test = (slopes[f"{side}_slope"].to_numpy(dtype=float) for side in ("reference", "test"))
    difference = test - reference
    features = np.stack([np.ones(len(slopes)), difference, difference**2, reference * test > 0], axis=-1)

    def numbers(sums: Floats) -> dict[str, Floats]:
        n, total, squares, n_same = np.moveaxis(sums, -1, 0)
        return {"bias": ratio(total, n), "sd": standard_deviation(n, total, squares), "same_sign": ratio(n_same, n)}

    found = {"pearson_r": Interval(None, note=NO_DAYS)}
    if not slopes.empty:
        names = ("slope of the reference", "slope of the test")
        pairs = PairedScans.of(reference, test, patient_codes(slopes), names)
        found["pearson_r"] = least_squares(pairs, **resampling)["pearson_r"]
    shares = {"same_sign": np.ones(len(slopes), dtype=bool)}
    found |= bootstrap_sums(features, numbers, patient_codes(slopes), NO_DAYS, shares, **resampling)
    found["sd"] = warn_of_few(found["sd"], held=85)
    n_left_out = courses["patient"].nunique() - len(slopes)
    return Analysis(
        "patient_slopes",
        "Least squares slope over days of each patient whose scans are dated and lie on at least two days.",
        found,
        f"{n_left_out} patients without a slope left out." if n_left_out else "",
    )
