"""Agreement of paired scans: against the papers' worked examples, R and plain definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from published_measurements import PEFR_LARGE, PEFR_MINI, SHROUT_FLEISS, bland_1995, cardiac_output
from scipy.stats import chi2, foldnorm, norm
from statsmodels.stats.anova import anova_lm

from drrval.errors import StudyError
from drrval.stats.bland_altman import limits_of_agreement, proportional_bias
from drrval.stats.concordance import intraclass_correlation, lin_concordance
from drrval.stats.deming_regression import deming
from drrval.stats.deviation_index import total_deviation
from drrval.stats.mixed import mixed_model
from drrval.stats.paired import Analysis, PairedScans, analysis_table
from drrval.stats.passing_bablok_regression import passing_bablok
from drrval.stats.regression import least_squares, linearity
from drrval.stats.repeated_correlation import repeated_measures_correlation
from drrval.stats.resampling import Floats
from drrval.stats.variance_components import VarianceComponents

PEFR = PairedScans.of(PEFR_MINI, PEFR_LARGE, np.arange(17))


def study(n_patients: int = 20, n_times: int = 4, seed: int = 1) -> PairedScans:
    """Patients whose offsets differ."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_patients), n_times)
    x = generator.normal(30, 10, n_patients)[labels] + generator.normal(0, 8, labels.size)
    offset = generator.normal(2, 3, n_patients)[labels]
    return PairedScans.of(x, x + offset + generator.normal(0, 3, labels.size), labels)


def sides(scans: PairedScans, **settings: int) -> Analysis:
    return intraclass_correlation(np.stack([scans.x, scans.y], axis=1), scans.patients.codes, **settings)  # type: ignore[arg-type]


# --- limits of agreement ---------------------------------------------------------------------------------------------


def test_peak_flow_of_1986() -> None:
    # Bland & Altman 1986: mean difference -2.1 l/min, standard deviation 38.8 l/min.
    found = limits_of_agreement(PEFR)
    assert found["bias"].estimate == pytest.approx(-2.1, abs=0.05)
    assert found["sd"].estimate == pytest.approx(38.8, abs=0.05)
    assert found["upper_limit"].estimate == pytest.approx(-2.1176 + 1.96 * 38.7651, abs=1e-3)
    assert (found["sd_between"].estimate, found["sd_within"].estimate) == (None, None)
    assert found.note.startswith("One scan per patient")


def test_cardiac_output_of_2007() -> None:
    # Bland & Altman 2007, section 3: mean 0.6021667, standard deviation 0.99062408, limits -1.3394565 and 2.5437899.
    found = limits_of_agreement(cardiac_output())
    assert found["bias"].estimate == pytest.approx(0.6021667, abs=5e-8)
    assert found["sd"].estimate == pytest.approx(0.99062408, abs=1e-7)
    assert found["lower_limit"].estimate == pytest.approx(-1.3394565, abs=2e-7)
    assert found["upper_limit"].estimate == pytest.approx(2.5437899, abs=2e-7)
    assert (found["sd"].n_patients, found["sd"].n_scans, found.note) == (12, 60, "")


def test_variance_components_of_statsmodels() -> None:
    scans = cardiac_output()
    frame = pd.DataFrame({"d": scans.difference, "patient": scans.patients.codes.astype(str)})
    table = anova_lm(sm.OLS.from_formula("d ~ patient", frame).fit())
    mean_square, within = table["mean_sq"]
    counts = frame.groupby("patient").size().to_numpy()
    group = (60 - (counts**2).sum() / 60) / 11
    spread = VarianceComponents(scans.difference, scans.patients)(np.ones((1, 12)))
    assert spread.within[0] == pytest.approx(within, rel=1e-10)
    assert spread.between[0] == pytest.approx((mean_square - within) / group, rel=1e-10)


def test_a_resample_is_a_table_with_repeated_patients() -> None:
    scans = study(6, 3)
    draw = np.array([2.0, 0, 1, 3, 0, 1])
    drawn = [p for p in range(6) for _ in range(int(draw[p]))]
    rows = np.concatenate([np.flatnonzero(scans.patients.codes == p) for p in drawn])
    labels = np.repeat(np.arange(7), 3)
    spread = VarianceComponents(scans.difference, scans.patients)(draw[None])
    copied = PairedScans.of(scans.x[rows], scans.y[rows], labels)
    wanted = VarianceComponents(copied.difference, copied.patients)(np.ones((1, 7)))
    assert spread.mean == pytest.approx(wanted.mean)
    assert spread.between == pytest.approx(wanted.between)
    assert spread.within == pytest.approx(wanted.within)


def test_limits_hold_most_new_differences() -> None:
    found = limits_of_agreement(study(2000, 4), n_resamples=100)
    assert found["sd_between"].estimate == pytest.approx(3, rel=0.06)
    assert found["sd_within"].estimate == pytest.approx(3, rel=0.03)
    new = study(20_000, 1, seed=9).difference
    inside = (new > found["lower_limit"].estimate) & (new < found["upper_limit"].estimate)
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


def zou(scans: PairedScans, level: float) -> dict[str, tuple[float, float]]:
    """Zou 2013, section 3, for patients with one number of scans each: his own steps, from the patients' means."""
    own = scans.difference.reshape(scans.patients.n_patients, -1)
    n, m = own.shape
    of_means, within = own.mean(axis=1).var(ddof=1), own.var(axis=1, ddof=1).mean() if m > 1 else 0.0
    total, z = of_means + (1 - 1 / m) * within, norm.ppf((1 + level) / 2)
    ends = []
    for sign, p in ((-1, (1 + level) / 2), (1, (1 - level) / 2)):
        parts = [of_means * ((n - 1) / chi2.ppf(p, n - 1) - 1)]
        parts += [(1 - 1 / m) * within * (n * (m - 1) / chi2.ppf(p, n * (m - 1)) - 1)] if m > 1 else []
        ends.append(np.sqrt(total + sign * np.linalg.norm(parts)))
    low, high, sd, mean = *ends, np.sqrt(total), own.mean()
    far = np.sqrt(z**2 * of_means / n + 1.96**2 * (high - sd) ** 2)
    near = np.sqrt(z**2 * of_means / n + 1.96**2 * (sd - low) ** 2)
    return {
        "sd": (low, high),
        "lower_limit": (mean - 1.96 * sd - far, mean - 1.96 * sd + near),
        "upper_limit": (mean + 1.96 * sd - near, mean + 1.96 * sd + far),
    }


@pytest.mark.parametrize("n_times", [1, 4])
def test_intervals_of_zou_2013(n_times: int) -> None:
    scans = study(9, n_times)
    found = VarianceComponents(scans.difference, scans.patients).mover_ends(1.96, 0.9)
    for name, ends in zou(scans, 0.9).items():
        assert found[name] == pytest.approx(ends, rel=1e-9)


def test_limits_take_the_end_farther_out() -> None:
    for scans in (study(8, 3), study(60, 3)):
        found, ends = limits_of_agreement(scans), zou(scans, 0.95)
        for name in ("sd", "lower_limit", "upper_limit"):
            number = found[name]
            assert number.method == "wider of bca and mover"
            assert number.low <= ends[name][0] * (1 + 1e-9 * np.sign(ends[name][0]))
            assert number.high >= ends[name][1] - 1e-9 * abs(ends[name][1])
        assert found["bias"].method == "bca"


def test_one_scan_per_patient_has_the_chi_square_interval_at_least() -> None:
    # The exact interval of a normal standard deviation: 38.7651 l/min of 17 patients is 28.9 to 59.0.
    found = limits_of_agreement(PEFR)["sd"]
    exact = [38.7651 * np.sqrt(16 / chi2.ppf(p, 16)) for p in (0.975, 0.025)]
    assert exact == pytest.approx([28.87, 59.00], abs=0.01)
    assert found.low <= exact[0] + 1e-3
    assert found.high >= exact[1] - 1e-3


def test_negative_variance_between_patients_is_zero_and_said() -> None:
    d = np.tile([-1.0, 0.0, 1.0], 5)
    found = limits_of_agreement(PairedScans.of(np.arange(15.0), np.arange(15.0) + d, np.repeat(np.arange(5), 3)))
    assert found["sd_between"].estimate == 0
    assert found["sd"].estimate == found["sd_within"].estimate == pytest.approx(1.0)
    assert "at or below 0 and is taken as 0" in found.note


def test_proportional_bias_of_cardiac_output() -> None:
    scans = cardiac_output()
    mean = (scans.x + scans.y) / 2
    peer = sm.OLS(scans.difference, sm.add_constant(mean)).fit()
    found = proportional_bias(scans)
    assert [found["intercept"].estimate, found["slope"].estimate] == pytest.approx(list(peer.params), rel=1e-9)
    # R 4.2.2, clubSandwich 0.5.8: coef_test(lm(d ~ m), vcov = "CR2", cluster = patient, test = "Satterthwaite").
    assert found["p_value"].estimate == pytest.approx(0.8707707907265, rel=1e-9)


def test_proportional_bias_is_found() -> None:
    scans = study(2000)
    grown = PairedScans.of(scans.x, 1.5 * scans.y, scans.patients.codes)
    found = proportional_bias(grown, n_resamples=50)
    assert found["p_value"].estimate < 1e-6  # type: ignore[operator]
    # Difference 0.5 x + 1.5 e by the mean 1.25 x + 0.75 e, with variances 164 of x and 18 of e.
    assert found["slope"].estimate == pytest.approx((0.625 * 164 + 1.125 * 18) / (1.5625 * 164 + 0.5625 * 18), abs=0.02)


# --- concordance -----------------------------------------------------------------------------------------------------


def test_concordance_of_epir() -> None:
    # R epiR 2.0.57: epi.ccc(large, mini, ci = "z-transform"), first peak flow readings: est 0.942742431427
    # (0.850491873169 to 0.97872627917), C.b 0.999430693136.
    found = lin_concordance(PEFR)
    assert found["concordance"].estimate == pytest.approx(0.942742431427, rel=1e-11)
    assert found["accuracy"].estimate == pytest.approx(0.999430693136, rel=1e-11)


def test_concordance_by_its_definition() -> None:
    # Lin 1989: 1 - (expected squared difference) / (the same if x and y were independent).
    scans = study()
    independent = np.mean((scans.x[:, None] - scans.y[None]) ** 2)
    wanted = 1 - np.mean(scans.difference**2) / independent
    assert lin_concordance(scans)["concordance"].estimate == pytest.approx(wanted, rel=1e-10)


def test_shrout_and_fleiss() -> None:
    # Shrout & Fleiss 1979, Table 4: ICC(2,1) .29, ICC(3,1) .71; R psych 2.2.9: ICC(sf, lmer = FALSE) 0.2897637795 and
    # 0.7148407148.
    found = intraclass_correlation(SHROUT_FLEISS, np.arange(6))
    assert found["icc_2_1"].estimate == pytest.approx(0.2897637795, abs=1e-10)
    assert found["icc_3_1"].estimate == pytest.approx(0.7148407148, abs=1e-10)


def test_intraclass_correlation_of_many_scans_is_concordance() -> None:
    # They differ by the divisors n and n - 1 only (McGraw & Wong 1996).
    scans = study(500, 4)
    concordance = lin_concordance(scans, n_resamples=10)["concordance"].estimate
    assert sides(scans, n_resamples=10)["icc_2_1"].estimate == pytest.approx(concordance, abs=1e-3)


# --- repeated measures correlation -----------------------------------------------------------------------------------


def test_rmcorr_of_bland_1995() -> None:
    # R rmcorr 0.6.0, README: rmcorr(Subject, PaCO2, pH, bland1995): r -0.5067697, 38 degrees of freedom,
    # p 0.0008471081. R 4.2.2: lm(pH ~ factor(Subject) + PacO2): slope -0.10832304707.
    found = repeated_measures_correlation(bland_1995())
    assert found["r"].estimate == pytest.approx(-0.5067697, abs=5e-8)
    assert found["p_value"].estimate == pytest.approx(0.000847108109129, rel=1e-9)
    assert found["slope"].estimate == pytest.approx(-0.10832304707, rel=1e-9)
    assert (found["r"].n_patients, found["r"].n_scans) == (8, 47)


def test_offsets_of_patients_do_not_count_in_rmcorr() -> None:
    scans = study()
    moved = scans.y + 100.0 * scans.patients.codes
    shifted = repeated_measures_correlation(PairedScans.of(scans.x, moved, scans.patients.codes))["r"].estimate
    assert shifted == pytest.approx(repeated_measures_correlation(scans)["r"].estimate, rel=1e-9)


# --- total deviation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_total_deviation_of_the_folded_normal(share: float) -> None:
    scans = cardiac_output()
    found = total_deviation(scans, 1.5, share, n_resamples=10)
    bias, sd = 0.6021666667, 0.9906241080
    assert found["total_deviation_index"].estimate == pytest.approx(foldnorm.ppf(share, bias / sd, scale=sd), rel=1e-7)
    assert found["coverage_probability"].estimate == pytest.approx(foldnorm.cdf(1.5, bias / sd, scale=sd), rel=1e-7)


def test_total_deviation_without_bias_is_lins_formula() -> None:
    # Lin et al. 2002: normal quantile times the root of the mean squared difference.
    generator = np.random.default_rng(4)
    x, d = generator.normal(size=400), generator.normal(size=400)
    d -= d.mean()
    found = total_deviation(PairedScans.of(x, x + d, range(400)), 1.0, 0.9)
    assert found["total_deviation_index"].estimate == pytest.approx(norm.ppf(0.95) * d.std(ddof=1), rel=1e-9)


def test_index_and_coverage_are_inverse() -> None:
    index = total_deviation(study(), 5.0, 0.8, n_resamples=10)["total_deviation_index"].estimate
    assert index is not None
    assert total_deviation(study(), index, n_resamples=10)["coverage_probability"].estimate == pytest.approx(0.8)


@pytest.mark.parametrize(("margin", "share"), [(0.0, 0.9), (-1.0, 0.9), (float("nan"), 0.9), (5.0, 1.0), (5.0, 0.0)])
def test_bad_margin_or_share(margin: float, share: float) -> None:
    with pytest.raises(StudyError, match="margin above 0 and a share between 0 and 1"):
        total_deviation(study(), margin, share)


# --- edges and speed -------------------------------------------------------------------------------------------------

METHODS: dict[str, Callable[[PairedScans], Analysis]] = {
    "limits": limits_of_agreement,
    "proportional": proportional_bias,
    "concordance": lin_concordance,
    "icc": sides,
    "rmcorr": repeated_measures_correlation,
    "deviation": lambda scans: total_deviation(scans, 5.0),
}
EDGES = {
    "one patient": ([1, 2, 4, 3], [2, 2, 5, 4], ["a"] * 4),
    "two patients": ([1, 2, 4, 3], [2, 2, 5, 4], ["a", "a", "b", "b"]),
    "one time point": ([1, 2, 4, 3, 8], [2, 2, 5, 4, 8], list("abcde")),
    "one scan": ([1], [2], ["a"]),
    "constant x": ([5, 5, 5, 5, 5, 5], [1, 2, 3, 4, 2, 2], list("aabbcc")),
    "constant y": ([1, 2, 3, 4, 2, 2], [0, 0, 0, 0, 0, 0], list("aabbcc")),
    "all zero": ([0] * 6, [0] * 6, list("aabbcc")),
    "identical columns": ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], list("aabbcc")),
    "opposite columns": ([1, -2, 3, -4, 5, 6], [-1, 2, -3, 4, -5, -6], list("aabbcc")),
    "constant difference": ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.4, 0.5, 0.6, 0.7, 0.8, 0.9], list("aabbcc")),
    "mostly zeros": ([0, 0, 0, 0, 0, 9], [0, 0, 0, 0, 0, 7], list("aabbcc")),
    "no change within patients": ([1, 1, 2, 2, 3, 3], [2, 2, 2, 2, 5, 5], list("aabbcc")),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", METHODS)
def test_edges_give_a_number_or_a_reason(name: str, edge: str) -> None:
    x, y, labels = EDGES[edge]
    found = METHODS[name](PairedScans.of(x, y, labels))
    for number in found.numbers.values():
        assert number.n_scans == len(x)
        assert number.estimate is None or np.isfinite(number.estimate)
        assert number.estimate is not None or number.note or found.note
        if number.low is not None and number.high is not None:
            assert number.low <= number.high


def test_notes_say_why() -> None:
    def found(name: str, edge: str) -> Analysis:
        x, y, labels = EDGES[edge]
        return METHODS[name](PairedScans.of(x, y, labels, ("CT ratio", "radiograph ratio")))

    alone = found("limits", "one patient")
    assert (alone["bias"].estimate, alone["sd"].estimate) == (0.75, None)
    assert alone.note == "One patient says nothing about the spread between patients, so there are no limits."
    assert found("rmcorr", "one time point")["r"].note.endswith("got 5 scans of 5 patients.")
    assert found("rmcorr", "no change within patients")["r"].note.endswith(
        "CT ratio does not change within any patient."
    )
    assert found("icc", "all zero")["icc_2_1"].note.endswith("no rater's ratings differ between scans.")
    assert found("concordance", "constant x")["concordance"].note == "No concordance: every CT ratio is 5."
    assert "all are equal" in found("proportional", "opposite columns")["slope"].note
    assert found("deviation", "identical columns")["coverage_probability"].estimate == 1
    assert found("deviation", "one patient").note == "One patient says nothing about the spread between patients."


def test_bad_ratings() -> None:
    with pytest.raises(StudyError, match=r"at least 2 raters .* got shape \(3, 1\) and 3 labels"):
        intraclass_correlation([[1], [2], [3]], list("abc"))
    with pytest.raises(StudyError, match=r"got shape \(2, 2\) and 3 labels"):
        intraclass_correlation([[1, 2], [2, 3]], list("abc"))
    with pytest.raises(StudyError, match=r"got NaN or infinity. Leave those scans out"):
        intraclass_correlation([[1, 2], [2, float("nan")]], list("ab"))


def test_table_of_analyses() -> None:
    table = analysis_table([limits_of_agreement(PEFR), lin_concordance(PEFR)])
    assert list(table["quantity"][:3]) == ["bias", "lower_limit", "upper_limit"]
    assert list(table["analysis"].unique()) == ["limits_of_agreement", "lin_concordance"]
    assert set(table["interval"]) == {"bca", "wider of bca and mover", "none"}
    assert (table["level"] == 0.95).all()
    assert list(analysis_table([]).columns) == list(table.columns)


def test_a_large_table_goes_through_every_method() -> None:
    scans = study(25_000, 4)
    methods = [*METHODS.values(), least_squares, linearity, deming, mixed_model]
    for method in methods:
        for number in method(scans).numbers.values():
            assert number.estimate is not None
            assert number.n_patients == 25_000
    assert passing_bablok(scans, n_resamples=20)["slope"].estimate == pytest.approx(1.0, abs=0.1)


def _covers(generator: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
    """Whether the intervals of bias, slope and upper limit hold the truth: by patients, and by scans."""
    labels = np.repeat(np.arange(50), 4)
    x = generator.normal(30, 12, 50)[labels] + generator.normal(0, 8, 200)
    y = x + generator.normal(2, 4, 50)[labels] + generator.normal(0, 3, 200)
    hits = []
    for patients in (labels, np.arange(200)):
        scans = PairedScans.of(x, y, patients)
        limits = limits_of_agreement(scans, n_resamples=resamples)
        numbers = (limits["bias"], least_squares(scans, n_resamples=resamples)["slope"], limits["upper_limit"])
        truths = (2.0, 1.0, 2 + 1.96 * 5)
        hits.append(np.array([n.low <= t <= n.high for n, t in zip(numbers, truths, strict=True)], float))  # type: ignore[operator]
    return hits[0], hits[1]


@pytest.mark.slow
def test_intervals_by_patients_cover_and_by_scans_do_not() -> None:
    generator = np.random.default_rng(12)
    by_patients, by_scans = np.mean([_covers(generator, 600) for _ in range(400)], axis=0)
    # 400 studies: the share has a standard error of 1.1 points at 95 %.
    assert (by_patients > 0.91).all()
    assert (by_patients < 0.985).all()
    assert by_scans[0] < 0.80
