"""Study plans: the course model's closed forms, its estimate from a pilot, and widths of simulated intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from drrval.errors import StudyError
from drrval.stats.course_model import CourseModel, variance_components
from drrval.stats.power import POWER_COLUMNS, interval_widths, smallest_design
from drrval.stats.resampling import Patients

MODEL = CourseModel(
    mean=20, between_sd=10, course_sd=6, intercept=2, slope=0.9, test_patient_sd=3, error_sd=4
)  # all in points


def pilot(model: CourseModel, n_patients: int, n_times: int, seed: int = 0) -> pd.DataFrame:
    x, y = model.simulate((n_patients, n_times), np.random.default_rng(seed))
    return pd.DataFrame(
        {"patient": np.repeat(np.arange(n_patients), n_times), "reference": x.ravel(), "test": y.ravel()}
    )


def test_truths_match_a_large_simulation() -> None:
    x, y = replace(MODEL, intercept=5.0).simulate((200_000, 3), np.random.default_rng(0))
    truths = replace(MODEL, intercept=5.0).truths
    assert np.corrcoef(x.ravel(), y.ravel())[0, 1] == pytest.approx(truths["pearson_r"], abs=0.002)
    assert np.mean(y - x) == pytest.approx(truths["bias"], abs=0.05)
    agree = (np.diff(x) > 0) == (np.diff(y) > 0)
    assert agree.mean() == pytest.approx(truths["trend_accuracy"], abs=0.003)


def test_trend_accuracy_of_known_cases() -> None:
    assert replace(MODEL, error_sd=0.0).truths["trend_accuracy"] == 1.0
    assert replace(MODEL, slope=0.0).truths["trend_accuracy"] == 0.5
    # Signal and error of one size: correlation 1 / sqrt(2), so 1/2 + 1/4.
    assert replace(MODEL, slope=1.0, course_sd=4.0).truths["trend_accuracy"] == pytest.approx(0.75)
    assert np.isnan(replace(MODEL, course_sd=0.0).truths["trend_accuracy"])


def test_variance_components_of_r() -> None:
    # R 4.2.2, anova(lm(v ~ s)): mean squares 122 and 1.41667 (8.5 / 6); n0 = (10 - 30 / 10) / 3 by hand.
    values = np.array([10.0, 12, 11, 20, 23, 5, 6, 4, 5, 9])
    between, within = variance_components(values, Patients.of([1, 1, 1, 2, 2, 3, 3, 3, 3, 4]))
    assert within == pytest.approx(1.41667, abs=5e-6)
    assert between == pytest.approx((122 - 8.5 / 6) / ((10 - 30 / 10) / 3))


def test_pilot_recovers_the_model() -> None:
    found = CourseModel.from_pilot(pilot(MODEL, 4000, 4))
    for name in ("between_sd", "course_sd", "slope", "test_patient_sd", "error_sd"):
        assert getattr(found, name) == pytest.approx(getattr(MODEL, name), rel=0.03)
    assert found.mean == pytest.approx(20, abs=0.7)
    assert found.truths["trend_accuracy"] == pytest.approx(MODEL.truths["trend_accuracy"], abs=0.01)


def test_pilot_that_cannot_be_used_is_refused() -> None:
    table = pilot(MODEL, 5, 2)
    for bad in (table[table["patient"] < 2], table.drop_duplicates("patient"), table.assign(reference=3.0)):
        with pytest.raises(StudyError, match="A pilot needs at least 3 patients"):
            CourseModel.from_pilot(bad)


def test_impossible_models_are_refused() -> None:
    with pytest.raises(StudyError, match="error_sd -1"):
        replace(MODEL, error_sd=-1.0)
    with pytest.raises(StudyError, match="slope nan"):
        replace(MODEL, slope=float("nan"))


def test_half_width_of_the_bias_follows_theory() -> None:
    # Without a slope error, test minus reference has mean variance test_patient^2 / n + error^2 / (n T).
    model = replace(MODEL, slope=1.0)
    widths = interval_widths(model, [60], [2, 8], n_studies=100, n_resamples=400).set_index("timepoints")
    bias = widths[widths["statistic"] == "bias"]["expected_half_width"]
    for times in (2, 8):
        expected = norm.ppf(0.975) * np.sqrt(9 / 60 + 16 / (60 * times))
        assert bias[times] == pytest.approx(expected, rel=0.05)


def test_more_patients_narrow_the_interval_and_the_smallest_design_is_found() -> None:
    widths = interval_widths(MODEL, [10, 40], [3], n_studies=60, n_resamples=200)
    assert list(widths.columns) == POWER_COLUMNS
    for statistic in ("pearson_r", "bias", "trend_accuracy"):
        small, large = widths[widths["statistic"] == statistic]["expected_half_width"]
        assert large < 0.7 * small
    between = widths[(widths["statistic"] == "bias")]["half_width_q80"].mean()
    assert smallest_design(widths, "bias", float(between)) == {"patients": 40, "timepoints": 3}
    assert smallest_design(widths, "bias", 100.0) == {"patients": 10, "timepoints": 3}
    assert smallest_design(widths, "bias", 0.0) is None
    with pytest.raises(StudyError, match="Unknown statistic 'kappa'"):
        smallest_design(widths, "kappa", 1.0)


def test_fewest_scans_win_then_fewest_patients() -> None:
    widths = pd.DataFrame(
        [(20, 3, "bias", 1.0), (30, 2, "bias", 1.0), (10, 8, "bias", 1.0)],
        columns=["patients", "timepoints", "statistic", "half_width_q80"],
    )
    assert smallest_design(widths, "bias", 1.0) == {"patients": 20, "timepoints": 3}


def test_same_seed_same_plan() -> None:
    first, again = (interval_widths(MODEL, [8], [3], n_studies=10, n_resamples=100, seed=4) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.parametrize(
    ("patients", "timepoints", "n_studies"), [([2], [3], 10), ([5], [1], 10), ([], [3], 10), ([5], [3], 0)]
)
def test_impossible_designs_are_refused(patients: list[int], timepoints: list[int], n_studies: int) -> None:
    with pytest.raises(StudyError, match="A design needs at least 3 patients"):
        interval_widths(MODEL, patients, timepoints, n_studies=n_studies)


def test_a_perfect_test_has_a_stated_result() -> None:
    perfect = replace(MODEL, slope=1.0, intercept=0.0, test_patient_sd=0.0, error_sd=0.0)
    widths = interval_widths(perfect, [5], [3], n_studies=5, n_resamples=50).set_index("statistic")
    # No scatter, so no bootstrap interval of the bias; for the accuracy, 5 of 5 patients: 0.025 ** (1 / 5) to 1.
    assert widths.loc["bias", ["n_without_interval", "half_width_q80"]].tolist() == [5, np.inf]
    assert smallest_design(widths.reset_index(), "bias", 1.0) is None
    assert widths.loc["trend_accuracy", "truth"] == 1.0
    assert widths.loc["trend_accuracy", "half_width_q80"] == pytest.approx((1 - 0.025 ** (1 / 5)) / 2)


def naive_coverage(model: CourseModel, n_patients: int, n_times: int, n_studies: int) -> float:
    """Share of t intervals of the bias that take all scans as independent and hold the truth."""
    x, y = model.simulate((n_studies, n_patients, n_times), np.random.default_rng(0))
    difference = (y - x).reshape(n_studies, -1)
    half = 1.96 * difference.std(axis=1, ddof=1) / np.sqrt(difference.shape[1])
    return float(np.mean(np.abs(difference.mean(axis=1) - model.truths["bias"]) <= half))


@pytest.mark.slow
def test_coverage_of_a_large_and_of_a_small_study() -> None:
    # 1000 studies: the standard error of a coverage of 95 % is 0.7 points.
    large = interval_widths(MODEL, [50], [4], n_studies=1000).set_index("statistic")["coverage"]
    assert ((large >= 0.93) & (large <= 0.97)).all()
    # 9 patients, 3 scans: intervals may be too short; docs/statistics.md states by how much.
    small = interval_widths(MODEL, [9], [3], n_studies=1000).set_index("statistic")["coverage"]
    assert (small >= 0.86).all()
    # Taking scans as independent covers far less, however many patients there are.
    assert naive_coverage(MODEL, 50, 4, 1000) < 0.85
