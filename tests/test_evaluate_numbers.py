"""Numbers of the evaluation that drrval.stats does not have elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from ct_models.contract import LEFT, RIGHT
from drrval.evaluation.ct_lungs import swapped
from drrval.evaluation.cxr_severity import rounded
from drrval.evaluation.numbers import errors, mean_and_sd, share
from drrval.evaluation.overlap import dice, jaccard
from drrval.stats.paired import PairedScans
from drrval.stats.rank_correlation import rank_correlation

HOW = {"n_resamples": 300, "level": 0.95, "seed": 1}


def pairs(n: int = 60) -> PairedScans:
    generator = np.random.default_rng(5)
    x = generator.integers(0, 12, n).astype(float)  # with ties
    return PairedScans.of(x, x**2 + generator.normal(0, 30, n), np.arange(n) // 2)


def test_spearman_is_scipys() -> None:
    scans = pairs()
    number = rank_correlation(scans, **HOW)["spearman_rho"]  # type: ignore[arg-type]
    assert number.estimate == pytest.approx(spearmanr(scans.x, scans.y).statistic)
    assert number.low is not None
    assert number.high is not None
    assert number.low < number.estimate < number.high  # type: ignore[operator]
    assert (number.n_patients, number.n_scans) == (30, 60)


def test_spearman_ranks_each_resample_anew() -> None:
    """A patient drawn twice counts as two patients: as scipy on the doubled rows."""
    scans = pairs(20)
    weights = np.ones((1, scans.patients.n_units))
    weights[0, 3] = 2.0
    seen = {}

    def spy(statistic, patients, **_):  # type: ignore[no-untyped-def]
        seen["rho"] = statistic(weights)["spearman_rho"][0]
        return {"spearman_rho": scans.plain(None)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drrval.stats.rank_correlation.patient_bootstrap", spy)
        rank_correlation(scans)
    twice = np.concatenate([np.arange(20), np.flatnonzero(scans.patients.codes == 3)])
    assert seen["rho"] == pytest.approx(spearmanr(scans.x[twice], scans.y[twice]).statistic)


def test_spearman_of_a_constant_says_why() -> None:
    scans = PairedScans.of([1, 2, 3], [4, 4, 4], ["a", "b", "c"])
    number = rank_correlation(scans)["spearman_rho"]
    assert number.estimate is None
    assert "No rank correlation: every y is 4" in number.note


def test_errors_of_hand_worked_pairs() -> None:
    found = errors(PairedScans.of([0, 2, 4], [1, 2, 1], ["a", "b", "c"]), HOW)  # type: ignore[arg-type]
    assert found["mae"].estimate == pytest.approx(4 / 3)
    assert found["r2_prediction"].estimate == pytest.approx(1 - 10 / 8)
    assert errors(PairedScans.of([2, 2], [1, 2], ["a", "b"]), HOW)["r2_prediction"].estimate is None  # type: ignore[arg-type]


def test_means_leave_out_what_is_missing() -> None:
    table = pd.DataFrame({"dice": [0.8, np.nan, 0.6, 0.7], "patient": list("aabc")})
    found = mean_and_sd(table, "dice", "dice", HOW)  # type: ignore[arg-type]
    assert found["dice"].estimate == pytest.approx(0.7)
    assert found["dice_sd"].estimate == pytest.approx(0.1)
    assert (found["dice"].n_scans, found["dice"].n_patients) == (3, 3)


def test_a_share_of_all_has_the_exact_interval() -> None:
    number = share(pd.Series([1.0] * 5), pd.Series(list("abcde")), HOW)  # type: ignore[arg-type]
    # Clopper-Pearson of 5 of 5: 0.025 ** (1 / 5)
    assert (number.estimate, number.low, number.high) == pytest.approx((1.0, 0.025 ** (1 / 5), 1.0))


def test_overlap_of_hand_worked_masks() -> None:
    first, second = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 1], bool)
    assert (dice(first, second), jaccard(first, second)) == pytest.approx((4 / 6, 2 / 4))
    assert np.isnan(dice(first & ~first, first & ~first))
    assert jaccard(first, ~first) == 0.0


def test_halves_are_rounded_up() -> None:
    assert rounded(pd.Series([0.0, 0.5, 1.5, 2.49, 7.5])).tolist() == [0, 1, 2, 2, 8]


def test_swapped_sides() -> None:
    truth = np.array([RIGHT, RIGHT, LEFT, LEFT, 0], np.uint8)
    assert not swapped(truth, truth)
    assert swapped(np.where(truth > 0, 3 - truth, 0).astype(np.uint8), truth)
    assert not swapped(np.array([RIGHT, LEFT, LEFT, 0, 0], np.uint8), truth)
