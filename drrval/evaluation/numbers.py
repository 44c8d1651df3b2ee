"""Numbers that several tasks give, each with its patient-bootstrap interval."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from drrval.evaluation.task import Numbers, Scored
from drrval.stats.paired import PairedScans
from drrval.stats.resampling import MIN_PATIENTS, Floats, Interval, Patients, Resampling
from drrval.stats.roc import ScoredScans, auc, operating_points
from drrval.stats.sums import bootstrap_sums, ratio, standard_deviation


def share(hits: pd.Series, patients: pd.Series, how: Resampling) -> Interval:
    """Share of rows that are 1 (of 0 and 1)."""
    features = np.column_stack([np.ones(len(hits)), hits.to_numpy(dtype=float)])
    every = {"share": np.ones(len(hits), dtype=bool)}
    return bootstrap_sums(
        features, lambda s: {"share": ratio(s[..., 1], s[..., 0])}, patients, "No row.", every, **how
    )["share"]


def mean_and_sd(table: pd.DataFrame, column: str, name: str, how: Resampling) -> dict[str, Interval]:
    """Mean of a column and its standard deviation between rows, as ``NAME`` and ``NAME_sd``; missing values do not
    count."""
    known = table[table[column].notna()]
    values = known[column].to_numpy(dtype=float)
    features = np.column_stack([np.ones_like(values), values, values**2])

    def moments(sums: Floats) -> dict[str, Floats]:
        n, total, squares = np.moveaxis(sums, -1, 0)
        return {name: ratio(total, n), f"{name}_sd": standard_deviation(n, total, squares)}

    return bootstrap_sums(features, moments, known["patient"], f"No {name} is known.", **how)


def errors(scans: PairedScans, how: Resampling) -> dict[str, Interval]:
    """How far the test lies from the reference.

    Returns:
        ``mae``, the mean absolute difference, and ``r2_prediction``, the coefficient of determination of the test taken
        as a prediction: 1 - sum of squared differences / sum of squares of the reference about its mean. Unlike the
        squared correlation it also counts bias and a wrong slope, and can be below 0.
    """
    centred = scans.x - scans.x.mean()
    features = np.column_stack(
        [np.ones_like(centred), centred, centred**2, np.abs(scans.difference), scans.difference**2]
    )

    def of_sums(sums: Floats) -> dict[str, Floats]:
        n, total, squares, absolute, lost = np.moveaxis(sums, -1, 0)
        spread = squares - total * ratio(total, n)
        return {"mae": ratio(absolute, n), "r2_prediction": 1 - ratio(lost, np.where(spread > 1e-12, spread, 0.0))}

    return bootstrap_sums(features, of_sums, scans.patients.codes, "No row.", **how)


def detection_numbers(scored: Scored, probability: str) -> tuple[ScoredScans, Numbers]:
    """Area under the ROC curve of a probability against ``label``, and the rates at the scorer's threshold.

    Returns:
        The rows as the ROC functions take them, and ``auc`` (patient bootstrap), ``auc_clustered`` (Obuchowski's
        interval, from three patients on) and, with a threshold, ``sensitivity, specificity, positive_predictive_value,
        negative_predictive_value`` and ``accuracy``.
    """
    table, how = scored.table, scored.how
    scans = ScoredScans.of(table[probability], table["label"], Patients.of(table["patient"]).codes)
    areas = auc(scans, **how).numbers
    enough = scans.patients.n_patients >= MIN_PATIENTS
    numbers = {name: areas[name] for name in ("auc", *(["auc_clustered"] if enough else []))}
    if scored.threshold is None:
        return scans, numbers
    for row in operating_points(scans, [scored.threshold.value], **how).to_dict("records"):
        numbers[str(row["quantity"])] = _interval(row)
    right = (table[probability] >= scored.threshold.value) == table["label"].astype(bool)
    numbers["accuracy"] = share(right, table["patient"], how)
    return scans, numbers


def number_json(number: Interval, unit: str) -> dict[str, Any]:
    """A number, JSON-ready: ``estimate, low, high, level, interval`` (how the ends were found), ``n_patients``,
    ``n_images`` (or scans, slices), ``n_resamples, n_failed, note``."""
    values = asdict(number)
    values["interval"] = values.pop("method")
    values[f"n_{unit}s"] = values.pop("n_scans")
    return values


def _interval(row: dict[Any, Any]) -> Interval:
    """An interval of a row of a table, in which a missing number is NaN."""
    estimate, low, high = (None if pd.isna(row[name]) else float(row[name]) for name in ("estimate", "low", "high"))
    n_patients, n_scans = int(row["n_patients"]), int(row["n_scans"])
    level, note = float(row["level"]), str(row["note"])
    return Interval(estimate, low, high, level, str(row["method"]), n_patients, n_scans, note=note)
