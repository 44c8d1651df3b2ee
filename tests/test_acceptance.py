"""Acceptance criteria: what may be stated, how it is judged, and how it reaches the exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from study_factory import STUDY, study_file
from test_stats import QUICK, many_patients

from drrval.cli import main
from drrval.errors import StudyError
from drrval.stats import agreement_document, agreement_table, evaluate
from drrval.stats.acceptance import NUMBERS, PLAIN_NUMBERS, Criterion, all_met
from drrval.study.config import load_study


def result(low: float | None, estimate: float | None, high: float | None, view: str = "PA") -> dict[str, Any]:
    """One result whose only number is a Pearson's r, or a bias, with these ends."""
    number = {"estimate": estimate, "low": low, "high": high, "level": 0.95, "n_patients": 9, "n_scans": 27,
              "n_intervals": None, "note": "" if low is not None else "No interval: too few."}  # fmt: skip
    analyses = {
        "regression": {"least_squares": {"note": "", "numbers": {"pearson_r": number, "p_value": number}}},
        "agreement": {"limits_of_agreement": {"note": "", "numbers": {"bias": number}}},
        "trends": {},
    }
    return {"view": view, "scorer": "dlnet", "n_scans": 27, **analyses}


@pytest.mark.parametrize(
    ("criterion", "ends", "outcome"),
    [
        (Criterion("pearson_r", at_least=0.7), (0.71, 0.8, 0.9), "met"),
        (Criterion("pearson_r", at_least=0.7), (0.69, 0.8, 0.9), "not met"),
        (Criterion("pearson_r", at_least=0.7), (0.7, 0.8, 0.9), "met"),
        (Criterion("pearson_r", bound="estimate", at_least=0.7), (0.1, 0.8, 0.9), "met"),
        (Criterion("pearson_r", bound="low", at_least=0.7), (0.69, 0.8, 0.9), "not met"),
        (Criterion("bias", within=5), (-4.9, 0.0, 4.9), "met"),
        (Criterion("bias", within=5), (-5.1, 0.0, 4.9), "not met"),
        (Criterion("bias", bound="estimate", within=5), (-9.0, -5.1, 0.0), "not met"),
        (Criterion("bias", bound="high", at_most=3), (-9.0, 0.0, 3.0), "met"),
        (Criterion("bias", at_most=3), (-9.0, 0.0, 3.1), "not met"),
        (Criterion("bias", within=5), (None, 0.0, None), "not computable"),
        (Criterion("bias", bound="estimate", within=5), (None, 0.0, None), "met"),
        (Criterion("cohen_kappa", at_least=0.0), (0.5, 0.6, 0.7), "not computable"),
    ],
)
def test_outcomes(criterion: Criterion, ends: tuple[float | None, float, float | None], outcome: str) -> None:
    (found,) = evaluate([criterion], [result(*ends)])
    assert found["outcome"] == outcome
    assert all_met([found]) == (outcome == "met")
    assert bool(found["reason"]) == (outcome == "not computable")
    json.dumps(found, allow_nan=False)


def test_every_matching_view_and_scorer_must_meet_it() -> None:
    results = [result(0.8, 0.9, 1.0), result(0.5, 0.9, 1.0, view="AP")]
    every = evaluate([Criterion("pearson_r", at_least=0.7)], results)
    assert [(o["view"], o["outcome"]) for o in every] == [("PA", "met"), ("AP", "not met")]
    assert [o["view"] for o in evaluate([Criterion("pearson_r", at_least=0.7, view="PA")], results)] == ["PA"]
    (nowhere,) = evaluate([Criterion("pearson_r", at_least=0.7, scorer="lsnet")], results)
    assert (nowhere["outcome"], nowhere["scorer"]) == ("not computable", "lsnet")
    assert "No scan of this view and scorer" in nowhere["reason"]


def test_a_bare_name_is_that_of_the_first_analysis() -> None:
    assert Criterion("slope", at_least=1).analysis == "least_squares"
    assert Criterion("bias", within=1).analysis == "limits_of_agreement"
    assert Criterion("concordance", at_least=0).analysis == "lin_concordance"
    assert Criterion("concordance", analysis="four_quadrant", at_least=0).analysis == "four_quadrant"
    assert Criterion("slope", at_least=1).text() == "least_squares slope: whole interval at least 1"


def test_the_catalogue_is_what_the_analyses_give() -> None:
    tidy = agreement_table(agreement_document(many_patients(), "opacity", settings=QUICK))
    found = {(a, n): low for a, n, low in zip(tidy["analysis"], tidy["number"], tidy["low"], strict=True)}
    with_interval = {(analysis, number) for analysis, numbers in NUMBERS.items() for number in numbers}
    plain = {(analysis, number) for analysis, numbers in PLAIN_NUMBERS.items() for number in numbers}
    assert with_interval | plain == set(found)
    assert not with_interval & plain
    assert all(pd.isna(found[key]) for key in plain)
    assert all(pd.notna(found[key]) for key in with_interval)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"number": "pearson", "at_least": 0.7}, "Unknown number 'pearson'. Expected one of: pearson_r, slope"),
        ({"number": "slope", "analysis": "ols", "at_least": 0.7}, "Unknown analysis 'ols'. Expected one of: least_squ"),
        ({"number": "bias", "analysis": "deming", "within": 1}, "deming has no number 'bias'. Expected one of: slope"),
        ({"number": "bias"}, "exactly one of at_least, at_most, within; got none"),
        ({"number": "bias", "within": 1, "at_most": 2}, "got at_most, within"),
        ({"number": "bias", "within": -1}, "0 or more.*got -1"),
        ({"number": "bias", "at_least": float("nan")}, "must be a finite number"),
        ({"number": "bias", "bound": "upper", "within": 1}, "Unknown bound 'upper'. Expected one of: interval, est"),
        ({"number": "p_value", "at_most": 0.05}, "p_value of least_squares has no interval. Set bound: estimate"),
    ],
)
def test_criteria_that_cannot_be_judged_are_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=message):
        Criterion(**values)
    if values.get("at_least") == values.get("at_least"):  # NaN has no JSON
        study = study_file(tmp_path, f"{STUDY}acceptance: [{json.dumps(values)}]\n")
        with pytest.raises(StudyError, match=rf"acceptance\.0: got .*{message}"):
            load_study(study)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{number: bias, within: 5, view: AP}", "view 'AP' is not in this study; expected one of: PA"),
        ("{number: bias, within: 5, scorer: x}", "scorer 'x' is not in this study; expected one of: projected-area"),
        ("{number: bias, inside: 5}", "inside: unknown key. Expected one of: number, analysis, bound, at_least"),
    ],
)
def test_criteria_speak_of_the_study(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(study_file(tmp_path, f"{STUDY}acceptance: [{text}]\n"))


def test_the_resolved_study_names_the_analysis(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, STUDY + "acceptance: [{number: slope, at_least: 0.5}]\n"))
    assert study.resolved()["acceptance"][0]["analysis"] == "least_squares"
    assert study.comparison().seed == study.seed == 3


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("limit", "code", "outcome"),
    [("bound: estimate, at_least: 0.5", 0, "met"), ("bound: estimate, at_least: 2", 3, "not met"),
     ("at_least: 0.5", 3, "not computable")],
)  # fmt: skip
def test_enforce_sets_the_exit_code(
    finished: Path, tmp_path: Path, limit: str, code: int, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished / "out", tmp_path / "out")
    criterion = f"{{number: pearson_r, {limit}, scorer: projected-area}}"
    text = f"{STUDY}statistics: {{n_resamples: 100}}\nacceptance: [{criterion}]\n"
    command = ["run-study", str(study_file(tmp_path, text)), "--out", str(tmp_path / "out"), "--reports-only"]
    if outcome == "not met":
        assert main(command) == 0
    assert main([*command, "--enforce"]) == code
    log = capsys.readouterr().out.splitlines()
    assert f"PA projected-area: {outcome}" in log[-2]
    assert f"exit code {code}" in log[-1]
    written = json.loads((tmp_path / "out/results/acceptance.json").read_text())
    assert written["all_met"] is (outcome == "met")
    assert [o["outcome"] for o in written["outcomes"]] == [outcome]
    assert written["study_sha256"] in (tmp_path / "out/index.html").read_text()


def test_enforce_without_criteria(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "out"), "--enforce"]) == 2
    assert "states no acceptance criteria" in capsys.readouterr().err
