"""The test that asks whether procedural and real radiographs can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from validation.two_groups import (
    Told,
    effect_size,
    logistic_regression,
    nearest_neighbour,
    separation,
    tell_apart,
)

CLASSIFIERS = (nearest_neighbour, logistic_regression)


def group(seed: int, shift: float, subjects: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        f"{seed}-{n}": shift + rng.standard_normal((1, 20)) + 0.1 * rng.standard_normal((3, 20))
        for n in range(subjects)
    }


@pytest.mark.parametrize("classify", CLASSIFIERS)
def test_groups_that_differ_are_told_apart(classify):
    assert tell_apart(group(1, 0.0), group(2, 4.0), classify).balanced_accuracy == 1.0


@pytest.mark.parametrize("classify", CLASSIFIERS)
def test_images_of_one_subject_do_not_help(classify):
    """Each subject's images are nearly the same: a test that let them leak would find them in the training set."""
    told = [tell_apart(group(2 * n, 0.0), group(2 * n + 1, 0.0), classify).balanced_accuracy for n in range(6)]
    assert abs(np.mean(told) - 0.5) < 0.15


def test_logistic_regression_puts_the_boundary_in_the_middle_of_symmetric_classes():
    train = np.array([[0.0], [1.0], [2.0], [5.0], [6.0], [7.0]])
    is_second = np.array([False, False, False, True, True, True])
    called = logistic_regression(train, is_second, np.array([[3.4], [3.6]]))
    assert called.tolist() == [False, True], "by symmetry the boundary lies at 3.5"


def test_interval_is_that_of_two_beta_posteriors():
    told = Told((np.ones(8), np.ones(400)))
    low, high = told.interval()
    one = stats.beta(9, 1).ppf([0.025, 0.975])  # the large group's accuracy is nearly 1
    assert low == pytest.approx((one[0] + 1.0) / 2.0, abs=0.01)
    assert high == pytest.approx((one[1] + 1.0) / 2.0, abs=0.01)


def test_effect_size_and_area_of_one_feature():
    first = {str(v): np.array([[v]]) for v in (0.0, 1.0, 2.0)}
    second = {str(v): np.array([[v]]) for v in (1.5, 3.0, 4.0)}
    assert separation(first, second)[0] == pytest.approx(8 / 9)  # of nine pairs one is in the wrong order
    assert separation(second, first)[0] == pytest.approx(8 / 9)
    spread = np.sqrt((1.0 + np.var([1.5, 3.0, 4.0], ddof=1)) / 2.0)
    assert effect_size(first, second)[0] == pytest.approx((np.mean([1.5, 3.0, 4.0]) - 1.0) / spread)
