"""Agreement of courses: labels beyond chance, exclusion zone, quadrants, changes, slopes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from course_factory import courses, random_courses

from drrval.errors import StudyError
from drrval.stats.categories import (
    cohen_kappa,
    gwet_ac,
    linear_weights,
    no_information_p,
    no_information_rate,
    observed_agreement,
)
from drrval.stats.changes import (
    change_labels,
    change_line,
    direction_agreement,
    polar_concordance,
    polar_coordinates,
    quadrant_concordance,
    rate_line,
    zone_agreement,
)
from drrval.stats.courses import change_table, courses_of_pairs, make_courses
from drrval.stats.deviation_index import total_deviation
from drrval.stats.paired import Analysis, PairedScans, analysis_table
from drrval.stats.permutation import permutation_test
from drrval.stats.slopes import patient_slopes, slope_agreement
from drrval.stats.trend_analyses import trend_agreement
from drrval.stats.trends import trend_labels

# Gwet, Handbook of Inter-Rater Reliability (data set cont3x3abstractors of R's irrCAC): two abstractors, 100 patients.
ABSTRACTORS = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]], dtype=float)


def estimates(analysis: Analysis) -> dict[str, float | None]:
    return {name: number.estimate for name, number in analysis.numbers.items()}


def test_kappa_of_r_packages() -> None:
    # R 4.2.2, vcd 1.4-11: Kappa(t), Kappa(t, weights = "Equal-Spacing"), Kappa(t, weights = "Fleiss-Cohen").
    # irrCAC 1.0 prints 0.7964094 and, with quadratic weights, 0.8921569 (kappa2.table).
    labels = np.arange(3)
    quadratic = 1 - (labels[:, None] - labels) ** 2 / 4
    assert cohen_kappa(ABSTRACTORS) == pytest.approx(0.796409402, abs=1e-9)
    assert cohen_kappa(ABSTRACTORS, linear_weights(3)) == pytest.approx(0.842902, abs=5e-7)
    assert cohen_kappa(ABSTRACTORS, quadratic) == pytest.approx(0.892156863, abs=1e-9)


def test_gwet_ac_of_irrcac() -> None:
    # irrCAC for Python 0.4.4: CAC(table_cont3x3abstractors(), weights).gwet()["est"], identity, linear, quadratic.
    labels = np.arange(3)
    assert gwet_ac(ABSTRACTORS) == pytest.approx(0.84933, abs=5e-6)
    assert gwet_ac(ABSTRACTORS, linear_weights(3)) == pytest.approx(0.90002, abs=5e-6)
    assert gwet_ac(ABSTRACTORS, 1 - (labels[:, None] - labels) ** 2 / 4) == pytest.approx(0.94024, abs=5e-6)


def test_kappa_paradox_shows_in_kappa_and_not_in_ac1() -> None:
    # Rare label: 90 % agreement, kappa below 0, AC1 high (Feinstein & Cicchetti 1990; Gwet 2008).
    counts = np.array([[90.0, 5.0], [5.0, 0.0]])
    assert observed_agreement(counts) == pytest.approx(0.90)
    assert cohen_kappa(counts) == pytest.approx((0.90 - 0.905) / 0.095)
    assert gwet_ac(counts) == pytest.approx((0.90 - 0.095) / 0.905)


def test_chance_correction_works_on_many_tables_at_once() -> None:
    stack = np.array([ABSTRACTORS, ABSTRACTORS.T, np.zeros((3, 3)), np.diag([5.0, 0.0, 0.0])])
    kappa, ac1 = cohen_kappa(stack), gwet_ac(stack)
    assert kappa[0] == pytest.approx(kappa[1])
    assert np.isnan(kappa[2:]).all()
    assert np.isnan(ac1[2])
    assert ac1[3] == 1.0


def test_no_information_rate_is_of_the_reference() -> None:
    counts = np.array([[10.0, 2.0], [3.0, 3.0]])
    assert no_information_rate(counts) == pytest.approx(12 / 18)
    # R 4.2.2: binom.test(13, 18, 12/18, alternative = "greater")$p.value
    assert no_information_p(counts) == pytest.approx(0.412242606, abs=1e-9)


def test_accuracy_is_the_papers() -> None:
    table = random_courses(7, 4, seed=3)
    table[["reference", "test"]] = table[["reference", "test"]].clip(lower=0).round(-1)
    equal = []
    for _, course in table.groupby("patient"):
        equal += [a == b for a, b in zip(trend_labels(course["reference"]), trend_labels(course["test"]), strict=True)]
    found = direction_agreement(change_table(table))
    assert found["trend_accuracy"].estimate == pytest.approx(np.mean(equal))
    assert (found["trend_accuracy"].n_scans, found["trend_accuracy"].n_patients) == (21, 7)
    assert found["trend_accuracy"].low < found["trend_accuracy"].estimate < found["trend_accuracy"].high


def test_gain_is_accuracy_minus_rate() -> None:
    found = estimates(direction_agreement(change_table(random_courses(6, 3))))
    assert found["gain_over_no_information"] == pytest.approx(found["trend_accuracy"] - found["no_information_rate"])


def test_change_labels_keep_the_zone_stable() -> None:
    assert change_labels(np.array([-5.1, -5, 0, 5, 5.1]), 5.0).tolist() == [0, 1, 1, 1, 2]
    assert change_labels(np.array([-1.0, 0, 1]), 0.0).tolist() == [0, 1, 2]
    for zone in (-1.0, float("nan")):
        with pytest.raises(StudyError, match="at least 0 points"):
            change_labels(np.zeros(2), zone)


def test_zone_uses_one_zone_per_side() -> None:
    # Reference: +4 (stable at 5), +6 (worse). Test: +4 (worse at 3), +6 (worse).
    table = courses(([10, 14], [10, 14]), ([10, 16], [10, 16]))
    found = estimates(zone_agreement(change_table(table), 5.0, 3.0))
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["no_information_rate"] == pytest.approx(0.5)


def test_four_quadrants_leave_out_the_square() -> None:
    # Changes (reference, test): small; same sign; opposite; one exactly 0; both 0.
    table = courses(([0, 1], [0, 1]), ([0, 9], [0, 4]), ([0, 9], [9, 0]), ([0, 9], [3, 3]), ([4, 4], [3, 3]))
    found = estimates(quadrant_concordance(change_table(table), 2.0))
    assert found == {"concordance": pytest.approx(1 / 3), "share_kept": pytest.approx(3 / 5)}
    assert estimates(quadrant_concordance(change_table(table), 0.0))["share_kept"] == pytest.approx(4 / 5)


def test_polar_coordinates_of_plain_directions() -> None:
    reference, test = np.array([3.0, -3.0, 4.0, 0.0, 0.0, -4.0]), np.array([3.0, -3.0, 0.0, 4.0, -4.0, 0.0])
    radius, angle = polar_coordinates(reference, test)
    assert radius == pytest.approx([3, 3, 2, 2, 2, 2])
    assert angle == pytest.approx([0, 0, -45, 45, 45, -45])


def test_polar_concordance_by_hand() -> None:
    # tan(45 + 20 degrees): 20 degrees off identity, within 30; (1, 0) is 45 degrees off.
    steep = float(np.tan(np.radians(65)))
    found = estimates(polar_concordance(change_table(courses(([0, 5], [0, 5 * steep]), ([0, 5], [1, 1]))), 1.0))
    assert found["concordance"] == pytest.approx(0.5)
    assert found["bias_degrees"] == pytest.approx((20 - 45) / 2)
    assert found["sd_degrees"] == pytest.approx(65 / np.sqrt(2))


def test_change_line_is_least_squares_of_changes() -> None:
    changes = change_table(random_courses(8, 4, seed=1))
    x, y = changes["reference_change"], changes["test_change"]
    found = estimates(change_line(changes))
    assert [found["slope"], found["intercept"]] == pytest.approx(np.polyfit(x, y, 1).tolist())
    assert found["pearson_r"] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_rates_divide_by_days_and_leave_undated_intervals_out() -> None:
    table = courses(*[([0, 2 * k, k], [0, k + k % 2, 3]) for k in range(1, 6)], days=[0, 2, 12])
    changes = change_table(table)
    found = estimates(rate_line(changes))
    x, y = changes["reference_change"] / changes["days"], changes["test_change"] / changes["days"]
    assert [found["slope"], found["intercept"]] == pytest.approx(np.polyfit(x, y, 1).tolist())
    changes.loc[0, "days"] = np.nan
    analysis = rate_line(changes)
    assert analysis["slope"].n_scans == len(changes) - 1
    assert "1 intervals without a length in days left out" in analysis.note


def test_slopes_are_per_day_and_not_per_index() -> None:
    table = courses(([0, 4, 5], [1, 2, 9]), ([7, 3, 8], [2, 2, 2]), days=[0, 1, 10])
    slopes = patient_slopes(table)
    for row, (reference, test) in zip(
        slopes.itertuples(), (([0, 4, 5], [1, 2, 9]), ([7, 3, 8], [2, 2, 2])), strict=True
    ):
        assert row.reference_slope == pytest.approx(np.polyfit([0, 1, 10], reference, 1)[0])
        assert row.test_slope == pytest.approx(np.polyfit([0, 1, 10], test, 1)[0], abs=1e-12)
    assert slopes["days"].tolist() == [10, 10]


def test_slope_agreement_by_hand() -> None:
    table = courses(([0, 1], [0, 2]), ([0, 2], [0, 2]), ([0, -1], [0, 1]), ([3, 3], [0, 0]))
    found = slope_agreement(table)
    difference = np.array([1.0, 0.0, 2.0, 0.0])
    assert found["bias"].estimate == pytest.approx(0.75)
    assert found["sd"].estimate == pytest.approx(difference.std(ddof=1))
    assert found["same_sign"].estimate == pytest.approx(0.5)
    assert found["pearson_r"].estimate == pytest.approx(np.corrcoef([1, 2, -1, 0], [2, 2, 1, 0])[0, 1])


def test_trend_agreement_has_every_analysis_with_counts() -> None:
    found = trend_agreement(random_courses(9, 3), reference_zone=2.0, test_zone=4.0, n_resamples=200)
    table = analysis_table(found)
    assert [analysis.name for analysis in found] == [
        "trend_direction", "trend_permutation", "trend_zone", "four_quadrant", "polar", "change_line", "rate_line",
        "patient_slopes",
    ]  # fmt: skip
    assert (table["n_patients"] == 9).all()
    assert (table.loc[table["analysis"] != "patient_slopes", "n_scans"] == 18).all()
    assert "2 points (reference) or 4 points (test)" in found[2].method
    assert "within 4 points" in found[3].method


@pytest.mark.parametrize(("n_patients", "warned"), [(2, False), (9, True), (19, True), (20, False)])
def test_short_intervals_of_few_patients_say_so(n_patients: int, warned: bool) -> None:
    table = random_courses(n_patients, 3)
    scans = PairedScans.of(table["reference"], table["test"], table["patient"])
    for number, held in (
        (total_deviation(scans, 5.0, n_resamples=100)["total_deviation_index"], 91),
        (polar_concordance(change_table(table), 0.0, n_resamples=100)["sd_degrees"], 84),
        (slope_agreement(table, n_resamples=100)["sd"], 85),
    ):
        assert (f"held the truth in {held} % of simulated studies" in number.note) == warned
    assert "held the truth" not in slope_agreement(table, n_resamples=100)["bias"].note


def test_same_seed_same_intervals() -> None:
    first, again, other = (
        analysis_table(trend_agreement(random_courses(9, 3), n_resamples=200, seed=seed)) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first["low"].equals(other["low"])


@pytest.mark.parametrize(
    ("table", "note"),
    [
        (courses(([1], [2]), ([3], [4])), "no patient has two scans"),
        (courses(([1, 2, 3], [2, 3, 5])), "at least 3 patients, got 1"),
    ],
    ids=["one time point", "one patient"],
)
def test_too_little_gives_notes_and_no_interval(table: pd.DataFrame, note: str) -> None:
    for analysis in trend_agreement(table, n_resamples=50):
        for number in analysis.numbers.values():
            assert number.low is None
            assert number.estimate is not None or number.note or analysis.note
    direction = trend_agreement(table, n_resamples=50)[0]
    assert note in direction["trend_accuracy"].note


def test_full_agreement_is_no_certainty() -> None:
    # All intervals of 9 patients agree. R 4.2.2: binom.test(9, 9)$conf.int is 0.6637329 to 1.
    changes = change_table(courses(*[([0, 9, 3 + k], [0, 9, 2 + k % 2]) for k in range(5)], *[([9, 0], [8, 1])] * 4))
    for analysis, name in (
        (direction_agreement(changes, n_resamples=50), "trend_accuracy"),
        (quadrant_concordance(changes, 2.0, n_resamples=50), "concordance"),
    ):
        number = analysis[name]
        assert (number.estimate, number.low, number.high) == (1.0, pytest.approx(0.6637329, abs=1e-7), 1.0)
        assert number.method == "exact by patient"
    kappa = direction_agreement(changes, n_resamples=50)["cohen_kappa"]
    assert (kappa.estimate, kappa.low) == (1.0, None)
    assert "all resamples give the same number" in kappa.note


def test_constant_and_negative_courses_have_a_stated_result() -> None:
    constant = trend_agreement(courses(*[([5, 5, 5], [0, 0, 0])] * 4), n_resamples=50)
    assert constant[0]["trend_accuracy"].estimate == 1.0
    assert constant[0]["cohen_kappa"].estimate is None
    assert constant[3]["concordance"].estimate is None
    assert "every change between successive scans of the reference is 0" in constant[5]["slope"].note
    negative = trend_agreement(courses(*[([-5, -1, -3], [-4, -2, -9])] * 4), n_resamples=50)
    assert negative[0]["trend_accuracy"].estimate == 1.0


def test_times_may_be_numbers_dates_or_labels() -> None:
    table = pd.DataFrame({"p": ["a"] * 3, "x": [1.0, 2, 3], "y": [1.0, 2, 3]})
    names = {"patient": "p", "time": "t", "reference": "x", "test": "y"}
    dates = make_courses(table.assign(t=["2020-03-05", "2020-02-28", "2020-03-01"]), **names)
    assert dates["days"].tolist() == [0, 2, 6]
    assert dates["reference"].tolist() == [2, 3, 1]
    stamps = make_courses(table.assign(t=pd.to_datetime(["2020-03-05", "2020-02-28", "2020-03-01"])), **names)
    assert stamps["days"].tolist() == [0, 2, 6]
    numbers = make_courses(table.assign(t=[30, 10, 20]), **names)
    assert numbers["days"].tolist() == [0, 10, 20]
    labels = make_courses(table.assign(t=["ses10", "ses2", "ses1"]), **names)
    assert labels["reference"].tolist() == [3, 2, 1]
    assert labels["days"].isna().all()
    assert "No figure per day" in rate_line(change_table(labels))["slope"].note
    assert "No figure per day" in slope_agreement(labels)["bias"].note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0, np.nan]}, "x of row 1 is nan, not a finite number"),
        ({"y": [np.inf, 1.0]}, "y of row 0 is inf, not a finite number"),
        ({"y": ["high", "1"]}, "y of row 0 is high, not a finite number"),
        ({"t": [1, 1]}, "more than one row at t 1"),
        ({"p": ["a", None]}, "A p or t is missing"),
        ({"t": [1.0, None]}, "A p or t is missing"),
    ],
)
def test_bad_courses_say_what_to_mend(change: dict[str, list], message: str) -> None:
    table = pd.DataFrame({"p": ["a", "a"], "t": [1, 2], "x": [1.0, 2.0], "y": [1.0, 2.0]}).assign(**change)
    with pytest.raises(StudyError, match=message):
        make_courses(table, patient="p", time="t", reference="x", test="y")


def test_missing_column_is_named() -> None:
    with pytest.raises(StudyError, match="no column cxr"):
        make_courses(pd.DataFrame({"p": [1], "t": [1], "x": [1]}), patient="p", time="t", reference="x", test="cxr")


def test_courses_of_a_study_keep_its_order_and_dates() -> None:
    pairs = pd.DataFrame(
        {
            "subject": ["a", "a", "b", "b"],
            "session": ["2", "10", "1", "2"],
            "date": ["2020-01-01", "2020-01-04", None, "2020-01-01"],
            "ct_ratio_percent": [1.0, 2.0, 3.0, 4.0],
            "cxr_ratio_percent": [2.0, 3.0, 5.0, 4.0],
        }
    )
    found = courses_of_pairs(pairs)
    assert found["days"].tolist()[:2] == [0, 3]
    assert found["days"].isna().tolist() == [False, False, True, True]
    assert change_table(found)["test_change"].tolist() == [1.0, -1.0]


def test_a_large_table_is_one_pass() -> None:
    generator = np.random.default_rng(0)
    n_patients, n_times = 20_000, 5
    x = generator.gamma(2, 5, size=(n_patients, n_times)).round(1)
    table = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(n_patients).astype(str), n_times),
            "time": np.tile(np.arange(n_times), n_patients),
            "days": np.tile(np.arange(n_times), n_patients).astype(float),
            "reference": x.ravel(),
            "test": (x + generator.normal(size=x.shape)).ravel(),
        }
    )
    found = direction_agreement(change_table(table), n_resamples=200)["trend_accuracy"]
    assert found.high - found.low < 0.02
    p_value = permutation_test(table)
    assert "Exact" in p_value.method
    assert p_value["p_value"].estimate < 1e-9
