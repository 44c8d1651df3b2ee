"""Logistic mixed model against R's lme4, limits against MASS, ROC against pROC, and what cannot be fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from drrval.errors import StudyError
from drrval.stats.detection import CURVE_COLUMNS, LIMIT_COLUMNS, DetectionModel, fit_detection
from drrval.stats.logistic import MixedLogit, fit_mixed_logit, is_separated
from drrval.stats.resampling import Patients
from drrval.stats.roc import ScoredScans, auc, compare_auc, operating_points, roc_curve, youden_threshold

# Contagious bovine pleuropneumonia (Lesnoff et al., Prev. Vet. Med. 2004; data set cbpp of R's lme4): incidence and
# size of 15 herds in periods 1 to 4; a herd without later periods has 0 animals there.
CBPP_INCIDENCE = [
    [2, 3, 4, 0], [3, 1, 1, 0], [8, 2, 0, 2], [2, 0, 2, 0], [5, 0, 0, 1], [3, 0, 0, 1], [8, 1, 3, 0], [12, 0, 0, 0],
    [2, 0, 0, 0], [1, 1, 0, 2], [0, 5, 3, 1], [2, 1, 0, 0], [1, 2, 0, 0], [11, 0, 0, 0], [1, 1, 1, 0],
]  # fmt: skip
CBPP_SIZE = [
    [14, 12, 9, 5], [22, 18, 21, 0], [22, 16, 16, 20], [10, 10, 9, 6], [18, 25, 24, 4], [17, 17, 18, 20],
    [16, 10, 9, 5], [34, 0, 0, 0], [9, 6, 8, 6], [22, 22, 18, 22], [25, 27, 22, 22], [10, 8, 6, 5], [21, 24, 19, 23],
    [19, 2, 3, 2], [19, 15, 15, 15],
]  # fmt: skip

# Aneurysmal subarachnoid haemorrhage (Turck et al., Intensive Care Med. 2010; data set aSAH of R's pROC): poor outcome,
# S100 beta and WFNS grade of 113 patients.
ASAH_POOR = (
    "00001101001011001011101000000000100110110000000001100010001010011101101111000110100000010000000000001111110001000"
)
ASAH_WFNS = (
    "11113254125255125225211112121134214541425511241125521251222151125214524414121421232421451154221113125225552445111"
)
ASAH_S100B = [
    0.13, 0.14, 0.1, 0.04, 0.13, 0.1, 0.47, 0.16, 0.18, 0.1, 0.12, 0.1, 0.44, 0.71, 0.04, 0.08, 0.49, 0.04, 0.07, 0.33,
    0.09, 0.09, 0.07, 0.11, 0.07, 0.17, 0.07, 0.11, 0.13, 0.19, 0.05, 0.16, 0.41, 0.14, 0.34, 0.35, 0.48, 0.09, 0.96,
    0.25, 0.5, 0.46, 0.16, 0.07, 0.43, 0.45, 0.11, 0.08, 0.09, 0.86, 0.52, 0.08, 0.06, 0.13, 2.07, 0.1, 0.14, 0.15,
    0.07, 0.06, 0.77, 0.05, 0.09, 0.3, 0.03, 0.09, 0.04, 0.23, 0.7, 0.09, 0.27, 0.71, 0.08, 0.26, 0.08, 0.16, 0.09,
    0.13, 0.1, 0.08, 0.11, 0.33, 0.11, 0.28, 0.07, 0.1, 0.32, 0.22, 0.07, 0.05, 0.24, 0.38, 0.1, 0.15, 0.08, 0.14, 0.1,
    0.07, 0.04, 0.19, 0.56, 0.14, 0.58, 0.32, 0.82, 0.74, 0.15, 0.47, 0.17, 0.44, 0.15, 0.5, 0.48,
]  # fmt: skip


def made_up() -> pd.DataFrame:
    """120 scans of 15 patients by formula, the same as given to R."""
    i = np.arange(120)
    patient, extent = i % 15, (7 * i) % 41
    call = -2 + 0.12 * extent + 1.2 * np.sin(patient * 2.1) + 2 * np.sin(i * 1.7) > 0
    view = np.where(i % 3 == 0, "AP", "PA")
    return pd.DataFrame(
        {"patient": patient, "extent": extent, "call": call.astype(int), "view": view, "density": i % 7}
    )


def fitted(table: pd.DataFrame, covariates: tuple[str, ...] = ()) -> DetectionModel:
    return fit_detection(table, call="call", extent="extent", patient="patient", covariates=covariates)


def asah(marker: str, patients: np.ndarray | None = None) -> ScoredScans:
    scores = ASAH_S100B if marker == "s100b" else [int(grade) for grade in ASAH_WFNS]
    return ScoredScans.of(scores, [int(poor) for poor in ASAH_POOR], np.arange(113) if patients is None else patients)


def test_mixed_model_of_lme4_on_cbpp() -> None:
    # R 4.2.2, lme4 1.1-31: glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, nAGQ = 25)
    sizes = np.array(CBPP_SIZE).ravel()
    cases = np.concatenate([np.arange(n) < k for n, k in zip(sizes, np.ravel(CBPP_INCIDENCE), strict=True)])
    herd, period = np.repeat(np.repeat(np.arange(15), 4), sizes), np.repeat(np.tile(np.arange(4), 15), sizes)
    design = np.column_stack([np.ones(cases.size), *[period == late for late in (1, 2, 3)]]).astype(float)
    fit = fit_mixed_logit(design, cases.astype(int), Patients.of(herd), ("1", "period2", "period3", "period4"))
    assert isinstance(fit, MixedLogit)
    assert fit.coefficients == pytest.approx([-1.399230447, -0.991403671, -1.127819481, -1.579470777], abs=2e-6)
    assert fit.patient_sd == pytest.approx(0.6475184771, abs=2e-6)
    errors = np.sqrt(np.diag(fit.covariance))[:4]
    assert errors == pytest.approx([0.2335115934, 0.3067679658, 0.3267683578, 0.4275944895], abs=2e-6)


def test_mixed_model_of_lme4_on_calls() -> None:
    # The same versions: glmer(call ~ extent + (1 | patient), binomial, nAGQ = 25); fixef, theta, logLik, vcov.
    fit = fitted(made_up()).fit
    assert fit is not None
    assert fit.coefficients == pytest.approx([-2.4172927, 0.1556681], abs=5e-6)
    assert fit.patient_sd == pytest.approx(1.625313, abs=5e-6)
    assert fit.log_likelihood == pytest.approx(-56.70556849, abs=1e-7)
    assert np.sqrt(np.diag(fit.covariance))[:2] == pytest.approx([0.738233, 0.03241], abs=5e-6)


def test_limits_of_mass_dose_p() -> None:
    # R 4.2.2, MASS 7.3-58.2: dose.p(glm(call ~ extent, binomial), p = c(.5, .8, .95)); one scan per patient: no effect.
    model = fitted(made_up().assign(patient=np.arange(120)))
    limits = model.limit_of_detection((0.5, 0.8, 0.95))
    assert limits["extent"].tolist() == pytest.approx([15.52162895, 28.19417354, 42.43765436], abs=1e-6)
    assert limits["standard_error"].tolist() == pytest.approx([2.024206, 2.883501, 5.269445], abs=2e-5)
    assert "no patient effect" in model.note
    assert list(limits.columns) == LIMIT_COLUMNS


def test_limit_interval_is_where_the_band_holds_the_probability() -> None:
    model = fitted(made_up())
    limit = model.limit_of_detection((0.8,)).iloc[0]
    curve = model.curve([limit["low"], limit["extent"], limit["high"]])
    assert curve["probability"].iloc[1] == pytest.approx(0.8)
    assert curve["high"].iloc[0] == pytest.approx(0.8)
    assert curve["low"].iloc[2] == pytest.approx(0.8)
    assert list(curve.columns) == CURVE_COLUMNS


def test_population_curve_is_the_mean_over_patients() -> None:
    model = fitted(made_up())
    assert model.fit is not None
    effects = np.random.default_rng(0).normal(0, model.fit.patient_sd, 400_000)
    linear = model.fit.coefficients @ [1, 30]
    found = model.curve([30.0]).iloc[0]
    assert found["population"] == pytest.approx(expit(linear + effects).mean(), abs=1e-3)
    assert found["population"] < found["probability"]


def test_model_recovers_its_own_truth_with_view_and_density() -> None:
    generator = np.random.default_rng(1)
    n = 6000
    table = pd.DataFrame(
        {
            "patient": generator.integers(300, size=n),
            "extent": generator.gamma(2, 5, size=n),
            "view": generator.choice(["AP", "LL", "PA"], size=n),
            "density": generator.normal(5, 2, size=n),
        }
    )
    linear = -2 + 0.25 * table["extent"] + (table["view"] == "PA") * 0.8 + 0.3 * (table["density"] - 5)
    chance = expit(linear + generator.normal(size=300)[table["patient"]])
    table["call"] = (generator.random(n) < chance).astype(int)
    analysis = fitted(table, ("view", "density")).analysis()
    for name, truth in {"intercept": -2, "extent": 0.25, "view=LL": 0, "view=PA": 0.8, "density": 0.3}.items():
        number = analysis[name]
        error = (number.high - number.low) / (2 * 1.96)
        assert abs(number.estimate - truth) < 4 * error
        assert error < 0.15
    assert analysis["patient_sd"].estimate == pytest.approx(1.0, abs=0.15)


def test_setting_moves_the_curve_and_is_checked() -> None:
    model = fitted(made_up(), ("view", "density"))
    assert model.fit is not None
    at_ap, at_pa = (model.curve([10.0], {"view": view})["probability"].iloc[0] for view in ("AP", "PA"))
    shift = np.log(at_pa / (1 - at_pa)) - np.log(at_ap / (1 - at_ap))
    assert shift == pytest.approx(dict(zip(model.fit.names, model.fit.coefficients, strict=True))["view=PA"])
    assert model.curve([10.0])["probability"].iloc[0] == pytest.approx(at_ap)
    with pytest.raises(StudyError, match="Unknown covariate 'side'"):
        model.curve([1.0], {"side": "left"})
    with pytest.raises(StudyError, match=r"Unknown view 'LL'\. Expected one of: AP, PA"):
        model.limit_of_detection(setting={"view": "LL"})
    with pytest.raises(StudyError, match="between 0 and 1"):
        model.limit_of_detection((1.0,))


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda t: t.assign(call=(t["extent"] > 20) * 1), "separate called from not called"),
        (lambda t: t.assign(call=(t["extent"] > 20) * 1), "called at extents from 21 to 40"),
        (lambda t: t.assign(call=1), "120 of 120 scans are called positive"),
        (lambda t: t.assign(call=0), "0 of 120 scans are called positive"),
        (lambda t: t.assign(extent=7), "constant or follows from the others"),
        (lambda t: t.assign(patient=t["patient"] % 2), "at least 3 patients, got 2"),
        (lambda t: t.assign(call=(t["patient"] > 7).astype(int)), "patients differ without limit"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_stated(change, note: str) -> None:
    model = fitted(change(made_up()))
    assert model.fit is None
    assert note in model.note
    assert "alled at extents from" in model.note
    assert model.limit_of_detection()["extent"].isna().all()
    assert model.limit_of_detection()["note"].str.contains(note, regex=False).all()
    assert model.curve([1.0, 2.0])["probability"].isna().all()
    assert all(number.estimate is None and note in number.note for number in model.analysis().numbers.values())


def test_quasi_separation_is_separation() -> None:
    one = np.ones(6)
    overlap = np.array([0, 1, 2, 2, 3, 4.0])
    calls = np.array([0, 0, 0, 1, 1, 1])
    assert is_separated(np.column_stack([one, overlap]), calls)
    assert not is_separated(np.column_stack([one, np.array([0, 1, 3, 2, 3, 4.0])]), calls)
    # One view is always called; the extent does not separate.
    always = np.array([0, 0, 0, 0, 1, 1.0])
    assert is_separated(np.column_stack([one, np.array([0, 5, 3, 2, 3, 4.0]), always]), calls)


def test_falling_curve_and_call_at_zero_have_no_limit() -> None:
    table = made_up()
    falling = fitted(table.assign(extent=40 - table["extent"])).limit_of_detection((0.5,)).iloc[0]
    assert np.isnan(falling["extent"])
    assert "does not rise with extent" in falling["note"]
    always = (
        fitted(table.assign(call=(np.arange(120) % 7 > 0) | (table["extent"] > 25))).limit_of_detection((0.5,)).iloc[0]
    )
    assert np.isnan(always["extent"])
    assert "even at an extent of 0" in always["note"]


def test_no_patient_effect_falls_back_to_plain_logistic() -> None:
    generator = np.random.default_rng(3)
    extent = generator.gamma(2, 5, size=60)
    table = pd.DataFrame({"patient": np.tile(np.arange(30), 2), "extent": extent})
    # Calls of a patient's two scans are opposite: less alike than chance.
    table["call"] = np.append(np.arange(30) % 2, (np.arange(30) + 1) % 2)
    model = fitted(table)
    assert model.fit is not None
    assert model.fit.patient_sd == 0.0
    assert "patient SD is 0" in model.note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"call": 0.4}, "A call is 0 or 1, got 0.4"),
        ({"extent": -1.0}, "An extent is at least 0, got -1.0"),
        ({"extent": np.nan}, "120 missing ones in 120 rows"),
        ({"extent": np.inf}, "120 missing ones in 120 rows"),
    ],
)
def test_bad_detection_tables_say_what_to_mend(change: dict[str, float], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        fitted(made_up().assign(**change))
    with pytest.raises(StudyError, match="no column view2"):
        fitted(made_up(), ("view2",))
    with pytest.raises(StudyError, match="0 rows"):
        fitted(made_up().iloc[:0])


def test_auc_and_delong_of_proc() -> None:
    # R 4.2.2, pROC 1.18.0: auc, ci.auc and var of roc(aSAH$outcome, aSAH$s100b) and of $wfns.
    for marker, area, low, high in (
        ("s100b", 0.731368563686, 0.630118212, 0.832618916),
        ("wfns", 0.823678861789, 0.748534888, 0.898822836),
    ):
        found = auc(asah(marker), n_resamples=200)
        assert found["auc_delong"].estimate == pytest.approx(area, abs=1e-12)
        assert (found["auc_delong"].low, found["auc_delong"].high) == pytest.approx((low, high), abs=1e-9)
        assert found["auc"].estimate == pytest.approx(area, abs=1e-12)
        assert found["auc"].low == pytest.approx(low, abs=0.03)


def test_paired_delong_test_of_proc() -> None:
    # roc.test(roc1, roc2): Z = -2.208983591, p-value = 0.0271757822, interval -0.1742144192 to -0.0104061770.
    found = compare_auc(asah("s100b"), asah("wfns"))
    assert found["p_delong"].estimate == pytest.approx(0.0271757822, abs=1e-10)
    difference = found["difference_delong"]
    assert (difference.low, difference.high) == pytest.approx((-0.1742144192495, -0.0104061769565), abs=1e-12)


def test_clustered_variance_does_not_count_copies() -> None:
    # Every patient scanned three times with the same result: no new information, so Obuchowski's interval stays.
    once = asah("s100b")
    patients = np.repeat(np.arange(113), 3)
    scores, poor = np.repeat(ASAH_S100B, 3), np.repeat([int(value) for value in ASAH_POOR], 3)
    thrice = auc(ScoredScans.of(scores, poor, patients), n_resamples=100)
    alone = auc(once, n_resamples=100)
    assert alone["auc_clustered"].low == pytest.approx(alone["auc_delong"].low)
    assert thrice["auc_clustered"].low == pytest.approx(alone["auc_clustered"].low)
    assert thrice["auc_delong"].low > alone["auc_delong"].low + 0.03
    both = ScoredScans.of(np.repeat([int(grade) for grade in ASAH_WFNS], 3), poor, patients)
    clustered = compare_auc(ScoredScans.of(scores, poor, patients), both)
    assert clustered["p_clustered"].estimate == pytest.approx(0.0271757822, abs=1e-9)
    assert clustered["p_delong"].estimate < 0.001


def test_clustered_interval_covers_where_delongs_does_not() -> None:
    # 40 patients x 6 scans, a patient's scans share score and truth level: binormal area of 0.76 within and between.
    generator = np.random.default_rng(5)
    n_studies, covered = 300, np.zeros(2)
    truth = 0.760249938906523  # Phi(1 / sqrt(2)): both classes have variance 1, means 1 apart
    for _ in range(n_studies):
        sick = np.repeat(np.arange(40) % 2, 6)
        scores = (
            sick + np.sqrt(0.7) * np.repeat(generator.normal(size=40), 6) + np.sqrt(0.3) * generator.normal(size=240)
        )
        found = auc(ScoredScans.of(scores, sick, np.repeat(np.arange(40), 6)), n_resamples=1)
        covered += [found[name].low <= truth <= found[name].high for name in ("auc_delong", "auc_clustered")]
    assert covered[1] / n_studies > 0.90
    assert covered[0] / n_studies < 0.75


def test_roc_curve_by_hand() -> None:
    curve = roc_curve(ScoredScans.of([1, 2, 2, 3], [0, 0, 1, 1], [1, 2, 3, 4]))
    assert curve.to_numpy().tolist() == [[np.inf, 0, 1], [3, 0.5, 1], [2, 1, 0.5], [1, 1, 0]]


def test_ties_count_one_half_and_polarity_holds() -> None:
    names = {"n_resamples": 20}
    assert auc(ScoredScans.of([5, 5, 5, 5], [0, 0, 1, 1], [1, 2, 3, 4]), **names)["auc"].estimate == 0.5
    assert auc(ScoredScans.of([9, 8, 1, 0], [0, 0, 1, 1], [1, 2, 3, 4]), **names)["auc"].estimate == 0.0


def test_operating_points_of_proc() -> None:
    # coords(roc1, "best"): threshold 0.205, specificity 0.8055555556, sensitivity 0.6341463415. pROC names the middle
    # between two scores, here it is the upper score.
    threshold = youden_threshold(asah("s100b"))
    assert threshold == 0.22
    table = operating_points(asah("s100b"), [threshold], n_resamples=200).set_index("quantity")
    assert table.loc["specificity", "estimate"] == pytest.approx(0.805555555556)
    assert table.loc["sensitivity", "estimate"] == pytest.approx(0.634146341463)
    assert table.loc["positive_predictive_value", "estimate"] == pytest.approx(26 / 40)
    assert (table["low"] < table["estimate"]).all()
    # All scans called: sensitivity 41 of 41 patients. R 4.2.2: binom.test(41, 41)$conf.int is 0.913956164 to 1.
    every = operating_points(asah("s100b"), [0.0], n_resamples=20).set_index("quantity")
    assert every.loc["sensitivity", ["estimate", "low", "high"]].tolist() == pytest.approx([1, 0.913956164, 1])
    none = operating_points(asah("s100b"), [99.0], n_resamples=20).set_index("quantity")
    assert np.isnan(none.loc["positive_predictive_value", "estimate"])


def test_one_class_and_perfect_scores_have_a_stated_result() -> None:
    one = ScoredScans.of([1, 2, 3], [1, 1, 1], [1, 2, 3])
    assert all(number.estimate is None and "3 of 3 scans" in number.note for number in auc(one).numbers.values())
    assert "3 of 3 scans" in compare_auc(one, one)["p_delong"].note
    assert roc_curve(one).empty
    assert youden_threshold(one) is None
    perfect = auc(ScoredScans.of([1, 2, 3, 4], [0, 0, 1, 1], [1, 2, 3, 4]), n_resamples=50)
    assert perfect["auc_delong"].estimate == 1.0
    assert perfect["auc_delong"].low is None
    assert "no variance" in perfect["auc_delong"].note
    lone = auc(ScoredScans.of([1, 2, 3], [0, 0, 1], [1, 1, 1]))
    assert "two scans (or patients)" in lone["auc_clustered"].note
    same = compare_auc(asah("wfns"), asah("wfns"))
    assert same["p_delong"].estimate is None


def test_large_tables_skip_the_bootstrap_and_say_so() -> None:
    generator = np.random.default_rng(0)
    sick = generator.integers(2, size=30_000)
    found = auc(ScoredScans.of(generator.normal(size=30_000) + sick, sick, generator.integers(500, size=30_000)))
    assert found["auc"].low is None
    assert "see auc_clustered" in found["auc"].note
    assert found["auc_clustered"].high - found["auc_clustered"].low < 0.02


@pytest.mark.parametrize(
    ("scores", "truths", "message"),
    [
        ([1.0, np.nan], [0, 1], "1 scores are not finite"),
        ([1.0, 2.0], [0, 2], "A truth is 0 or 1, got 2.0"),
        ([1.0, 2.0, 3.0], [0, 1], "three columns of one length"),
    ],
)
def test_bad_scores_say_what_to_mend(scores: list[float], truths: list[float], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        ScoredScans.of(scores, truths, [1, 2])


def test_areas_of_other_scans_are_not_compared() -> None:
    with pytest.raises(StudyError, match="compared on the same scans"):
        compare_auc(asah("s100b"), asah("wfns", patients=np.arange(113) // 2))
