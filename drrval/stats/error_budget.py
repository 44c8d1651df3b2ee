"""Error budget: how many points each setting moves the result, from a sweep of one factor at a time."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from drrval.errors import StudyError
from drrval.stats.precision import check_values
from drrval.stats.resampling import Floats, Resampling
from drrval.stats.sums import bootstrap_sums, ratio

NOMINAL = "nominal"
"""Factor of the rows that hold the value of a scan at the study's own settings."""

SWEEP_COLUMNS = ["factor", "level", "subject", "session", "value"]
BUDGET_COLUMNS = [
    "factor", "n_levels", "n_scans", "n_patients", "bias", "bias_low", "bias_high", "sd", "sd_low", "sd_high",
    "max_shift", "max_shift_level", "max_shift_subject", "max_shift_session", "variance_share", "note",
]  # fmt: skip
TOTAL = "total"
_SCAN = ["subject", "session"]


def sweep_shifts(sweep: pd.DataFrame) -> pd.DataFrame:
    """Shift of each swept value from the value of the same scan at nominal settings.

    Args:
        sweep: one row per scan and level: ``factor, level, subject, session, value``; rows with factor
            :data:`NOMINAL` (one per scan) hold the value at the study's own settings.

    Returns:
        The rows of the swept factors with a column ``shift`` (points), in the order of the sweep.

    Raises:
        StudyError: a column is missing, a value is not finite, a scan has no nominal value or more than one, or a
            level of a factor has two values of one scan.
    """
    check_values(sweep, SWEEP_COLUMNS, "The sweep")
    nominal = sweep[sweep["factor"] == NOMINAL]
    _check_unique(nominal, _SCAN)
    swept = sweep[sweep["factor"] != NOMINAL]
    _check_unique(swept, ["factor", "level", *_SCAN])
    joined = swept.merge(nominal[[*_SCAN, "value"]], on=_SCAN, how="left", suffixes=("", "_nominal"))
    without = joined[joined["value_nominal"].isna()]
    if not without.empty:
        first = without.iloc[0]
        raise StudyError(
            f"Subject {first['subject']}, session {first['session']} has no row with factor {NOMINAL!r}. "
            "Measure every swept scan at the nominal settings too."
        )
    joined["shift"] = joined["value"] - joined["value_nominal"]
    return joined[[*SWEEP_COLUMNS, "shift"]]


def level_shifts(sweep: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and number of shifts per factor and level: ``factor, level, n_scans, mean, sd``."""
    grouped = sweep_shifts(sweep).groupby(["factor", "level"], sort=False)["shift"]
    table = grouped.agg(n_scans="size", mean="mean", sd="std").reset_index()
    return table[["factor", "level", "n_scans", "mean", "sd"]]


def error_budget(sweep: pd.DataFrame, **resampling: Unpack[Resampling]) -> pd.DataFrame:
    """Contribution of each factor to the measurement error.

    ``bias`` is the mean shift over levels and scans. ``sd`` is the root of the variance component: the variance of a
    scan's values over the levels of the factor, the nominal one included (n - 1), averaged over scans; so the swept
    levels should be what a site can honestly vary by. Factors are taken as independent: the total variance is the sum
    of theirs (GUM, JCGM 100:2008, 5.1.2), and ``variance_share`` a factor's part of it.

    Args:
        sweep: as for :func:`sweep_shifts`.
        resampling: see :class:`drrval.stats.resampling.Resampling`; intervals are by patient bootstrap.

    Returns:
        One row per factor, largest ``sd`` first, then the row :data:`TOTAL` (its bias and shifts are NaN):
        :data:`BUDGET_COLUMNS`; all in points, shares 0 to 1. ``max_shift`` keeps its sign and says where it was.

    Raises:
        StudyError: as :func:`sweep_shifts`.
    """
    shifts = sweep_shifts(sweep)
    rows = [_factor_row(str(factor), rows, **resampling) for factor, rows in shifts.groupby("factor", sort=False)]
    budget = pd.DataFrame(rows, columns=BUDGET_COLUMNS).sort_values("sd", ascending=False, kind="stable")
    total = float((budget["sd"] ** 2).sum())
    budget["variance_share"] = budget["sd"] ** 2 / total if total > 0 else np.nan
    last = {
        "factor": TOTAL,
        "n_levels": int(budget["n_levels"].sum()),
        "n_scans": shifts.drop_duplicates(_SCAN).shape[0],
        "n_patients": shifts["subject"].nunique(),
        "sd": np.sqrt(total),
        "variance_share": 1.0 if total > 0 else np.nan,
        "note": "Root sum of squares of the factors' SD." if total > 0 else "No factor changes the result.",
    }
    return pd.concat([budget, pd.DataFrame([last])], ignore_index=True)[BUDGET_COLUMNS]


def _factor_row(factor: str, rows: pd.DataFrame, **resampling: Unpack[Resampling]) -> dict[str, object]:
    by_scan = rows.assign(square=rows["shift"] ** 2).groupby(_SCAN, sort=False)[["shift", "square"]].sum()
    n = rows.groupby(_SCAN, sort=False).size().to_numpy(dtype=float)
    total, squares = by_scan.to_numpy(dtype=float).T
    # Over the levels and the nominal value, whose shift is 0.
    variance = np.maximum(squares - total**2 / (n + 1), 0.0) / n
    features = np.stack([n, total, np.ones_like(n), variance], axis=-1)

    def numbers(sums: Floats) -> dict[str, Floats]:
        n_shifts, total_shift, n_scans, total_variance = np.moveaxis(sums, -1, 0)
        return {"bias": ratio(total_shift, n_shifts), "sd": np.sqrt(ratio(total_variance, n_scans))}

    subjects = by_scan.index.get_level_values("subject").to_numpy()
    found = bootstrap_sums(features, numbers, subjects, "No scan.", **resampling)
    largest = rows.iloc[int(rows["shift"].abs().to_numpy().argmax())]
    row: dict[str, object] = {
        "factor": factor,
        "n_levels": rows["level"].nunique(),
        "n_scans": len(by_scan),
        "n_patients": found["sd"].n_patients,
        "max_shift": float(largest["shift"]),
        "max_shift_level": largest["level"],
        "max_shift_subject": largest["subject"],
        "max_shift_session": largest["session"],
        "note": " ".join(dict.fromkeys(number.note for number in found.values() if number.note)),
    }
    for name, number in found.items():
        row |= {name: number.estimate, f"{name}_low": number.low, f"{name}_high": number.high}
    return row


def _check_unique(rows: pd.DataFrame, keys: list[str]) -> None:
    twice = rows[rows.duplicated(keys)]
    if not twice.empty:
        first = ", ".join(f"{key} {twice.iloc[0][key]}" for key in keys)
        raise StudyError(
            f"The sweep holds more than one row for {first}. Keep one value, or name the repeats as levels."
        )
