"""Agreement of changes between scans: paper's labels, exclusion zone, four quadrants, polar plot, line of changes.

Each analysis takes changes from :func:`drrval.stats.courses.change_table`, one row per interval between two scans of
a patient. Changes are in points (percentage points if the values are percent). In the numbers, ``n_scans`` is the
number of intervals and ``n_patients`` that of the patients who have one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np
import pandas as pd

from drrval.errors import StudyError
from drrval.stats.categories import (
    cohen_kappa,
    gwet_ac,
    label_counts,
    label_share,
    linear_weights,
    no_information_p,
    no_information_rate,
    observed_agreement,
)
from drrval.stats.courses import patient_codes
from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.regression import least_squares
from drrval.stats.resampling import Floats, Interval, Resampling, warn_of_few
from drrval.stats.sums import bootstrap_sums, ratio, standard_deviation

POLAR_LIMIT_DEGREES = 30.0
"""Angle from the line of identity within which two changes agree (Critchley et al. 2011)."""

NO_INTERVALS = "No trend: no patient has two scans."
NO_DAYS = "No figure per day: no interval between two scans has a length in days."
_LINE = ("pearson_r", "slope", "intercept", "r_squared", "p_value", "p_value_clustered")


def change_labels(changes: Floats, zone: float) -> np.ndarray:
    """Label each change: 0 improved (below ``-zone``), 1 stable, 2 worse (above ``zone``), ``[interval]``.

    Args:
        changes: current minus previous value; more is worse (more disease).
        zone: largest change that may be measurement error, such as the minimal detectable change; at least 0.

    Raises:
        StudyError: the zone is negative or not a number.
    """
    _check_zone(zone)
    return 1 + (changes > zone).astype(int) - (changes < -zone).astype(int)


def direction_agreement(changes: pd.DataFrame, **resampling: Unpack[Resampling]) -> Analysis:
    """Agreement of the paper's two labels (1: current above previous, else 0).

    Returns:
        ``trend_accuracy`` (the paper's), ``no_information_rate`` (share of the more frequent label of the reference:
        the accuracy of always guessing it; without an interval, it describes these scans),
        ``gain_over_no_information`` (their difference) and its one-sided exact binomial ``no_information_p``,
        ``cohen_kappa`` and ``gwet_ac1``.
    """
    rising = [(changes[f"{side}_change"] > 0).to_numpy(dtype=np.intp) for side in ("reference", "test")]
    features = label_counts(rising[0], rising[1], 2)
    observed = _square(features.sum(axis=0), 2)
    guess = int(observed.sum(axis=1).argmax())

    def numbers(sums: Floats) -> dict[str, Floats]:
        counts = _square(sums, 2)
        accuracy = observed_agreement(counts)
        return {
            "trend_accuracy": accuracy,
            # The guessed label stays that of the study: a maximum over labels would be too large in resamples.
            "gain_over_no_information": accuracy - label_share(counts, guess),
            "cohen_kappa": cohen_kappa(counts),
            "gwet_ac1": gwet_ac(counts),
        }

    shares = {"trend_accuracy": np.ones(len(changes), dtype=bool)}
    found = bootstrap_sums(features, numbers, patient_codes(changes), NO_INTERVALS, shares, **resampling)
    beside = found["trend_accuracy"]
    rate, p_value = (
        (None, None) if changes.empty else (float(no_information_rate(observed)), no_information_p(observed))
    )
    found["no_information_rate"] = _plain(rate, beside)
    found["no_information_p"] = _plain(p_value, beside, "Intervals are taken as independent.")
    return Analysis(
        "trend_direction",
        "Share of intervals between successive scans whose two labels agree (label 1 if current / previous > 1, with "
        "previous 0: if current > 0; else 0), against the share of the reference's more frequent label, and "
        "beyond chance (Cohen 1960, Gwet 2008).",
        found,
    )


def zone_agreement(
    changes: pd.DataFrame, reference_zone: float, test_zone: float, **resampling: Unpack[Resampling]
) -> Analysis:
    """Agreement of the three labels of :func:`change_labels`.

    Args:
        changes: see the module.
        reference_zone, test_zone: exclusion zone of either side, points, at least 0.
        resampling: see :class:`drrval.stats.resampling.Resampling`.

    Returns:
        ``accuracy``, ``no_information_rate`` and, with linear weights, ``weighted_kappa`` and ``gwet_ac2``.
    """
    reference, test = _changes(changes)
    features = label_counts(change_labels(reference, reference_zone), change_labels(test, test_zone), 3)
    weights = linear_weights(3)

    def numbers(sums: Floats) -> dict[str, Floats]:
        counts = _square(sums, 3)
        return {
            "accuracy": observed_agreement(counts),
            "weighted_kappa": cohen_kappa(counts, weights),
            "gwet_ac2": gwet_ac(counts, weights),
        }

    shares = {"accuracy": np.ones(len(changes), dtype=bool)}
    found = bootstrap_sums(features, numbers, patient_codes(changes), NO_INTERVALS, shares, **resampling)
    rate = None if changes.empty else float(no_information_rate(_square(features.sum(axis=0), 3)))
    found["no_information_rate"] = _plain(rate, found["accuracy"])
    return Analysis(
        "trend_zone",
        f"Labels improved / stable / worse; stable is a change of at most {reference_zone:g} points (reference) or "
        f"{test_zone:g} points (test). Kappa and AC2 with linear weights (Cohen 1968, Gwet 2008).",
        found,
    )


def quadrant_concordance(changes: pd.DataFrame, zone: float, **resampling: Unpack[Resampling]) -> Analysis:
    """Four-quadrant concordance: share of intervals whose two changes have the same sign, small changes left out.

    Left out are intervals with both changes within the square ``[-zone, zone]`` (Critchley, Lee & Ho, Anesth. Analg.
    2010;111:1180-1192, doi 10.1213/ANE.0b013e3181f08a5b; Saugel, Grothe & Wagner, Anesth. Analg. 2015;121:514-524, doi
    10.1213/ANE.0000000000000725). A change of exactly 0 has no sign, so it agrees with nothing; two such changes are
    always left out.

    Returns:
        ``concordance``, and ``share_kept``, the share of intervals that are not left out.
    """
    _check_zone(zone)
    reference, test = _changes(changes)
    kept = (np.abs(reference) > zone) | (np.abs(test) > zone)
    features = np.stack([np.ones(kept.size), kept, kept & (reference * test > 0)], axis=-1).astype(float)

    def numbers(sums: Floats) -> dict[str, Floats]:
        n, n_kept, n_same = np.moveaxis(sums, -1, 0)
        return {"concordance": ratio(n_same, n_kept), "share_kept": ratio(n_kept, n)}

    shares = {"concordance": kept, "share_kept": np.ones(kept.size, dtype=bool)}

    return Analysis(
        "four_quadrant",
        f"Share of changes of one sign; intervals with both changes within {zone:g} points left out (Critchley 2010).",
        bootstrap_sums(features, numbers, patient_codes(changes), NO_INTERVALS, shares, **resampling),
    )


def polar_coordinates(reference: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Polar plot of changes (Critchley, Yang & Lee, J. Cardiothorac. Vasc. Anesth. 2011;25:536-546).

    Returns:
        Radius, the size of the mean of the two changes, points; and angle from the line of identity, degrees,
        -90 to 90: 0 where both changes are equal, positive where the test changes more than the reference. Decreases
        are turned by 180 degrees.
    """
    mean = (reference + test) / 2
    turn = np.where(mean < 0, -1.0, 1.0)
    return np.abs(mean), np.degrees(np.arctan2(turn * test, turn * reference)) - 45.0


def polar_concordance(changes: pd.DataFrame, zone: float, **resampling: Unpack[Resampling]) -> Analysis:
    """Polar agreement of changes whose mean is larger than ``zone``.

    Returns:
        ``concordance`` (share within 30 degrees of the line of identity), ``bias_degrees`` (mean angle) and
        ``sd_degrees``; radial limits of agreement are bias -+ 1.96 SD.
    """
    _check_zone(zone)
    radius, angle = polar_coordinates(*_changes(changes))
    kept = radius > zone
    angle = np.where(kept, angle, 0.0)
    near = kept & (np.abs(angle) <= POLAR_LIMIT_DEGREES)
    features = np.stack([kept, near, angle, angle**2], axis=-1).astype(float)

    def numbers(sums: Floats) -> dict[str, Floats]:
        n, n_near, total, squares = np.moveaxis(sums, -1, 0)
        return {
            "concordance": ratio(n_near, n),
            "bias_degrees": ratio(total, n),
            "sd_degrees": standard_deviation(n, total, squares),
        }

    shares = {"concordance": kept}
    found = bootstrap_sums(features, numbers, patient_codes(changes), NO_INTERVALS, shares, **resampling)
    found["sd_degrees"] = warn_of_few(found["sd_degrees"], held=84)
    return Analysis(
        "polar",
        f"Angle of (reference change, test change) from the line of identity, mean changes within {zone:g} points left "
        f"out; concordance within {POLAR_LIMIT_DEGREES:g} degrees (Critchley 2011).",
        found,
    )


def change_line(changes: pd.DataFrame, **resampling: Unpack[Resampling]) -> Analysis:
    """Correlation and least squares line of the test's change on the reference's, as for scans."""
    return _line(changes, "change_line", "change between successive scans", NO_INTERVALS, **resampling)


def rate_line(changes: pd.DataFrame, **resampling: Unpack[Resampling]) -> Analysis:
    """As :func:`change_line` for changes per day; intervals without a length in days, or of 0 days, are left out."""
    dated = changes[changes["days"] > 0]
    rates = dated.assign(
        reference_change=dated["reference_change"] / dated["days"], test_change=dated["test_change"] / dated["days"]
    )
    analysis = _line(rates, "rate_line", "change per day", NO_DAYS, **resampling)
    n_left_out = len(changes) - len(dated)
    return replace(analysis, note=f"{n_left_out} intervals without a length in days left out." if n_left_out else "")


def _line(changes: pd.DataFrame, name: str, what: str, empty_note: str, **resampling: Unpack[Resampling]) -> Analysis:
    method = f"Correlation and least squares line of the test's {what} on the reference's."
    if changes.empty:
        return Analysis(name, method, {number: Interval(None, note=empty_note) for number in _LINE})
    reference, test = _changes(changes)
    pairs = PairedScans.of(reference, test, patient_codes(changes), (f"{what} of the reference", f"{what} of the test"))
    return replace(least_squares(pairs, **resampling), name=name, method=method)


def _changes(changes: pd.DataFrame) -> tuple[Floats, Floats]:
    return changes["reference_change"].to_numpy(dtype=float), changes["test_change"].to_numpy(dtype=float)


def _square(sums: Floats, n_labels: int) -> Floats:
    return sums.reshape(*sums.shape[:-1], n_labels, n_labels)


def _plain(estimate: float | None, beside: Interval, note: str = "") -> Interval:
    return Interval(
        estimate, n_patients=beside.n_patients, n_scans=beside.n_scans, note=beside.note if estimate is None else note
    )


def _check_zone(zone: float) -> None:
    if not zone >= 0:
        raise StudyError(
            f"An exclusion zone is a change of at least 0 points, got {zone}. Pass the minimal detectable change."
        )
