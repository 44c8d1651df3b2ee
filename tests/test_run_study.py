"""The main job, end to end, on small generated cohorts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from dicom_factory import write_series
from study_factory import UNSCORED, study_file

from drrval.cli import main
from drrval.study.config import load_study
from drrval.study.measurements import COLUMNS


def test_measurements_have_a_row_per_scan_view_and_scorer(finished: Path) -> None:
    table = pd.read_csv(finished / "out/results/measurements.tsv", sep="\t", na_values="n/a", dtype={"subject": str})
    assert tuple(table.columns) == COLUMNS
    assert tuple(json.loads((finished / "out/results/measurements.json").read_text())) == COLUMNS
    assert len(table) == 4 * (1 + 2)
    assert set(table["status"]) == {"ok"}
    assert table["ratio_percent"].between(0, 100).all()


def test_measured_ct_ratio_follows_the_truth(finished: Path) -> None:
    table = pd.read_csv(finished / "out/results/measurements.tsv", sep="\t", na_values="n/a")
    truth = pd.read_csv(finished / "out/results/truth.tsv", sep="\t")
    measured = table[table["modality"] == "CT"].reset_index()
    error = measured["ratio_percent"] - truth["ratio_percent"]
    # Classical lungs leave out dense disease along mediastinum and diaphragm, so high ratios read low.
    assert np.abs(error[truth["ratio_percent"] < 20]).max() < 4
    assert np.corrcoef(measured["ratio_percent"], truth["ratio_percent"])[0, 1] > 0.95


def test_agreement_has_the_papers_figures(finished: Path) -> None:
    agreement = json.loads((finished / "out/results/agreement.json").read_text())
    assert {r["scorer"] for r in agreement["results"]} == {"projected-area", "projected-thickness"}
    for row in agreement["results"]:
        assert (row["n_scans"], row["n_patients"], row["n_intervals"]) == (4, 2, 2)
    thickness = next(r for r in agreement["results"] if r["scorer"] == "projected-thickness")
    assert thickness["pearson_r"] > 0.99  # the thickness-weighted projection is the volume ratio


def test_report_and_provenance_are_there(finished: Path) -> None:
    out = finished / "out"
    for name in (
        "index.html",
        "sub-01.html",
        "sub-02.html",
        "dataset_description.json",
        "logs/study.json",
        "logs/run.log",
    ):
        assert (out / name).stat().st_size > 0
    assert load_study(finished / "study.yaml").seed == json.loads((out / "logs/study.json").read_text())["seed"]
    assert not list((out / "work").iterdir())


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_bad_scans_fail_alone_with_their_reason(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    whole = data / "whole.nii.gz"  # comes after those that fail, and is read by every network of a default study
    whole.write_bytes((finished / "out/sourcedata/sub-01/ses-01/ct.nii.gz").read_bytes())
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((40, 64, 64), np.uint8)), str(data / "mask-like.nii.gz"))
    write_series(data / "truncated")
    cut = sorted((data / "truncated").iterdir())[7]
    cut.write_bytes(cut.read_bytes()[:-500])
    study = study_file(tmp_path, "name: mixed\ncohort: {glob: {}}\nviews: [PA]\noutput: {keep_area_density: false}\n")
    out = tmp_path / "out"
    assert main(["run-study", str(study), "--data-root", str(data), "--out", str(out)]) == 1
    table = pd.read_csv(out / "results/measurements.tsv", sep="\t")
    assert set(table[table["status"] == "ok"]["subject"]) == {"whole"}
    assert set(table[table["status"] == "failed"]["subject"]) == {"mask-like", "truncated"}
    log = capsys.readouterr().out
    for name in ("mask-like", "truncated"):
        assert (out / f"logs/crash-sub-{name}_ses-01.txt").exists()
        record = json.loads((out / f"sub-{name}/ses-01/failed.json").read_text())
        assert name in record["message"]
        assert record["message"] in log
    assert cut.name in log
    assert "exit code 1" in log.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run-study", "no.yaml"], "Cannot read the study file"),
        (["render", "no_such_ct", "--out", "x.png"], "no_such_ct"),
    ],
)
def test_bad_arguments_exit_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_unknown_scorer_and_foreign_output_stop_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_file(tmp_path, UNSCORED + "scorers: {cxr: [dlnet9]}\n")
    assert main(["run-study", str(study), "--out", str(tmp_path / "out")]) == 2
    assert "Unknown CXR scorer 'dlnet9'" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert main(["run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "full")]) == 2
    assert "foreign files" in capsys.readouterr().err


MODULE = """
from cxr_models.contract import CXRContract, CXRInput, CXRScore


class Constant:
    name = "constant"
    contract = CXRContract(size=(64, 64))

    def __init__(self, ratio: float = 10.0, fail: bool = False) -> None:
        self.ratio, self.fail = ratio, fail

    def score(self, radiograph: CXRInput) -> CXRScore:
        if self.fail:
            raise RuntimeError("no weights")
        return CXRScore(self.ratio, p_pneumonia=0.5)
"""


@pytest.mark.usefixtures("no_figures")
def test_a_model_beside_the_study_file_runs_and_its_failure_spares_the_others(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_constant_model.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "a.nii.gz").write_bytes((finished / "out/sourcedata/sub-01/ses-01/ct.nii.gz").read_bytes())
    text = """
name: own
cohort: {glob: {pattern: "*.nii.gz"}}
views: [PA]
output: {keep_area_density: false}
scorers:
  ct: [opacity]
  cxr:
    - {name: low, use: "my_constant_model:Constant"}
    - {name: high, use: "my_constant_model:Constant", options: {ratio: 90}}
    - {name: broken, use: "my_constant_model:Constant", options: {fail: true}}
"""
    out = tmp_path / "out"
    assert main(["run-study", str(study_file(tmp_path, text)), "--out", str(out)]) == 1
    table = pd.read_csv(out / "results/measurements.tsv", sep="\t", na_values="n/a").set_index("scorer")
    assert table["status"].to_dict() == {"opacity": "ok", "low": "ok", "high": "ok", "broken": "failed"}
    assert table["ratio_percent"][["low", "high"]].tolist() == [10, 90]
    assert "RuntimeError: no weights" in capsys.readouterr().out
    assert (out / "sub-a/ses-01/view-PA_drr.png").exists()


@pytest.mark.usefixtures("no_figures")
def test_flags_reach_their_rows(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes((finished / "out/sourcedata/sub-01/ses-01/ct.nii.gz").read_bytes())
    text = "name: f\ncohort: {glob: {pattern: '*.nii.gz'}}\nviews: [PA]\ngeometry: paper-literal\n"
    text += "scorers: {cxr: [projected-area], ct: [{use: 'study_factory:FlaggedScorer'}]}\n"
    assert main(["run-study", str(study_file(tmp_path, text)), "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out/results/measurements.tsv", sep="\t").set_index("modality")
    assert table["flags"]["CT"] == "lungs_joined"
    assert "lungs_outside_field" in table["flags"]["CXR"]
