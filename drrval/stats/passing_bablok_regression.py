"""Passing-Bablok regression: a line that outliers do not move, from the slopes between all pairs of scans.

Source: Passing & Bablok, J. Clin. Chem. Clin. Biochem. 1983;21:709-720, doi 10.1515/cclm.1983.21.11.709.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import kolmogorov

from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.resampling import Floats, Interval, Patients, Resampling, Statistic, patient_bootstrap

METHOD = (
    "Passing-Bablok regression (1983): median of the slopes between all pairs of scans, shifted by the number of "
    "slopes below -1; pairs of equal scans and slopes of exactly -1 do not count. cusum_p is the p-value of their "
    "cusum test of linearity, which takes all scans as independent."
)
# All pairs of this many scans are half a million slopes; of a larger table, patients are drawn at random.
MAX_SCANS = 1000
# Decimal numbers such as 0.3 - 0.1 carry this relative rounding.
_ROUNDING = 1e-12


def passing_bablok(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Passing-Bablok line with patient-bootstrap intervals, and the cusum test of linearity.

    Returns:
        ``slope, intercept, cusum_p``. Beyond :data:`MAX_SCANS` scans it uses that many of randomly drawn patients
        and says so.
    """
    names = ("slope", "intercept", "cusum_p")
    if problem := scans.problem("regression"):
        return Analysis("passing_bablok", METHOD, scans.nothing(names, problem))
    some = _some_patients(scans)
    note = "" if some is scans else f"From {some.n_scans} scans of patients drawn at random out of {scans.n_scans}."
    numbers = patient_bootstrap(_shifted_median(some), some.patients, **resampling)
    slope, intercept = numbers["slope"].estimate, numbers["intercept"].estimate
    if slope is None or intercept is None:
        why = "The median slope is vertical or below -1: the method needs columns that rise together."
        numbers = {name: replace(number, note=why) for name, number in numbers.items()}
        return Analysis("passing_bablok", METHOD, {**numbers, "cusum_p": some.plain(None, why)}, note)
    numbers["cusum_p"] = _cusum_test(some, slope, intercept)
    return Analysis("passing_bablok", METHOD, numbers, note)


def _some_patients(scans: PairedScans) -> PairedScans:
    if scans.n_scans <= MAX_SCANS:
        return scans
    codes = scans.patients.codes
    order = np.random.default_rng(scans.patients.n_patients).permutation(scans.patients.n_patients)
    place = np.argsort(order)
    chosen = np.sort(np.argsort(place[codes], kind="stable")[:MAX_SCANS])
    return PairedScans(scans.x[chosen], scans.y[chosen], Patients.of(codes[chosen]), scans.names)


def _shifted_median(scans: PairedScans) -> Statistic:
    first, second, slopes = sorted_slopes(scans.x, scans.y)

    def line(weights: Floats) -> dict[str, Floats]:
        per_scan = np.ascontiguousarray(weights[:, scans.patients.scan_units])
        places = _median_places(first, second, per_scan)
        with np.errstate(invalid="ignore"):
            slope = slopes[places].mean(axis=1) if slopes.size else np.full(len(weights), np.nan)
        slope[(places[:, 1] < 0) | (slope < -1) | ~np.isfinite(slope)] = np.nan
        return {"slope": slope, "intercept": _weighted_median(scans.y - slope[:, None] * scans.x, per_scan)}

    return line


def sorted_slopes(x: Floats, y: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Slopes between all pairs of scans that count, in the order in which the plain median is the shifted one.

    Slopes below -1 (and, of vertical pairs, either sign) come after the rising ones: the median of that order is
    the paper's median shifted by the number K of slopes below -1.

    Args:
        x, y: ``[scan]``.

    Returns:
        The two scans of each pair and the slope between them, ``[pair]``; vertical pairs have slope ``inf``.
    """
    first, second = np.triu_indices(x.size, 1)
    dx, dy = x[second] - x[first], y[second] - y[first]
    rounding = _ROUNDING * max(np.abs(x).max(), np.abs(y).max())
    dx[np.abs(dx) <= rounding] = 0.0
    dy[np.abs(dy) <= rounding] = 0.0
    counts = ((dx != 0) | (dy != 0)) & (np.abs(dx + dy) > rounding)
    first, second, dx, dy = first[counts], second[counts], dx[counts], dy[counts]
    with np.errstate(divide="ignore"):
        slopes = np.where(dx == 0, np.inf, dy / dx)
    order = np.lexsort((slopes, slopes < -1))
    return first[order], second[order], slopes[order]


@njit(cache=True)
def _median_places(first, second, weights):  # type: ignore[no-untyped-def]
    """Places of the lower and upper median of the pairs under ``weights [resample, scan]``; -1 where none counts.

    A scan drawn v times and another drawn w times make v * w pairs.
    """
    places = np.full((weights.shape[0], 2), -1)
    running = np.zeros(first.size)
    for row in range(weights.shape[0]):
        scan_weights, total = weights[row], 0.0
        for k in range(first.size):
            total += scan_weights[first[k]] * scan_weights[second[k]]
            running[k] = total
        if total > 0:
            places[row, 0] = np.searchsorted(running, np.floor((total + 1) / 2))
            places[row, 1] = np.searchsorted(running, np.floor(total / 2) + 1)
    return places


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """Median of ``values [resample, scan]`` repeated as often as ``weights`` says, ``[resample]``."""
    order = np.argsort(values, axis=1)
    running = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    total = running[:, -1:]
    places = [np.argmax(running >= half, axis=1)[:, None] for half in (np.floor((total + 1) / 2), total // 2 + 1)]
    ends = [np.take_along_axis(values, np.take_along_axis(order, place, axis=1), axis=1)[:, 0] for place in places]
    return (ends[0] + ends[1]) / 2


def _cusum_test(scans: PairedScans, slope: float, intercept: float) -> Interval:
    """Passing and Bablok's test: do scans above and below the line take turns along it? (1983, section 3)."""
    residuals = scans.y - intercept - slope * scans.x
    residuals[np.abs(residuals) <= _ROUNDING * np.abs(scans.y).max()] = 0.0
    above, below = int((residuals > 0).sum()), int((residuals < 0).sum())
    if above == 0 or below == 0 or slope <= 0:
        return scans.plain(None, "No cusum test: it needs a rising line with scans on both sides.")
    scores = np.where(residuals > 0, np.sqrt(below / above), np.where(residuals < 0, -np.sqrt(above / below), 0.0))
    along = np.argsort(scans.y + scans.x / slope, kind="stable")
    largest = float(np.abs(np.cumsum(scores[along])).max())
    return scans.plain(float(kolmogorov(largest / np.sqrt(below + 1))))
