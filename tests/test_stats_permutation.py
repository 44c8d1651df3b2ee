"""Permutation test of the trend accuracy: exact, drawn and normal, each against all orders one by one."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from course_factory import courses, random_courses
from scipy.stats import binomtest

from drrval.stats import permutation
from drrval.stats.permutation import permutation_test


def brute_force_p(table: pd.DataFrame) -> float:
    """All joint orders of all patients' test values, one by one."""
    sides = [(course["reference"].to_numpy(), course["test"].to_numpy()) for _, course in table.groupby("patient")]

    def agreements(test: tuple[np.ndarray, ...]) -> int:
        return sum(int(np.sum((np.diff(x) > 0) == (np.diff(y) > 0))) for (x, _), y in zip(sides, test, strict=True))

    observed = agreements(tuple(y for _, y in sides))
    joint = [agreements(orders) for orders in product(*[map(np.array, permutations(y)) for _, y in sides])]
    return float(np.mean([number >= observed for number in joint]))


def test_exact_permutation_against_brute_force() -> None:
    table = courses(([1, 5, 3], [2, 6, 1]), ([4, 2, 2, 8], [1, 1, 0, 5]), ([1, 2], [5, 6]), ([9, 9, 9], [1, 2, 2]))
    found = permutation_test(table)
    assert found["p_value"].estimate == pytest.approx(brute_force_p(table), abs=1e-12)
    assert "Exact" in found.method
    assert found["p_value"].n_scans == 8


def test_monte_carlo_permutation_agrees_with_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_courses(6, 4, seed=5)
    exact = permutation_test(table)
    monkeypatch.setattr("drrval.stats.permutation._EXACT_BUDGET", 0)
    drawn = permutation_test(table, n_permutations=20_000, seed=1)
    assert "Monte Carlo with 20000 draws" in drawn.method
    p_value = exact["p_value"].estimate
    assert drawn["p_value"].estimate == pytest.approx(p_value, abs=4 * np.sqrt(p_value * (1 - p_value) / 20_000))
    assert drawn["expected_accuracy"].estimate == pytest.approx(exact["expected_accuracy"].estimate, abs=0.01)


def test_permutation_p_is_honest_under_the_null() -> None:
    # Test values have nothing to do with the reference: P(p <= 0.05) is at most 0.05.
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(400):
        x, y = generator.normal(size=(2, 8, 3))
        table = pd.DataFrame({"patient": np.repeat(np.arange(8), 3), "reference": x.ravel(), "test": y.ravel()})
        p_values.append(permutation_test(table)["p_value"].estimate)
    low = sum(p <= 0.05 for p in p_values)
    assert binomtest(low, 400, 0.05, alternative="greater").pvalue > 0.01
    assert np.mean(p_values) > 0.5


def test_many_scans_per_patient_are_drawn() -> None:
    # Test and reference rise and fall together in all 44 intervals, which no random order does.
    found = permutation_test(random_courses(4, 12, noise=0.0), n_permutations=199)
    assert "Monte Carlo with 199 draws" in found.method
    assert found["p_value"].estimate == pytest.approx(1 / 200)


@pytest.mark.parametrize("n_values", [1, 2, 3, 40])
@pytest.mark.parametrize("n_scans", [2, 3, 4, 6])
def test_mean_and_variance_of_all_orders(n_scans: int, n_values: int) -> None:
    generator = np.random.default_rng(n_scans)
    rises = generator.uniform(size=(3, n_scans - 1)) < 0.5
    test = generator.integers(0, n_values, (3, n_scans)).astype(float)
    mean = variance = 0.0
    for wanted, values in zip(rises, test, strict=True):
        agreements = [np.sum((np.diff(order) > 0) == wanted) for order in permutations(values)]
        mean, variance = mean + np.mean(agreements), variance + np.var(agreements)
    assert permutation._moments(permutation._Group(rises, test)) == pytest.approx((mean, variance), abs=1e-9)


@pytest.mark.parametrize("noise", [15.0, 100.0, 400.0])
def test_normal_limit_agrees_with_the_exact_p(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_courses(400, 5, seed=2, noise=noise)
    # Rounding makes ties.
    table["test"] = (table["test"] / noise).round(1)
    exact = permutation_test(table)
    monkeypatch.setattr(permutation, "_EXACT_BUDGET", 0)
    monkeypatch.setattr(permutation, "_DRAW_BUDGET", 0)
    normal = permutation_test(table)
    assert "Normal limit" in normal.method
    assert normal["p_value"].estimate == pytest.approx(exact["p_value"].estimate, rel=0.05, abs=1e-9)
    assert normal["expected_accuracy"].estimate == pytest.approx(exact["expected_accuracy"].estimate, rel=1e-9)


def test_a_test_that_never_changes_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_courses(5, 4).assign(test=0.0)
    assert permutation_test(table)["p_value"].estimate == pytest.approx(1.0)
    monkeypatch.setattr(permutation, "_EXACT_BUDGET", 0)
    monkeypatch.setattr(permutation, "_DRAW_BUDGET", 0)
    assert permutation_test(table)["p_value"].estimate == 1.0
