"""Is the trend agreement better than chance? Test values are permuted over time within each patient.

Under the null hypothesis the test's course of a patient has nothing to do with the order of the reference's. The
number of agreeing intervals is a sum over patients, who are independent, so its exact distribution is the
convolution of the patients' distributions, each from all orders of that patient's test values. Where these orders are
too many they are drawn at random, and where there are too many scans for that as well, the sum is taken as normal with
the exact mean and variance of all orders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import norm

from drrval.stats.changes import NO_INTERVALS
from drrval.stats.courses import patient_codes
from drrval.stats.paired import Analysis
from drrval.stats.resampling import Floats, Interval

METHOD = "Test values permuted over time within each patient; one-sided p of the trend accuracy."

# Test values looked at in an exact enumeration, and in a Monte Carlo test: a second or two each at most.
_EXACT_BUDGET = 100_000_000
_DRAW_BUDGET = 40_000_000
_CHUNK = 4_000_000
_SMALLEST_P = 1e-12


@dataclass(frozen=True)
class _Group:
    """Patients with one number of scans: rises of the reference ``[patient, interval]``, test ``[patient, scan]``."""

    rises: npt.NDArray[np.bool_]
    test: Floats

    def agreements(self, orders: Floats) -> npt.NDArray[np.intp]:
        """Agreeing intervals ``[..., patient]`` of test values ``[..., patient, scan]``."""
        return ((orders[..., 1:] > orders[..., :-1]) == self.rises).sum(axis=-1)


def permutation_test(courses: pd.DataFrame, n_permutations: int = 9999, seed: int = 0) -> Analysis:
    """Permutation test of the paper's trend accuracy.

    Exact where all orders of all patients are few enough to look at (about up to 8 scans per patient); otherwise
    Monte Carlo with ``n_permutations`` draws, the study itself counting as one (Phipson & Smyth 2010); beyond about
    4000 scans the normal limit. The method says which.

    Args:
        courses: from :func:`drrval.stats.courses.make_courses`.
        n_permutations: draws of a Monte Carlo test.
        seed: of those draws.

    Returns:
        ``p_value``, one-sided: chance of at least the observed agreement; ``expected_accuracy``: mean accuracy under
        the null hypothesis. ``n_scans`` is the number of intervals.
    """
    groups = _groups(courses)
    if not groups:
        nothing = Interval(None, note=NO_INTERVALS)
        return Analysis("trend_permutation", METHOD, {"p_value": nothing, "expected_accuracy": nothing})
    work = sum(group.test.size * factorial(min(group.test.shape[1], 20)) for group in groups)
    if work <= _EXACT_BUDGET:
        p_value, expected = _exact(groups)
        method = f"{METHOD} Exact: all orders of all patients."
    elif n_permutations * sum(group.test.size for group in groups) <= _DRAW_BUDGET:
        p_value, expected = _monte_carlo(groups, n_permutations, seed)
        method = f"{METHOD} Monte Carlo with {n_permutations} draws."
    else:
        p_value, expected = _normal_limit(groups)
        method = f"{METHOD} Normal limit, with the exact mean and variance of all orders."
    known = Interval(
        p_value,
        n_patients=sum(len(group.test) for group in groups),
        n_scans=sum(group.rises.size for group in groups),
    )
    numbers = {"p_value": known, "expected_accuracy": replace(known, estimate=expected)}
    return Analysis("trend_permutation", method, numbers)


def _exact(groups: list[_Group]) -> tuple[float, float]:
    """p-value and mean accuracy under the null hypothesis."""
    n_intervals, observed = sum(group.rises.size for group in groups), _observed(groups)
    distribution = _convolve([pmf for group in groups for pmf in _patient_distributions(group)], n_intervals)
    # Rounding of the Fourier transform: a smaller p cannot be told from this one.
    smallest = max(_SMALLEST_P, 1e-15 * sum(len(group.test) for group in groups))
    p_value = float(np.clip(distribution[observed:].sum(), smallest, 1.0))
    return p_value, float(distribution @ np.arange(n_intervals + 1)) / n_intervals


def _monte_carlo(groups: list[_Group], n_draws: int, seed: int) -> tuple[float, float]:
    """As :func:`_exact`, from random orders."""
    drawn = _drawn_agreements(groups, n_draws, np.random.default_rng(seed))
    p_value = float((1 + np.sum(drawn >= _observed(groups))) / (1 + n_draws))
    return p_value, float(drawn.mean()) / sum(group.rises.size for group in groups)


def _normal_limit(groups: list[_Group]) -> tuple[float, float]:
    """As :func:`_exact`, the sum over very many scans taken as normal, with a continuity correction."""
    mean, variance = (sum(part) for part in zip(*map(_moments, groups), strict=True))
    n_intervals = sum(group.rises.size for group in groups)
    # Without variance every order agrees as often as the study.
    p_value = float(norm.sf((_observed(groups) - 0.5 - mean) / variance**0.5)) if variance > 0 else 1.0
    return max(p_value, _SMALLEST_P), mean / n_intervals


def _moments(group: _Group) -> tuple[float, float]:
    """Mean and variance of the number of agreeing intervals of all patients of a group, over all orders.

    An interval agrees if its test rises where the reference does. Of 2, 3 or 4 places drawn from a patient, the
    chances of rising follow from how often values are tied: a rise has probability (1 - P(a = b)) / 2, two rises
    that share a scan P(all three differ) / 6, two that share none P(a != b, c != d) / 4.
    """
    n_patients, n = group.test.shape
    in_order = np.sort(group.test, axis=1)
    starts = np.hstack([np.ones((n_patients, 1), dtype=bool), np.diff(in_order, axis=1) > 0]).ravel()
    ties = np.diff(np.append(np.flatnonzero(starts), starts.size)).astype(float)
    owner = np.flatnonzero(starts) // n

    def chance(places: int, counts: Floats) -> Floats:
        """Probability per patient of what ``counts`` per tied value of drawing ``places`` scans in order."""
        orders = float(np.prod(np.arange(n, n - places, -1.0))) if places <= n else 1.0
        return np.bincount(owner, counts, minlength=n_patients) / orders

    twos = ties * (ties - 1)
    threes = twos * (ties - 2)
    same_two, same_three = chance(2, twos), chance(3, threes)
    both_two = chance(4, threes * (ties - 3) - twos**2 + twos * np.bincount(owner, twos)[owner])
    rise = (1 - same_two) / 2
    sign = np.where(group.rises, 1.0, -1.0)
    beside = np.sum(sign[:, 1:] * sign[:, :-1], axis=1)
    apart = (sign.sum(axis=1) ** 2 - (n - 1)) / 2 - beside
    shared = (1 - 3 * same_two + 2 * same_three) / 6 - rise**2
    variance = (n - 1) * rise * (1 - rise) + 2 * beside * shared + apart * (both_two - same_two**2) / 2
    mean = np.where(group.rises, rise[:, None], 1 - rise[:, None])
    return float(mean.sum()), float(variance.sum())


def _observed(groups: list[_Group]) -> int:
    return sum(int(group.agreements(group.test).sum()) for group in groups)


def _groups(courses: pd.DataFrame) -> list[_Group]:
    codes = patient_codes(courses)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    reference, test = (courses[side].to_numpy(dtype=float)[order] for side in ("reference", "test"))
    size_of_scan = np.repeat(sizes, sizes)
    groups = []
    for size in np.unique(sizes[sizes > 1]):
        chosen = size_of_scan == size
        course = reference[chosen].reshape(-1, size)
        groups.append(_Group(course[:, 1:] > course[:, :-1], test[chosen].reshape(-1, size)))
    return groups


def _patient_distributions(group: _Group) -> Iterator[tuple[Floats, int]]:
    """Distinct distributions of the number of agreeing intervals, each with the number of patients who have it."""
    n_scans = group.test.shape[1]
    orders = np.array(list(permutations(range(n_scans))))
    step = max(1, _CHUNK // orders.size)
    tables = []
    for start in range(0, len(group.test), step):
        part = _Group(group.rises[start : start + step], group.test[start : start + step])
        agreements = part.agreements(np.swapaxes(part.test[:, orders], 0, 1))
        cells = agreements + n_scans * np.arange(len(part.test))
        tables.append(np.bincount(cells.ravel(), minlength=n_scans * len(part.test)).reshape(-1, n_scans))
    distinct, counts = np.unique(np.concatenate(tables), axis=0, return_counts=True)
    for table, count in zip(distinct, counts, strict=True):
        yield table / len(orders), int(count)


def _convolve(distributions: list[tuple[Floats, int]], n_intervals: int) -> Floats:
    """Distribution of the sum of independent numbers, ``[0 ... n_intervals]``."""
    length = next_fast_len(n_intervals + 1, real=True)
    spectrum = np.ones(length // 2 + 1, dtype=complex)
    for distribution, count in distributions:
        spectrum *= rfft(distribution, length) ** count
    return np.clip(irfft(spectrum, length)[: n_intervals + 1], 0.0, 1.0)


def _drawn_agreements(groups: list[_Group], n_draws: int, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Agreeing intervals of each draw, ``[draw]``."""
    total = np.zeros(n_draws, dtype=np.intp)
    for group in groups:
        step = max(1, _CHUNK // group.test.size)
        for start in range(0, n_draws, step):
            shape = (min(step, n_draws - start), *group.test.shape)
            orders = generator.permuted(np.broadcast_to(group.test, shape), axis=-1)
            total[start : start + step] += group.agreements(orders).sum(axis=-1)
    return total
