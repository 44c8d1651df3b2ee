"""The main job, end to end, on small generated cohorts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from drrval.cli import main
from drrval.study.config import load_study
from drrval.study.executor import run_all
from drrval.study.measurements import COLUMNS

STUDY = """
name: small
seed: 3
cohort:
  simulate: {patients: 2, timepoints: 2, seed: 11, spacing_mm: 4.0}
views: [PA]
output: {keep_area_density: false}
"""


def study_file(folder: Path, text: str = STUDY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def results(out: Path) -> dict[str, bytes]:
    """Everything a user reads: all but logs, which hold times."""
    files = [p for p in out.rglob("*") if p.is_file() and "logs" not in p.parts and "work" not in p.parts]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert main(["run-study", str(study_file(folder)), "--out", str(folder / "out"), "--no-progress"]) == 0
    return folder


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
    assert np.abs(measured["ratio_percent"] - truth["ratio_percent"]).max() < 10


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


def test_same_command_again_recomputes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(finished / "out")
    assert main(["run-study", str(finished / "study.yaml"), "--out", str(finished / "out"), "--no-progress"]) == 0
    assert capsys.readouterr().out.count(" cached ") == 4
    assert results(finished / "out") == before


def test_reports_can_be_rebuilt_without_the_scans(finished: Path) -> None:
    out = finished / "out"
    before = results(out)
    for page in ("index.html", "results/agreement.json"):
        (out / page).unlink()
    assert main(["run-study", str(finished / "study.yaml"), "--out", str(out), "--reports-only"]) == 0
    assert results(out) == before


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == 4
    assert not (tmp_path / "out").exists()


def test_killed_run_goes_on_and_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "drrval", "run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    first = tmp_path / "out/sub-01/ses-01/scan.json"
    deadline = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = first.stat().st_mtime_ns
    assert not (tmp_path / "out/index.html").exists()
    assert main(command[3:]) == 0
    assert first.stat().st_mtime_ns == kept
    assert results(tmp_path / "out") == results(finished / "out")


def test_other_settings_are_computed_anew(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = study_file(tmp_path, STUDY.replace("seed: 3", "seed: 4"))
    assert main(["run-study", str(changed), "--out", str(finished / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == 4


def test_bad_scans_fail_alone_with_their_reason(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted((finished / "out/sourcedata").rglob("ct.nii.gz"))[:2]
    data = tmp_path / "data"
    data.mkdir()
    for name, path in zip(("good1", "good2"), good, strict=True):
        (data / f"{name}.nii.gz").write_bytes(path.read_bytes())
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((40, 64, 64), np.uint8)), str(data / "mask-like.nii.gz"))
    (data / "truncated.nii.gz").write_bytes(good[0].read_bytes()[:2000])
    study = study_file(tmp_path, "name: mixed\ncohort: {glob: {}}\nviews: [PA]\noutput: {keep_area_density: false}\n")
    out = tmp_path / "out"
    assert main(["run-study", str(study), "--data-root", str(data), "--out", str(out)]) == 1
    table = pd.read_csv(out / "results/measurements.tsv", sep="\t")
    assert set(table[table["status"] == "ok"]["subject"]) == {"good1", "good2"}
    assert set(table[table["status"] == "failed"]["subject"]) == {"mask-like", "truncated"}
    log = capsys.readouterr().out
    for name in ("mask-like", "truncated"):
        assert (out / f"logs/crash-sub-{name}_ses-01.txt").exists()
        record = json.loads((out / f"sub-{name}/ses-01/scan.json").read_text())
        assert name in record["message"]
        assert record["message"] in log
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
    study = study_file(tmp_path, STUDY + "scorers: {cxr: [dlnet9]}\n")
    assert main(["run-study", str(study), "--out", str(tmp_path / "out")]) == 2
    assert "Unknown CXR scorer 'dlnet9'" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert main(["run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "full")]) == 2
    assert "foreign files" in capsys.readouterr().err or "did not write" in capsys.readouterr().err


def _double_or_die(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def test_a_dead_worker_costs_only_its_own_item() -> None:
    done = dict(run_all(_double_or_die, [1, 2, 3, 4], jobs=2, on_death=lambda item: -item))
    assert done == {1: 2, 2: -2, 3: 6, 4: 8}
