"""Repeatability against published repeats and R, and the error budget against numbers made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from drrval.errors import StudyError
from drrval.stats.error_budget import BUDGET_COLUMNS, NOMINAL, error_budget, level_shifts, sweep_shifts
from drrval.stats.precision import minimal_detectable_change, repeatability

# Bland & Altman, Lancet 1986;327:307-310: peak expiratory flow (l/min) of 17 subjects, twice with each meter.
WRIGHT = [
    [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427],
    [490, 397, 512, 401, 470, 611, 415, 431, 638, 429, 420, 633, 275, 492, 165, 372, 421],
]
MINI = [
    [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451],
    [525, 415, 508, 444, 500, 625, 460, 390, 642, 432, 420, 605, 227, 467, 268, 370, 443],
]


def repeats(values: list[list[float]]) -> pd.DataFrame:
    """One condition per column of ``values[repeat][subject]``."""
    return pd.DataFrame(
        [
            {"subject": f"s{subject}", "session": "1", "condition": "PA", "value": float(value)}
            for row in values
            for subject, value in enumerate(row)
        ]
    )


def unequal() -> pd.DataFrame:
    subjects = [1, 1, 1, 2, 2, 3, 3, 3, 3, 4]
    return pd.DataFrame(
        {"subject": subjects, "session": 1, "condition": 1, "value": [10.0, 12, 11, 20, 23, 5, 6, 4, 5, 9]}
    )


def test_peak_flow_meters_of_bland_and_altman() -> None:
    # The paper: SD of the differences of repeats 21.6 (Wright) and 28.2 l/min (mini), about a mean difference of 0.
    for values, published in ((WRIGHT, 21.6), (MINI, 28.2)):
        within = repeatability(repeats(values))["within_sd"]
        assert within.estimate * np.sqrt(2) == pytest.approx(published, abs=0.05)
        assert (within.n_patients, within.n_scans) == (17, 34)


def test_repeatability_coefficient_of_r() -> None:
    # R 4.2.2: ms <- anova(lm(v ~ s))["Residuals", "Mean Sq"]; sqrt(ms); qnorm(.975)*sqrt(2)*sqrt(ms);
    # qnorm(.975)*sqrt(2)*sqrt(17*ms/qchisq(c(.975, .025), 17)) on the Wright meter.
    found = repeatability(repeats(WRIGHT))
    coefficient = found["repeatability_coefficient"]
    assert found["within_sd"].estimate == pytest.approx(15.3066691, abs=1e-7)
    assert coefficient.estimate == pytest.approx(42.4271424, abs=1e-7)
    assert (coefficient.low, coefficient.high) == pytest.approx((31.8368013, 63.6043955), abs=1e-7)
    assert coefficient.method == "chi-square"


def test_unequal_repeats_of_r() -> None:
    # R 4.2.2: sqrt of anova(lm(v ~ s)) error mean square; 100*sqrt(sum(df*var/mean^2)/sum(df)); cor.test(kendall).
    found = repeatability(unequal())
    assert found["within_sd"].estimate == pytest.approx(1.19023807, abs=1e-8)
    assert found["within_cv_percent"].estimate == pytest.approx(13.30813771, abs=1e-8)
    assert found["sd_mean_tau"].estimate == pytest.approx(1.0)
    assert found["sd_mean_p"].estimate == pytest.approx(1 / 3)
    # The subject with one value does not count.
    assert (found["within_sd"].n_patients, found["within_sd"].n_scans) == (3, 9)


def test_relative_repeatability_is_277_times_the_cv() -> None:
    found = repeatability(repeats(WRIGHT))
    ratio = found["repeatability_percent"].estimate / found["within_cv_percent"].estimate
    assert ratio == pytest.approx(2.7718, abs=5e-5)


def test_bootstrap_interval_is_of_the_same_number() -> None:
    found = repeatability(repeats(MINI), n_resamples=200)
    assert found["within_sd_by_patient"].estimate == pytest.approx(found["within_sd"].estimate)
    assert found["within_sd_by_patient"].low < found["within_sd"].estimate < found["within_sd_by_patient"].high


def test_chi_square_interval_covers() -> None:
    # 12 subjects, 3 repeats, true SD 2, normal errors: 95 % must cover, but for four standard errors of 400 studies.
    generator = np.random.default_rng(0)
    covered = 0
    n_studies = 400
    for _ in range(n_studies):
        values = 20 + 5 * generator.normal(size=12) + 2 * generator.normal(size=(3, 12))
        within = repeatability(repeats(values.tolist()), n_resamples=1)["within_sd"]
        covered += within.low <= 2 <= within.high
    assert covered / n_studies == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / n_studies))


def test_minimal_detectable_change() -> None:
    assert minimal_detectable_change(1.0) == pytest.approx(2.7718, abs=5e-5)
    assert minimal_detectable_change(3.0, n_averaged=4) == pytest.approx(1.5 * minimal_detectable_change(1.0))
    assert minimal_detectable_change(1.0, confidence=0.9) == pytest.approx(np.sqrt(2) * norm.ppf(0.95))
    for arguments in ((-1.0,), (1.0, 0), (1.0, 1, 1.0), (float("nan"),)):
        with pytest.raises(StudyError, match="minimal detectable change needs"):
            minimal_detectable_change(*arguments)


def test_no_repeats_equal_repeats_and_zeros_have_a_stated_result() -> None:
    single = repeatability(repeats([[1.0, 2, 3]]))
    assert all(number.estimate is None and number.note for number in single.numbers.values())
    equal = repeatability(repeats([[1.0, 2, 3], [1.0, 2, 3]]), n_resamples=50)
    assert (equal["within_sd"].estimate, equal["within_sd"].high) == (0.0, 0.0)
    assert "All repeats are equal" in equal["within_sd"].note
    zero = repeatability(repeats([[0.0, 2, -3], [0.0, 1, -2]]), n_resamples=50)
    assert zero["within_cv_percent"].estimate is None
    assert "not above 0" in zero["within_cv_percent"].note
    assert zero["within_sd"].estimate == pytest.approx(np.sqrt(1 / 3))
    one = repeatability(repeats([[1.0], [2.0]]))
    assert one["within_sd"].estimate == pytest.approx(np.sqrt(0.5))
    assert "at least 3 patients" in one["within_sd_by_patient"].note


def test_bad_repeats_say_what_to_mend() -> None:
    with pytest.raises(StudyError, match="no column condition"):
        repeatability(pd.DataFrame({"subject": [1], "session": [1], "value": [1.0]}))
    with pytest.raises(StudyError, match="holds nan in row 1"):
        repeatability(repeats([[1.0, float("nan")], [1.0, 2.0]]))


def sweep(shifts: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Sweep of two patients with ``shifts[factor][level][patient]`` and nominal values 10 and 30."""
    nominal = [10.0, 30.0]
    rows = [{"factor": NOMINAL, "level": "", "subject": s, "session": "1", "value": nominal[s]} for s in (0, 1)]
    for factor, levels in shifts.items():
        for level, row in enumerate(levels):
            for subject, shift in enumerate(row):
                value = nominal[subject] + shift
                rows.append({"factor": factor, "level": level, "subject": subject, "session": "1", "value": value})
    return pd.DataFrame(rows)


def test_error_budget_by_hand() -> None:
    budget = error_budget(sweep({"kvp": [[1.0, -1.0], [3.0, -1.0]], "pose": [[6.0, -6.0]], "grid": [[0.0, 0.0]]}))
    assert budget["factor"].tolist() == ["pose", "kvp", "grid", "total"]
    by_factor = budget.set_index("factor")
    # Variances over the nominal (0) and swept values of each patient, averaged over the two patients.
    kvp = (np.var([0, 1, 3], ddof=1) + np.var([0, -1, -1], ddof=1)) / 2
    pose = np.var([0, 6], ddof=1)
    assert by_factor.loc["kvp", "sd"] == pytest.approx(np.sqrt(kvp))
    assert by_factor.loc["pose", "sd"] == pytest.approx(np.sqrt(pose))
    assert by_factor.loc["total", "sd"] == pytest.approx(np.sqrt(kvp + pose))
    assert by_factor.loc["kvp", "variance_share"] == pytest.approx(kvp / (kvp + pose))
    assert by_factor.loc["kvp", "bias"] == pytest.approx(0.5)
    assert by_factor.loc["kvp", ["max_shift", "max_shift_level", "max_shift_subject"]].tolist() == [3.0, 1, 0]
    assert by_factor.loc["kvp", ["n_levels", "n_scans", "n_patients"]].tolist() == [2, 2, 2]
    assert by_factor.loc["grid", "sd"] == 0.0
    assert list(budget.columns) == BUDGET_COLUMNS
    assert "at least 3 patients" in by_factor.loc["kvp", "note"]


def test_level_shifts_are_means_over_scans() -> None:
    table = level_shifts(sweep({"kvp": [[1.0, -1.0], [3.0, -1.0]]}))
    assert table[["level", "n_scans", "mean"]].to_numpy().tolist() == [[0, 2, 0.0], [1, 2, 1.0]]


def test_budget_recovers_known_components() -> None:
    generator = np.random.default_rng(0)
    rows = []
    for subject in range(200):
        rows.append({"factor": NOMINAL, "level": 0, "subject": subject, "session": 1, "value": generator.normal(20, 1)})
        rows += [
            {"factor": factor, "level": level, "subject": subject, "session": 1, "value": rows[-1]["value"] + shift}
            for factor, slope in (("kvp", 0.5), ("sid", 2.0))
            for level, shift in ((-1, -slope), (1, slope))
        ]
    budget = error_budget(pd.DataFrame(rows), n_resamples=50).set_index("factor")
    assert budget.loc["kvp", "sd"] == pytest.approx(0.5)
    assert budget.loc["sid", "sd"] == pytest.approx(2.0)
    assert budget.loc["sid", "variance_share"] == pytest.approx(4 / 4.25)


def test_nothing_changes_is_stated() -> None:
    budget = error_budget(sweep({"grid": [[0.0, 0.0]]}))
    assert budget["variance_share"].isna().all()
    assert "No factor changes" in budget["note"].iloc[-1]


def test_bad_sweeps_say_what_to_mend() -> None:
    good = sweep({"kvp": [[1.0, -1.0]]})
    with pytest.raises(StudyError, match="has no row with factor 'nominal'"):
        sweep_shifts(good[good["factor"] != NOMINAL])
    with pytest.raises(StudyError, match="more than one row for factor kvp, level 0, subject 0"):
        sweep_shifts(pd.concat([good, good[good["factor"] == "kvp"]]))
    with pytest.raises(StudyError, match="no column level"):
        sweep_shifts(good.drop(columns="level"))
    with pytest.raises(StudyError, match="not a finite number"):
        sweep_shifts(good.assign(value=np.nan))
