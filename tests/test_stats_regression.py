"""Lines through paired scans: against R, NIST, statsmodels, printed examples and plain definitions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm
from published_measurements import creatinine, creatinine_text, sleep_study
from scipy.optimize import minimize
from scipy.stats import kstwobign
from test_stats import NORRIS

from drrval.errors import StudyError
from drrval.stats import fit_line, passing_bablok_regression
from drrval.stats.deming_regression import deming, error_variance
from drrval.stats.mixed import mixed_model
from drrval.stats.paired import Analysis, PairedScans, analysis_table
from drrval.stats.passing_bablok_regression import passing_bablok as fit_passing_bablok
from drrval.stats.regression import least_squares, linearity
from drrval.stats.resampling import Floats


def study(n_patients: int = 20, n_times: int = 4, seed: int = 1) -> PairedScans:
    """Patients whose lines differ."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_patients), n_times)
    x = generator.normal(30, 10, n_patients)[labels] + generator.normal(0, 8, labels.size)
    own = generator.normal(0, 3, n_patients)[labels] + (0.8 + generator.normal(0, 0.15, n_patients)[labels]) * x
    return PairedScans.of(x, 4 + own + generator.normal(0, 3, labels.size), labels, ("CT ratio", "radiograph ratio"))


def estimates(analysis: Analysis) -> dict[str, float | None]:
    return {name: number.estimate for name, number in analysis.numbers.items()}


# --- least squares ---------------------------------------------------------------------------------------------------


def test_norris_certified_values_by_sums() -> None:
    # NIST Statistical Reference Datasets, linear regression, "Norris".
    found = estimates(least_squares(PairedScans.of(NORRIS[:, 1], NORRIS[:, 0], np.arange(36))))
    assert found["slope"] == pytest.approx(1.00211681802045, rel=1e-12)
    assert found["intercept"] == pytest.approx(-0.262323073774029, rel=1e-10)
    assert found["r_squared"] == pytest.approx(0.999993745883712, rel=1e-13)


def test_least_squares_is_the_papers_line() -> None:
    scans = study()
    found, paper = estimates(least_squares(scans)), fit_line(scans.x, scans.y)
    for name in ("pearson_r", "slope", "intercept", "r_squared", "p_value"):
        assert found[name] == pytest.approx(getattr(paper, name), rel=1e-10)


def test_large_values_keep_their_digits() -> None:
    scans = study()
    far = PairedScans.of(scans.x + 1e8, scans.y - 1e8, scans.patients.codes)
    near, moved = least_squares(scans)["slope"], least_squares(far)["slope"]
    assert (moved.estimate, moved.low) == (pytest.approx(near.estimate, rel=1e-6), pytest.approx(near.low, rel=1e-6))


def test_linearity_sees_a_curve() -> None:
    scans = study(40)
    bent = PairedScans.of(scans.x, scans.y + 0.02 * scans.x**2, scans.patients.codes)
    straight_p, bent_p = linearity(scans)["p_value"].estimate, linearity(bent)["p_value"].estimate
    assert straight_p is not None
    assert bent_p is not None
    assert straight_p > 0.05
    assert bent_p < 0.01
    assert linearity(bent)["quadratic"].low < 0.02 < linearity(bent)["quadratic"].high  # type: ignore[operator]


# --- Deming ----------------------------------------------------------------------------------------------------------


def test_orthogonal_line_of_pearson() -> None:
    # Pearson, Phil. Mag. 1901;2:559-572: y = 5.784 - 0.546 x.
    x = [0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4]
    y = [5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5]
    found = deming(PairedScans.of(x, y, range(10)))
    assert found["slope"].estimate == pytest.approx(-0.546, abs=5e-4)
    assert found["intercept"].estimate == pytest.approx(5.784, abs=5e-4)


@pytest.mark.parametrize(
    ("ratio", "intercept", "slope"),
    [(1.0, -0.05891341044096, 1.05453934127710), (0.5, -0.03401494154353, 1.03414933035109)],
)
def test_deming_of_mcr(ratio: float, intercept: float, slope: float) -> None:
    # R mcr 1.3.0 (its C routine calc_Deming), data creatinine: mcreg(serum.crea, plasma.crea, method.reg = "Deming",
    # error.ratio = ratio).
    found = deming(creatinine(), ratio, n_resamples=10)
    assert found["intercept"].estimate == pytest.approx(intercept, rel=1e-11)
    assert found["slope"].estimate == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("ratio", [0.05, 1.0, 3.0, 40.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_deming_minimises_the_weighted_distances(ratio: float, sign: float) -> None:
    scans = study()
    scans = PairedScans.of(scans.x, sign * scans.y, scans.patients.codes)

    def distance(line: Floats) -> float:
        # Smallest (x - X)^2 + ratio (y - a - b X)^2 over the true X of each scan.
        return float(np.sum(ratio * (scans.y - line[0] - line[1] * scans.x) ** 2 / (1 + ratio * line[1] ** 2)))

    best = minimize(
        distance, [0.0, sign], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 9999}
    )
    found = deming(scans, ratio)
    assert [found["intercept"].estimate, found["slope"].estimate] == pytest.approx(list(best.x), rel=1e-5)


def test_deming_lies_between_the_two_least_squares_lines() -> None:
    scans = study()
    turned = PairedScans.of(scans.y, scans.x, scans.patients.codes)
    of_y, of_x = (least_squares(pairs)["slope"].estimate for pairs in (scans, turned))
    assert of_x is not None
    assert deming(scans, 1e-9)["slope"].estimate == pytest.approx(of_y, rel=1e-6)
    assert deming(scans, 1e9)["slope"].estimate == pytest.approx(1 / of_x, rel=1e-6)


def test_error_variance_from_replicates() -> None:
    # Duplicates: sum of squared differences over twice their number (Dahlberg); the single value does not count.
    assert error_variance([1, 3, 10, 14, 7], ["a", "a", "b", "b", "c"]) == pytest.approx((4 + 16) / 4)
    # statsmodels' residual mean square of a one-way layout.
    generator = np.random.default_rng(2)
    items, values = generator.integers(0, 9, 50), generator.normal(size=50)
    peer = sm.OLS(values, (items[:, None] == np.unique(items)).astype(float)).fit()
    assert error_variance(values, items) == pytest.approx(peer.mse_resid, rel=1e-10)


# --- Passing-Bablok --------------------------------------------------------------------------------------------------


def literal_passing_bablok(pairs: list[tuple[str, str]]) -> tuple[float, float]:
    """The 1983 paper's rule word by word, in exact fractions."""
    points = [(Fraction(x), Fraction(y)) for x, y in pairs]
    slopes = []
    for (x1, y1), (x2, y2) in combinations(points, 2):
        dx, dy = x1 - x2, y1 - y2
        if dx == 0 and dy == 0:
            continue
        slope = dy / dx if dx else Fraction(10**9 if dy > 0 else -(10**9))
        if slope != -1:
            slopes.append(slope)
    slopes.sort()
    n, k = len(slopes), sum(slope < -1 for slope in slopes)
    middle = [slopes[(n + 1) // 2 + k - 1]] if n % 2 else slopes[n // 2 + k - 1 : n // 2 + k + 1]
    slope = sum(middle) / len(middle)
    return float(slope), float(np.median([float(y - slope * x) for x, y in points]))


def test_creatinine_of_mcr() -> None:
    # R mcr 1.3.0 (its C routine calc_PaBa), data creatinine: mcreg(serum.crea, plasma.crea, method.reg = "PaBa",
    # method.ci = "analytical", slope.measure = "radian"): intercept -0.1171729, slope 1.0880089, 95 % intervals
    # (-0.2001149, -0.0200000) and (1.0000000, 1.1730050); printed by R. Wicklin, The DO Loop, 14 Feb 2022. mcr takes
    # some slopes of exactly -1 for others because 0.3 - 0.1 is not 0.2 in binary; the fourth decimal differs by that.
    found = fit_passing_bablok(creatinine())
    slope, intercept = found["slope"], found["intercept"]
    assert slope.estimate == pytest.approx(1.0880, abs=2e-4)
    assert intercept.estimate == pytest.approx(-0.1172, abs=2e-4)
    assert (slope.estimate, intercept.estimate) == pytest.approx(literal_passing_bablok(creatinine_text()), rel=1e-9)
    # The bootstrap and the paper's ranks are different intervals of one thing.
    assert (slope.low, slope.high) == pytest.approx((1.000, 1.173), abs=0.02)
    assert (intercept.low, intercept.high) == pytest.approx((-0.200, -0.020), abs=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_the_literal_rule_on_tied_decimals(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(8, 30))
    x = generator.integers(0, 12, n)
    y = x + generator.integers(-4, 5, n)
    pairs = [(f"{a / 10:.1f}", f"{b / 10:.1f}") for a, b in zip(x, y, strict=True)]
    table = np.array(pairs, dtype=float)
    found = fit_passing_bablok(PairedScans.of(table[:, 0], table[:, 1], np.arange(n)), n_resamples=10)
    assert (found["slope"].estimate, found["intercept"].estimate) == pytest.approx(
        literal_passing_bablok(pairs), rel=1e-9, abs=1e-12
    )


def test_weights_repeat_scans() -> None:
    # A resample is the same as a table in which the drawn patients' rows stand as often as they were drawn.
    scans = study(6, 3)
    draw = np.array([2.0, 0, 1, 3, 0, 1])
    rows = np.concatenate([np.flatnonzero(scans.patients.codes == p) for p in range(6) for _ in range(int(draw[p]))])
    weighted = passing_bablok_regression._shifted_median(scans)(draw[None])
    pairs = [(repr(float(scans.x[i])), repr(float(scans.y[i]))) for i in rows]
    wanted = literal_passing_bablok(pairs)
    assert (weighted["slope"][0], weighted["intercept"][0]) == pytest.approx(wanted, rel=1e-9)


def test_passing_bablok_does_not_mind_which_is_x() -> None:
    scans = study()
    turned = fit_passing_bablok(PairedScans.of(scans.y, scans.x, scans.patients.codes), n_resamples=10)
    one, other = fit_passing_bablok(scans, n_resamples=10)["slope"].estimate, turned["slope"].estimate
    assert one is not None
    assert other is not None
    assert one * other == pytest.approx(1.0, rel=1e-3)


def test_an_outlier_does_not_move_passing_bablok() -> None:
    scans = study()
    y = scans.y.copy()
    y[0] += 1000
    spoilt = PairedScans.of(scans.x, y, scans.patients.codes)
    robust, squares = (abs(fit(spoilt)["slope"].estimate - fit(scans)["slope"].estimate) for fit in
                       (fit_passing_bablok, least_squares))  # type: ignore[operator]  # fmt: skip
    assert robust < 0.05
    assert squares > 0.3


def test_cusum_by_its_definition() -> None:
    scans = creatinine()
    found = fit_passing_bablok(scans)
    slope, intercept = found["slope"].estimate, found["intercept"].estimate
    assert slope is not None
    assert intercept is not None
    residuals = np.round(scans.y - intercept - slope * scans.x, 12)
    above, below = np.sum(residuals > 0), np.sum(residuals < 0)
    walk, largest = 0.0, 0.0
    # Distance along the line, from its foot on the axis: (y + x / b - a) / sqrt(1 + 1 / b^2).
    along = (scans.y + scans.x / slope - intercept) / np.sqrt(1 + 1 / slope**2)
    for i in np.argsort(along, kind="stable"):
        walk += np.sqrt(below / above) if residuals[i] > 0 else -np.sqrt(above / below) if residuals[i] < 0 else 0.0
        largest = max(largest, abs(walk))
    assert found["cusum_p"].estimate == pytest.approx(kstwobign.sf(largest / np.sqrt(below + 1)), rel=1e-6)
    # Passing and Bablok's critical value at 5 %.
    assert kstwobign.sf(1.36) == pytest.approx(0.05, abs=1e-3)


def test_a_curve_fails_the_cusum_test() -> None:
    x = np.linspace(1, 10, 60)
    assert fit_passing_bablok(PairedScans.of(x, x**2, range(60)))["cusum_p"].estimate < 1e-3  # type: ignore[operator]


def test_falling_columns_have_no_passing_bablok_line() -> None:
    x = np.arange(12.0)
    found = fit_passing_bablok(PairedScans.of(x, -2 * x + np.sin(x), range(12)))
    assert estimates(found) == {"slope": None, "intercept": None, "cusum_p": None}
    assert "needs columns that rise together" in found["slope"].note


def test_passing_bablok_of_a_large_table_says_what_it_used() -> None:
    scans = study(400, 3)
    found = fit_passing_bablok(scans, n_resamples=20)
    assert found.note == "From 1000 scans of patients drawn at random out of 1200."
    assert found["slope"].n_scans == 1000
    assert found["slope"].estimate == pytest.approx(deming(scans, n_resamples=1)["slope"].estimate, abs=0.1)


# --- mixed model -----------------------------------------------------------------------------------------------------


def test_sleep_study_of_lme4() -> None:
    # R lme4 1.1.31: lmer(Reaction ~ Days + (Days | Subject), sleepstudy); fixef(), VarCorr().
    found = estimates(mixed_model(sleep_study()))
    assert found["intercept"] == pytest.approx(251.40510485, abs=1e-7)
    assert found["slope"] == pytest.approx(10.46728596, abs=1e-7)
    assert found["sd_intercept"] == pytest.approx(24.7407, abs=5e-4)
    assert found["sd_slope"] == pytest.approx(5.9221, abs=5e-4)
    assert found["correlation"] == pytest.approx(0.0656, abs=5e-4)
    assert found["sd_residual"] == pytest.approx(25.5918, abs=5e-4)


def test_two_scans_per_patient_have_a_random_intercept_only() -> None:
    # R lme4 1.1.31: lmer(Reaction ~ Days + (1 | Subject), sleepstudy, subset = Days %in% c(0, 9)).
    scans = sleep_study()
    ends = np.isin(scans.x, [0, 9])
    found = mixed_model(PairedScans.of(scans.x[ends], scans.y[ends], scans.patients.codes[ends]))
    assert found.note == "No random slope: it needs more than two scans per patient on average."
    assert (found["sd_slope"].estimate, found["correlation"].estimate) == (None, None)
    peer = sm.MixedLM(scans.y[ends], sm.add_constant(scans.x[ends]), scans.patients.codes[ends]).fit()
    assert found["slope"].estimate == pytest.approx(peer.fe_params[1], rel=1e-6)
    assert found["sd_intercept"].estimate == pytest.approx(np.sqrt(peer.cov_re[0, 0]), rel=1e-3)
    assert found["sd_residual"].estimate == pytest.approx(np.sqrt(peer.scale), rel=1e-3)


def test_mixed_model_of_statsmodels_with_unequal_patients() -> None:
    scans = study(25, 6)
    kept = np.random.default_rng(1).uniform(size=scans.n_scans) < 0.8
    scans = PairedScans.of(scans.x[kept], scans.y[kept], scans.patients.codes[kept])
    # statsmodels' search needs x in standard units.
    scale = scans.x.std()
    design = sm.add_constant((scans.x - scans.x.mean()) / scale)
    peer = sm.MixedLM(scans.y, design, scans.patients.codes, exog_re=design).fit(method="bfgs")
    found = estimates(mixed_model(scans))
    assert found["slope"] == pytest.approx(peer.fe_params[1] / scale, rel=1e-5)
    assert found["intercept"] == pytest.approx(peer.fe_params[0] - peer.fe_params[1] / scale * scans.x.mean(), rel=1e-4)
    assert found["sd_slope"] == pytest.approx(np.sqrt(peer.cov_re[1, 1]) / scale, rel=1e-4)
    assert found["sd_residual"] == pytest.approx(np.sqrt(peer.scale), rel=1e-5)


def test_patients_who_do_not_differ_make_a_singular_fit() -> None:
    generator = np.random.default_rng(11)
    x = generator.normal(size=120)
    noise = generator.normal(size=120)
    noise -= np.repeat(noise.reshape(30, 4).mean(axis=1), 4)
    found = mixed_model(PairedScans.of(x, x + noise, np.repeat(np.arange(30), 4)))
    assert found.note.startswith("The fit is singular")
    assert found["slope"].low < 1 < found["slope"].high  # type: ignore[operator]


# --- edges -----------------------------------------------------------------------------------------------------------

FITS = {
    "least_squares": least_squares,
    "linearity": linearity,
    "deming": deming,
    "passing_bablok": fit_passing_bablok,
    "mixed_model": mixed_model,
}
EDGES = {
    "one patient": ([1, 2, 4, 3], [2, 2, 5, 4], ["a"] * 4),
    "two patients": ([1, 2, 4, 3], [2, 2, 5, 4], ["a", "a", "b", "b"]),
    "one time point": ([1, 2, 4, 3, 8], [2, 2, 5, 4, 8], list("abcde")),
    "one scan": ([1], [2], ["a"]),
    "constant x": ([5, 5, 5, 5], [1, 2, 3, 4], list("aabc")),
    "constant y": ([1, 2, 3, 4], [0, 0, 0, 0], list("aabc")),
    "all equal": ([0, 0, 0, 0], [0, 0, 0, 0], list("aabc")),
    "perfect line": ([1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 5, 7, 9, 11, 13, 15, 17, 19], list("aaabbbccc")),
    "perfect own lines": ([1, 2, 3, 1, 2, 3, 1, 2, 3], [1, 2, 3, 2, 4, 6, 3, 6, 9], list("aaabbbccc")),
    "two values": ([0, 1, 0, 1, 0, 1], [0, 1, 1, 1, 0, 0], list("aabbcc")),
    "mostly zeros": ([0, 0, 0, 0, 0, 9], [0, 0, 0, 0, 0, 7], list("aabbcc")),
    "negative": ([-1, -2, -4, -3, 5, 2], [-2, -2, -5, -4, 4, 1], list("aabbcc")),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", FITS)
def test_edges_give_a_number_or_a_reason(name: str, edge: str) -> None:
    x, y, labels = EDGES[edge]
    found = FITS[name](PairedScans.of(x, y, labels, ("CT ratio", "radiograph ratio")))
    table = analysis_table([found])
    assert (table["n_scans"] == len(x)).all()
    for number in found.numbers.values():
        assert number.estimate is None or np.isfinite(number.estimate)
        assert number.estimate is not None or number.note or found.note
        if number.low is not None and number.high is not None:
            assert number.low <= number.high


def test_notes_say_why() -> None:
    def note(edge: str, name: str = "least_squares", number: str = "slope") -> str:
        x, y, labels = EDGES[edge]
        return FITS[name](PairedScans.of(x, y, labels, ("CT ratio", "radiograph ratio")))[number].note

    assert note("one patient") == "No interval: it needs at least 3 patients, got 1."
    assert note("one scan") == "No regression: it needs at least 3 scans, got 1."
    assert note("constant x") == "No regression: every CT ratio is 5."
    assert note("constant y") == "No regression: every radiograph ratio is 0."
    assert note("one patient", "mixed_model").startswith("No mixed model: it needs at least 3 patients")
    assert note("one time point", "mixed_model").endswith("got 5 patients and 5 scans.")
    assert note("two values", "linearity", "p_value").endswith("CT ratio takes only 2 values, and a curve needs 3.")
    assert note("two patients", "least_squares", "p_value_clustered").startswith(
        "No clustered test: it needs at least 3"
    )
    assert note("perfect line", "least_squares", "p_value_clustered").startswith("No clustered test: the fit leaves no")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (([1, 2, float("nan")], [1, 2, 3], "abc"), r"The x of row 2 is nan, and 1 of 3 are not finite. Leave those"),
        (([1, 2, 3], [1, float("inf"), 3], "abc"), r"The y of row 1 is inf"),
        (([1, 2], [1, 2, 3], "abc"), r"got shapes \(2,\) and \(3,\) and 3 patient labels. Pair the rows first"),
        (([], [], ""), r"one length of at least 1"),
    ],
)
def test_bad_columns(columns: tuple, match: str) -> None:
    x, y, labels = columns
    with pytest.raises(StudyError, match=match):
        PairedScans.of(x, y, list(labels))


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_error_ratio(ratio: float) -> None:
    with pytest.raises(StudyError, match=r"ratio above 0, got .* If x has no error, use least squares"):
        deming(study(), ratio)


def test_bad_replicates() -> None:
    with pytest.raises(StudyError, match="No item was measured twice"):
        error_variance([1.0, 2.0], ["a", "b"])
    with pytest.raises(StudyError, match="Leave missing values out first"):
        error_variance([1.0, float("nan")], ["a", "a"])
