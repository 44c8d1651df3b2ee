"""Trend labels, pairing and agreement statistics, against published values and hand-made courses."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from drrval.errors import StudyError
from drrval.stats import (
    ComparisonSettings,
    agreement_document,
    agreement_results,
    agreement_table,
    fit_line,
    natural_key,
    pair_measurements,
    trend_labels,
)
from drrval.stats.agreement import DEFINITIONS

# NIST Statistical Reference Datasets, linear regression, "Norris" (US Government work), columns y and x.
NORRIS = np.array(
    [
        [0.1, 0.2], [338.8, 337.4], [118.1, 118.2], [888.0, 884.6], [9.2, 10.1], [228.1, 226.5],
        [668.5, 666.3], [998.5, 996.3], [449.1, 448.6], [778.9, 777.0], [559.2, 558.2], [0.3, 0.4],
        [0.1, 0.6], [778.1, 775.5], [668.8, 666.9], [339.3, 338.0], [448.9, 447.5], [10.8, 11.6],
        [557.7, 556.0], [228.3, 228.1], [998.0, 995.8], [888.8, 887.6], [119.6, 120.2], [0.3, 0.3],
        [0.6, 0.3], [557.6, 556.8], [339.3, 339.1], [888.0, 887.2], [998.5, 999.0], [778.9, 779.0],
        [10.2, 11.1], [117.6, 118.3], [228.9, 229.2], [668.4, 669.1], [449.2, 448.9], [0.2, 0.5],
    ]
)  # fmt: skip


def scan(subject: str, session: str, ct: float, cxr: float, date: str | None = None, **changes: object) -> list[dict]:
    """A CT reference row and a PA radiograph row of one scan."""
    common = {"subject": subject, "session": session, "date": date, "status": "ok", **changes}
    return [
        {**common, "view": None, "scorer": "opacity", "modality": "CT", "ratio_percent": ct},
        {**common, "view": "PA", "scorer": "area", "modality": "CXR", "ratio_percent": cxr},
    ]


def table(*scans: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for rows in scans for row in rows])


def test_norris_certified_values() -> None:
    fit = fit_line(NORRIS[:, 1], NORRIS[:, 0])
    assert fit.slope == pytest.approx(1.00211681802045, rel=1e-13)
    assert fit.intercept == pytest.approx(-0.262323073774029, rel=1e-11)
    assert fit.r_squared == pytest.approx(0.999993745883712, rel=1e-14)
    assert fit.pearson_r == pytest.approx(np.sqrt(0.999993745883712), rel=1e-14)
    assert fit.note == ""


def test_anscombe_published_values() -> None:
    # Anscombe, Am. Stat. 1973;27:17-21: sets 1 and 3 share the line y = 3 + 0.5 x and R2 = 0.667.
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    first = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    third = [7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73]
    for y in (first, third):
        fit = fit_line(x, y)
        assert fit.slope == pytest.approx(0.500, abs=5e-4)
        assert fit.intercept == pytest.approx(3.00, abs=5e-3)
        assert fit.r_squared == pytest.approx(0.667, abs=1e-3)
        assert fit.pearson_r == pytest.approx(0.816, abs=5e-4)
        assert fit.p_value == pytest.approx(0.0022, abs=5e-5)


def test_regresses_cxr_on_ct_and_not_the_reverse() -> None:
    scans = [
        scan(str(i), "1", ct, 2 * ct + 5 + wobble) for i, (ct, wobble) in enumerate([(1, 0), (2, 1), (4, -1), (8, 0)])
    ]
    row = agreement_results(table(*scans), "opacity")[0]
    slope, intercept = np.polyfit([1, 2, 4, 8], [7, 10, 12, 21], 1)
    assert (row["slope"], row["intercept"]) == (pytest.approx(slope), pytest.approx(intercept))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([10, 20, 15, 15], [1, 0, 0]),
        ([0, 5], [1]),
        ([0, 0], [0]),
        ([5, 0, 3], [0, 1]),
        ([5], []),
        ([], []),
    ],
)
def test_trend_labels(values: list[float], labels: list[int]) -> None:
    assert trend_labels(values) == labels


def test_trend_labels_equal_the_quotient_rule_away_from_zero() -> None:
    course = np.random.default_rng(3).uniform(0.1, 100, 500)
    assert trend_labels(course) == [int(b / a > 1) for a, b in pairwise(course)]


@pytest.mark.parametrize(("bad", "shown"), [(float("nan"), "nan"), (float("inf"), "inf"), (-1.0, "-1.0")])
def test_trend_labels_refuse(bad: float, shown: str) -> None:
    with pytest.raises(StudyError, match=rf"at least 0, got {shown} at position 1 of 3. Leave that scan out"):
        trend_labels([1.0, bad, 2.0])


def test_trend_labels_refuse_a_matrix() -> None:
    with pytest.raises(StudyError, match=r"shape \(2, 2\). Pass the ratios of one patient"):
        trend_labels([[1.0, 2.0], [3.0, 4.0]])


def test_trends_are_counted_within_patients() -> None:
    row = agreement_results(
        table(
            scan("01", "1", 10, 12), scan("01", "2", 20, 30), scan("01", "3", 5, 31),
            scan("02", "1", 3, 4), scan("02", "2", 2, 1),
            scan("03", "1", 50, 60),
        ),
        "opacity",
    )[0]  # fmt: skip
    assert [(t["subject"], t["from_session"], t["to_session"], t["ct_label"], t["cxr_label"], t["agree"])
            for t in row["trend_labels"]] == [
        ("01", "1", "2", 1, 1, 1),
        ("01", "2", "3", 0, 1, 0),
        ("02", "1", "2", 0, 0, 1),
    ]  # fmt: skip
    assert row["trend_accuracy"] == pytest.approx(2 / 3)
    assert (row["n_intervals"], row["n_scans"], row["n_patients"]) == (3, 6, 3)
    assert "takes all scans as independent" in row["note"]


def test_interval_labels_follow_trend_labels() -> None:
    draw = np.random.default_rng(8)
    courses = {str(patient): draw.integers(0, 4, (5, 2)) for patient in range(30)}
    scans = [scan(name, str(k), *course[k]) for name, course in courses.items() for k in range(5)]
    intervals = agreement_results(table(*scans), "opacity")[0]["trend_labels"]
    for name, course in courses.items():
        mine = [i for i in intervals if i["subject"] == name]
        assert [i["ct_label"] for i in mine] == trend_labels(course[:, 0])
        assert [i["cxr_label"] for i in mine] == trend_labels(course[:, 1])


def test_negative_ratio_is_refused() -> None:
    with pytest.raises(StudyError, match=r"at least 0, got -3.0 at position 1 of 2"):
        agreement_results(table(scan("1", "1", 1, 1), scan("1", "2", 2, -3)), "opacity")


def test_pairs_leave_out_failed_and_missing_rows() -> None:
    rows = table(
        scan("01", "1", 10, 12), scan("01", "2", 10, 12, status="failed"),
        scan("01", "3", float("nan"), 12), scan("01", "4", 10, float("nan")),
    )  # fmt: skip
    rows.loc[len(rows)] = {**scan("01", "5", 1, 2)[1]}  # a radiograph whose CT row is absent
    pairs = pair_measurements(rows, "opacity")
    assert list(pairs["session"]) == ["1"]
    assert list(pairs.columns) == [
        "subject",
        "session",
        "date",
        "view",
        "scorer",
        "ct_ratio_percent",
        "cxr_ratio_percent",
    ]
    assert (pairs["ct_ratio_percent"][0], pairs["cxr_ratio_percent"][0]) == (10, 12)


def test_time_order_by_date_when_all_are_dated_else_by_session() -> None:
    rows = table(
        scan("10", "b", 1, 1, "2020-03-01"), scan("10", "a", 2, 2, "2020-03-20"),
        scan("10", "c", 3, 3, "2020-02-01"),
        scan("2", "10", 1, 1, "2020-01-01"), scan("2", "9", 2, 2), scan("2", "1", 3, 3, "2020-02-01"),
    )  # fmt: skip
    pairs = pair_measurements(rows, "opacity")
    assert list(pairs["subject"] + "/" + pairs["session"]) == ["2/1", "2/9", "2/10", "10/c", "10/b", "10/a"]


def test_equal_dates_fall_back_to_the_session_label() -> None:
    rows = table(scan("1", "10", 1, 1, "2020-03-01"), scan("1", "2", 2, 2, "2020-03-01"))
    assert list(pair_measurements(rows, "opacity")["session"]) == ["2", "10"]


def test_natural_key() -> None:
    assert sorted(["ses10", "ses9", "baseline", "02", "1", "10"], key=natural_key) == [
        "1", "02", "10", "baseline", "ses9", "ses10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scans", "why"),
    [
        ([("1", 10, 20), ("2", 20, 30)], "at least 3 scans, got 2"),
        ([("1", 10, 20), ("2", 10, 30), ("3", 10, 25)], "every CT ratio is 10"),
        ([("1", 10, 0), ("2", 20, 0), ("3", 30, 0)], "every radiograph ratio is 0"),
    ],
)
def test_degenerate_input_gives_none_and_a_reason(scans: list[tuple[str, float, float]], why: str) -> None:
    result = agreement_document(table(*(scan("01", *values) for values in scans)), "opacity")
    row = result["results"][0]
    assert [row[key] for key in ("pearson_r", "p_value", "slope", "intercept", "r_squared")] == [None] * 5
    assert why in row["note"]
    assert row["trend_accuracy"] is not None
    json.dumps(result, allow_nan=False)


def test_one_scan_per_patient_has_no_trend_and_no_independence_note() -> None:
    row = agreement_results(table(*(scan(str(i), "1", i, i * i) for i in range(5))), "opacity")[0]
    assert (row["trend_accuracy"], row["n_intervals"], row["trend_labels"]) == (None, 0, [])
    assert row["note"] == "No trend accuracy: no patient has two scans with both ratios."


def test_a_scorer_without_any_usable_scan_is_still_listed() -> None:
    rows = table(scan("01", "1", 10, 12, status="failed"))
    rows = rows[rows["modality"] == "CXR"]
    row = agreement_results(rows, "opacity")[0]
    assert (row["view"], row["n_scans"], row["n_patients"]) == ("PA", 0, 0)
    assert "at least 3 scans, got 0" in row["note"]


def test_no_measurements_at_all() -> None:
    empty = table(scan("01", "1", 1, 1)).iloc[:0]
    assert agreement_document(empty, "opacity") == {
        "reference": "opacity",
        "exclude_flags": [],
        "settings": asdict(ComparisonSettings()),
        "definitions": DEFINITIONS,
        "results": [],
    }


def test_agreement_document_is_json_ready_and_every_number_is_defined() -> None:
    result = agreement_document(table(*(scan("01", str(i), i, i) for i in range(1, 6))), "opacity")
    row = json.loads(json.dumps(result, allow_nan=False))["results"][0]
    assert row["pearson_r"] == pytest.approx(1.0)
    assert set(row) - set(result["definitions"]) == {"view", "scorer", "reference"}


def test_views_and_scorers_keep_their_order_of_appearance() -> None:
    rows = table(scan("02", "1", 1, 1), scan("01", "1", 1, 1))
    lateral = rows[rows["modality"] == "CXR"].assign(view="AP")
    both = pd.concat([rows, lateral], ignore_index=True)
    assert [row["view"] for row in agreement_results(both, "opacity")] == ["PA", "AP"]
    assert list(pair_measurements(both, "opacity")["view"]) == ["PA", "PA", "AP", "AP"]


def test_unknown_reference() -> None:
    with pytest.raises(StudyError, match=r"Unknown reference scorer 'volume'. Expected one of .*: opacity"):
        pair_measurements(table(scan("01", "1", 1, 1)), "volume")


def test_two_rows_of_one_scan() -> None:
    with pytest.raises(StudyError, match=r"more than one row for subject 01, session 1. Keep one row per scan"):
        pair_measurements(table(scan("01", "1", 1, 1), scan("01", "1", 2, 2)), "opacity")


def test_missing_column() -> None:
    with pytest.raises(StudyError, match=r"have no column date. They need subject, session"):
        pair_measurements(table(scan("01", "1", 1, 1)).drop(columns="date"), "opacity")


def test_bad_date() -> None:
    with pytest.raises(StudyError, match=r"not of the form 2020-03-05: .*05/03/2020"):
        pair_measurements(table(scan("01", "1", 1, 1, "05/03/2020")), "opacity")


def test_fit_line_refuses_what_it_cannot_fit() -> None:
    with pytest.raises(StudyError, match=r"got NaN or infinity. Leave those scans out"):
        fit_line([1.0, 2.0, float("nan")], [1.0, 2.0, 3.0])
    with pytest.raises(StudyError, match=r"shapes \(3,\) and \(2,\). Pair the rows first"):
        fit_line([1.0, 2.0, 3.0], [1.0, 2.0])


def test_flagged_measurements_can_be_left_out() -> None:
    rows = table(
        scan("01", "1", 10.0, 20.0),
        scan("01", "2", 20.0, 30.0),
        scan("02", "1", 30.0, 90.0, flags="a;b"),
        scan("02", "2", 40.0, 50.0, flags="bb"),
    )
    every, some = (agreement_document(rows, "opacity", exclude)["results"][0] for exclude in ((), ("b",)))
    assert (every["n_scans"], some["n_scans"]) == (4, 3)
    assert some["slope"] == pytest.approx(1.0)
    assert agreement_document(rows, "opacity", ("c",))["results"][0] == every


def many_patients(n_patients: int = 9, n_scans: int = 3) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    scans = []
    for patient in range(n_patients):
        own = draw.normal(0, 3)
        for k in range(n_scans):
            ct = float(draw.uniform(5, 60))
            dates = f"2020-03-{1 + 7 * k:02d}"
            scans.append(scan(f"{patient:02d}", str(k), ct, max(0.0, 4 + 0.8 * ct + own + draw.normal(0, 3)), dates))
    return table(*scans)


QUICK = ComparisonSettings(n_resamples=200, seed=5, margin=10.0, reference_zone=3.0)


def test_the_analyses_carry_the_papers_numbers_with_intervals() -> None:
    row = agreement_results(many_patients(), "opacity", settings=QUICK)[0]
    line = row["regression"]["least_squares"]["numbers"]
    for name in ("pearson_r", "slope", "intercept", "r_squared"):
        assert line[name]["estimate"] == pytest.approx(row[name], rel=1e-12)
        assert line[name]["low"] < row[name] < line[name]["high"]
        assert (line[name]["n_patients"], line[name]["n_scans"], line[name]["n_intervals"]) == (9, 27, None)
    trend = row["trends"]["trend_direction"]["numbers"]["trend_accuracy"]
    assert trend["estimate"] == pytest.approx(row["trend_accuracy"], rel=1e-12)
    assert (trend["n_patients"], trend["n_scans"], trend["n_intervals"]) == (9, None, 18)
    assert "margin 10" in row["agreement"]["total_deviation"]["method"]
    assert "at most 3 points" in row["trends"]["trend_zone"]["method"]
    bias = row["agreement"]["limits_of_agreement"]["numbers"]["bias"]["estimate"]
    pairs = pair_measurements(many_patients(), "opacity")
    assert bias == pytest.approx((pairs["cxr_ratio_percent"] - pairs["ct_ratio_percent"]).mean(), rel=1e-12)


def test_settings_reach_the_intervals() -> None:
    def ends(settings: ComparisonSettings) -> tuple[float, float]:
        number = agreement_results(many_patients(), "opacity", settings=settings)[0]["regression"]["deming"]["numbers"]
        return number["slope"]["low"], number["slope"]["high"]

    wide = ends(QUICK)
    assert ends(QUICK) == wide
    assert ends(ComparisonSettings(n_resamples=200, seed=6)) != wide
    narrow = ends(ComparisonSettings(n_resamples=200, seed=5, level=0.8))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_agreement_table_is_tidy_and_says_the_same() -> None:
    document = agreement_document(many_patients(), "opacity", settings=QUICK)
    tidy = agreement_table(document)
    assert list(tidy.columns) == [
        "view", "scorer", "analysis", "number", "estimate", "low", "high", "level", "interval", "n_patients",
        "n_scans", "n_intervals", "method", "note",
    ]  # fmt: skip
    assert not tidy.duplicated(["view", "scorer", "analysis", "number"]).any()
    assert set(tidy["n_patients"]) == {9}
    assert (tidy["method"] != "").all()
    kappa = tidy.set_index(["analysis", "number"]).loc[("trend_direction", "cohen_kappa")]
    stored = document["results"][0]["trends"]["trend_direction"]["numbers"]["cohen_kappa"]
    assert (kappa["estimate"], kappa["low"], kappa["n_intervals"]) == (stored["estimate"], stored["low"], 18)


@pytest.mark.parametrize("n_scans", [0, 1, 2])
def test_hardly_any_scan_still_gives_strict_json(n_scans: int) -> None:
    rows = table(*(scan("01", str(k), 10.0 + k, 20.0) for k in range(3)))
    rows.loc[rows["session"].astype(int) >= n_scans, "status"] = "failed"
    document = agreement_document(rows, "opacity", settings=QUICK)
    json.dumps(document, allow_nan=False)
    row = document["results"][0]
    assert row["n_scans"] == n_scans
    assert len(agreement_table(document)) == (0 if n_scans == 0 else 70)
    if n_scans:
        assert row["regression"]["deming"]["numbers"]["slope"]["estimate"] is None
        assert "at least 3 scans" in row["regression"]["deming"]["numbers"]["slope"]["note"]
