"""The patient bootstrap: against a published example, scipy, and what it promises at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, kurtosis, norm
from scipy.stats import t as student

from drrval.errors import StudyError
from drrval.stats import resampling
from drrval.stats.resampling import (
    MAX_UNITS,
    Floats,
    Patients,
    Statistic,
    bca_tails,
    effective_freedom,
    expanded_tails,
    patient_bootstrap,
)

# Efron & Tibshirani, An Introduction to the Bootstrap, 1993, Table 14.1: spatial test data, first column.
SPATIAL = np.array(
    [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41], dtype=float
)


def variance(values: Floats, patients: Patients) -> Statistic:
    sums = patients.unit_sums(patients.sums(np.stack([np.ones_like(values), values, values**2], axis=1)))

    def statistic(weights: Floats) -> dict[str, Floats]:
        n, first, second = (weights @ sums).T
        return {"variance": second / n - (first / n) ** 2}

    return statistic


def mean(values: Floats, patients: Patients) -> Statistic:
    sums = patients.unit_sums(patients.sums(np.stack([np.ones_like(values), values], axis=1)))
    return lambda weights: {"mean": (weights @ sums)[:, 1] / (weights @ sums)[:, 0]}


def plain_level(level: float, statistic: Statistic, n: int) -> float:
    """The level that, once expanded for n patients, uses the normal quantiles of ``level``."""
    (left_out,) = statistic(1 - np.eye(n)).values()
    return 1 - 2 * float(student.sf(norm.ppf((1 + level) / 2) / np.sqrt(n / (n - 1)), effective_freedom(left_out)))


def test_published_bca_interval() -> None:
    # Table 14.2: variance 171.5, acceleration 0.061, 90 % BCa interval (115.8, 259.6) from 2000 resamples, whose own
    # scatter is about 2 and 4.
    patients = Patients.independent(26)
    statistic = variance(SPATIAL, patients)
    level = plain_level(0.9, statistic, 26)
    found = patient_bootstrap(statistic, patients, n_resamples=20_000, level=level)["variance"]
    assert found.estimate == pytest.approx(171.5, abs=0.05)
    assert found.low == pytest.approx(115.8, abs=3)
    assert found.high == pytest.approx(259.6, abs=6)
    assert (found.method, found.n_failed, found.note) == ("bca", 0, "")


def test_tails_are_expanded_for_few_patients() -> None:
    # Hesterberg 2015: sqrt(n / (n - 1)) t; t of 8 degrees of freedom is 2.306.
    assert expanded_tails(0.95, 9, 8)[0] == pytest.approx(norm.cdf(-np.sqrt(9 / 8) * 2.306), rel=1e-3)
    np.testing.assert_allclose(expanded_tails(0.95, 10**6, 10**6 - 1), [0.025, 0.975], atol=1e-5)


def test_effective_freedom_follows_the_kurtosis_of_the_influences() -> None:
    generator = np.random.default_rng(8)
    normal, heavy = generator.normal(size=200_000), generator.laplace(size=200_000)
    # Satterthwaite for a mean: all of n - 1 for normal values, 2 / 5 of it for Laplace's kurtosis of 6.
    assert effective_freedom(normal) == pytest.approx(199_999, rel=0.03)
    assert effective_freedom(heavy) == pytest.approx(0.4 * 199_999, rel=0.05)
    values = generator.exponential(size=30)
    expected = 2 * 29 / (kurtosis(values, fisher=False) - 1)
    # The mean without one patient is a line of that patient's value, and kurtosis is the same for any line.
    assert effective_freedom((values.sum() - values) / 29) == pytest.approx(expected, rel=1e-9)
    assert effective_freedom(np.array([0.0, 1.0, 0.0, 1.0])) == 3
    assert effective_freedom(np.zeros(5)) == 4
    assert effective_freedom(np.array([1.0, np.nan, 2.0])) == 2


def test_one_patient_far_out_widens_the_interval() -> None:
    values = np.append(np.random.default_rng(9).normal(size=29), 40.0)
    patients = Patients.independent(30)
    found = patient_bootstrap(mean(values, patients), patients)["mean"]
    # One patient holds nearly all of the variance: about 2 degrees of freedom.
    assert "most extreme resample" in found.note


def test_acceleration_and_bias_of_the_published_example() -> None:
    # a = 0.061, z0 = 0.146: equation 14.10 then puts the ends at these tails.
    patients = Patients.independent(26)
    left_out = variance(SPATIAL, patients)(1 - np.eye(26))["variance"]
    # A share of 0.558 of the draws lies below the estimate, so that z0 = 0.146.
    draws = np.concatenate([np.zeros(558), np.full(442, 1e3)])
    tails, reason = bca_tails(171.534, draws, left_out, np.array([0.05, 0.95]))
    assert reason == ""
    np.testing.assert_allclose(tails, [0.110, 0.985], atol=5e-4)


def test_scipy_bca_for_one_scan_per_patient() -> None:
    values = np.random.default_rng(3).exponential(size=40)
    patients = Patients.independent(40)
    level = plain_level(0.95, mean(values, patients), 40)
    found = patient_bootstrap(mean(values, patients), patients, n_resamples=40_000, level=level)["mean"]
    peer = bootstrap((values,), np.mean, n_resamples=40_000, rng=np.random.default_rng(4)).confidence_interval
    assert found.low is not None
    assert found.high is not None
    width = peer.high - peer.low
    assert found.low == pytest.approx(peer.low, abs=0.02 * width)
    assert found.high == pytest.approx(peer.high, abs=0.02 * width)


def test_scans_of_one_patient_are_drawn_together() -> None:
    generator = np.random.default_rng(5)
    labels = np.repeat([f"p{i}" for i in range(30)], 10)
    values = np.repeat(generator.normal(size=30), 10) + 0.1 * generator.normal(size=300)
    together, alone = Patients.of(labels), Patients.independent(300)
    right = patient_bootstrap(mean(values, together), together)["mean"]
    naive = patient_bootstrap(mean(values, alone), alone)["mean"]
    # The mean of 30 patients with sd 1: half width 0.36; of 300 independent scans: 0.11.
    assert right.high - right.low == pytest.approx(2 * 1.96 / np.sqrt(30), rel=0.3)  # type: ignore[operator]
    assert (right.high - right.low) / (naive.high - naive.low) == pytest.approx(np.sqrt(10), rel=0.2)  # type: ignore[operator]
    assert (right.n_patients, right.n_scans, naive.n_patients) == (30, 300, 300)


def test_row_order_and_chunks_do_not_change_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(6)
    labels, values = generator.integers(0, 12, 60).astype(str), generator.normal(size=60)
    shuffled = generator.permutation(60)

    def interval(order: np.ndarray) -> tuple[float | None, float | None]:
        patients = Patients.of(labels[order])
        found = patient_bootstrap(mean(values[order], patients), patients, n_resamples=500)["mean"]
        return found.low, found.high

    first = interval(np.arange(60))
    assert interval(shuffled) == pytest.approx(first, rel=1e-12)
    monkeypatch.setattr(resampling, "_CHUNK_NUMBERS", 7 * 60)
    monkeypatch.setattr(resampling, "_MIN_CHUNK", 1)
    assert interval(np.arange(60)) == pytest.approx(first, rel=1e-12)


def test_groups_of_patients_give_the_same_interval_as_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    values = np.repeat(generator.exponential(size=3000), 2)
    labels = np.repeat(np.arange(3000), 2)
    grouped = Patients.of(labels)
    assert (grouped.n_patients, grouped.n_units) == (3000, MAX_UNITS)
    monkeypatch.setattr(resampling, "MAX_UNITS", 3000)
    single = Patients.of(labels)
    ours, wanted = (patient_bootstrap(variance(values, p), p)["variance"] for p in (grouped, single))
    assert ours.estimate == pytest.approx(wanted.estimate, rel=1e-12)
    width = wanted.high - wanted.low  # type: ignore[operator]
    assert ours.low == pytest.approx(wanted.low, abs=0.1 * width)
    assert ours.high == pytest.approx(wanted.high, abs=0.1 * width)


def test_sums_per_patient_and_unit() -> None:
    patients = Patients.of(["b", "a", "b", "c"])
    np.testing.assert_array_equal(patients.codes, [1, 0, 1, 2])
    np.testing.assert_array_equal(patients.sums(np.array([1.0, 2.0, 4.0, 8.0])), [2, 5, 8])
    np.testing.assert_array_equal(patients.sums(np.array([[1.0, 0], [2, 1], [4, 1], [8, 1]])), [[2, 1], [5, 1], [8, 1]])
    np.testing.assert_array_equal(patients.scan_units, patients.codes)


def test_two_patients_have_an_estimate_and_no_interval() -> None:
    patients = Patients.of(["a", "a", "b"])
    found = patient_bootstrap(mean(np.array([1.0, 2.0, 6.0]), patients), patients)["mean"]
    assert (found.estimate, found.low, found.high, found.method) == (3.0, None, None, "none")
    assert found.note == "No interval: it needs at least 3 patients, got 2."


def test_equal_resamples_give_no_interval() -> None:
    patients = Patients.independent(8)
    found = patient_bootstrap(mean(np.full(8, 0.1), patients), patients)["mean"]
    assert (found.low, found.high, found.method) == (None, None, "none")
    assert found.note == "No interval: all resamples give the same number."


def test_a_share_of_0_or_1_has_the_exact_interval_with_patients_as_trials() -> None:
    # Rule of three, exactly: with 8 of 8, p^8 = 0.025 gives 0.6306.
    patients = Patients.independent(8)
    for value, ends in ((1.0, (0.6306, 1.0)), (0.0, (0.0, 0.3694))):
        statistic = mean(np.full(8, value), patients)
        found = patient_bootstrap(statistic, patients, shares={"mean": 8})["mean"]
        assert (found.low, found.high) == (pytest.approx(ends[0], abs=5e-5), pytest.approx(ends[1], abs=5e-5))
        assert (found.method, found.note) == ("exact by patient", "")
    half = patient_bootstrap(mean(np.full(8, 0.5), patients), patients, shares={"mean": 8})["mean"]
    assert half.low is None


def test_undefined_resamples_are_counted() -> None:
    patients = Patients.independent(5)

    def some(weights: Floats) -> dict[str, Floats]:
        return {"some": np.where(weights[:, 0] > 0, weights @ np.arange(5.0), np.nan)}

    def hardly_any(weights: Floats) -> dict[str, Floats]:
        return {"none": np.where((weights == 1).all(axis=1), 1.0, np.nan)}

    def never(weights: Floats) -> dict[str, Floats]:
        return {"never": np.full(len(weights), np.nan)}

    found = patient_bootstrap(some, patients)["some"]
    # A patient is missing from (4/5)^5 = 33 % of the resamples.
    assert found.n_failed == pytest.approx(0.328 * 2000, rel=0.15)
    assert f"{found.n_failed} of 2000 resamples give no number and are left out." in found.note
    assert found.note.endswith("Percentile interval: the number is not defined without one of the patients.")
    rare = patient_bootstrap(hardly_any, patients)["none"]
    assert (rare.estimate, rare.low) == (1.0, None)
    assert "No interval: " in rare.note
    undefined = patient_bootstrap(never, patients)["never"]
    assert (undefined.estimate, undefined.low, undefined.note) == (None, None, "Not defined for these scans.")


def test_an_estimate_outside_all_resamples_has_a_percentile_interval() -> None:
    patients = Patients.independent(6)
    found = patient_bootstrap(lambda w: {"max": -np.abs(w - 1).sum(axis=1)}, patients)["max"]
    assert found.method == "percentile"


def test_few_resamples_are_noted() -> None:
    patients = Patients.independent(26)
    found = patient_bootstrap(variance(SPATIAL, patients), patients, n_resamples=20)["variance"]
    assert found.note == "An end of the interval is the most extreme resample: too few patients or resamples."


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.array([["a"], ["b"]]), r"must be one column, got shape \(2, 1\). Pass one label per scan"),
        (["a", None, "b"], "patient of row 1 is missing. Name the patient of every scan"),
        ([1.0, 2.0, float("nan")], "patient of row 2 is missing"),
        (["a", float("nan"), "b"], "patient of row 1 is missing"),
    ],
)
def test_bad_labels(labels: object, match: str) -> None:
    with pytest.raises(StudyError, match=match):
        Patients.of(labels)  # type: ignore[arg-type]


def test_bad_settings() -> None:
    patients = Patients.independent(5)
    for settings in ({"level": 1.0}, {"level": 0.0}, {"n_resamples": 0}):
        with pytest.raises(StudyError, match="a level between 0 and 1 and at least 1 resample"):
            patient_bootstrap(mean(np.arange(5.0), patients), patients, **settings)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="at least one scan, got none"):
        patient_bootstrap(lambda weights: {}, Patients.of([]))
