"""A study that is run again: nothing done is lost, nothing stale is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_factory import STUDY, results, study_file

from drrval.cli import main
from drrval.study import fingerprint, run
from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.fingerprint import noise_seed, scan_key


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


def test_killed_run_goes_on_with_two_jobs_and_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "drrval", "run-study", str(study_file(tmp_path)), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    first = tmp_path / "out/sub-01/ses-01/scan.json"
    deadline = time.monotonic() + 600
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = first.stat().st_mtime_ns
    assert not (tmp_path / "out/index.html").exists()
    assert main([*command[3:], "--jobs", "2"]) == 0
    assert first.stat().st_mtime_ns == kept
    assert results(tmp_path / "out") == results(finished / "out")


def test_other_settings_are_computed_anew(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = study_file(tmp_path, STUDY.replace("seed: 3", "seed: 4"))
    assert main(["run-study", str(changed), "--out", str(finished / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == 4


def copied_study(finished: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A finished study of one scan read from a file, and its command."""
    data = tmp_path / "data"
    data.mkdir()
    scan = data / "p1.nii.gz"
    shutil.copy(finished / "out/sourcedata/sub-01/ses-01/ct.nii.gz", scan)
    scorers = "{ct: [opacity], cxr: [projected-area, projected-thickness]}"
    text = f"name: one\ncohort: {{glob: {{}}}}\nviews: [PA]\nscorers: {scorers}\noutput: {{keep_area_density: false}}\n"
    study = study_file(tmp_path, text)
    command = ["run-study", str(study), "--data-root", str(data), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    return scan, command


@pytest.mark.usefixtures("no_figures")
def test_what_is_missing_or_changed_is_computed_anew_and_failures_lose_nothing(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, command = copied_study(finished, tmp_path)
    out = tmp_path / "out"
    before = results(out)

    # A picture is gone: the scan is computed again, to the same bytes.
    (out / "sub-p1/ses-01/view-PA_drr.png").unlink()
    assert main(command) == 0
    assert " ok (key" in capsys.readouterr().out
    assert results(out) == before

    # The CT is gone damaged: exit 1, the finished files stay; the CT is back: finished again without work.
    content = scan.read_bytes()
    scan.write_bytes(content[:3000])
    assert main(command) == 1
    assert (out / "logs/crash-sub-p1_ses-01.txt").exists()
    assert (out / "sub-p1/ses-01/view-PA_drr.png").exists()
    assert "failed" in (out / "sub-p1.html").read_text()
    capsys.readouterr()
    scan.write_bytes(content)
    assert main(command) == 0
    assert " cached " in capsys.readouterr().out
    assert results(out) == before
    assert not (out / "logs/crash-sub-p1_ses-01.txt").exists()

    # Reports need no CT, even where the cohort is a search for CTs.
    scan.unlink()
    assert main([*command, "--reports-only"]) == 0
    assert results(out) == before


def test_reports_only_refuses_another_study_and_an_empty_folder(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = study_file(tmp_path, STUDY.replace("seed: 3", "seed: 4"))
    before = results(finished / "out")
    assert main(["run-study", str(changed), "--out", str(finished / "out"), "--reports-only"]) == 2
    assert "made with other settings of seed" in capsys.readouterr().err
    assert results(finished / "out") == before
    assert main(["run-study", str(changed), "--out", str(tmp_path / "new"), "--reports-only"]) == 2
    assert "holds no finished study" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_failing_report_is_said_and_exits_with_1(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path) -> list[Path]:
        raise OSError("disk full")

    monkeypatch.setattr(run, "write_reports", broken)
    assert main(["run-study", str(finished / "study.yaml"), "--out", str(finished / "out")]) == 1
    log = capsys.readouterr().out
    assert "the report failed: OSError: disk full" in log
    assert "exit code 1" in log.splitlines()[-1]


SCAN = PlannedScan("01", "01", "", Path("ct.nii.gz"), "ct.nii.gz")


def key(scan: PlannedScan = SCAN, input_hash: str = "a", **settings: Any) -> str:
    study = Study.model_validate({"name": "s", "cohort": {"glob": {}}, **settings})
    return scan_key(scan, study, input_hash)


def test_key_changes_with_all_that_matters_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"1")
    with_weights = {"scorers": {"ct": [{"use": "opacity", "options": {"weights": str(weights)}}]}}
    keys = [
        key(),
        key(input_hash="b"),
        key(seed=1),
        key(views=["PA"]),
        key(detector={"noise": False}),
        key(scorers={"ct": [{"use": "opacity", "options": {"threshold_hu": -600}}]}),
        key(scan=replace(SCAN, series_uid="1.2")),
        key(**with_weights),
    ]
    weights.write_bytes(b"2")
    keys.append(key(**with_weights))
    monkeypatch.setattr(fingerprint, "code_digest", lambda: "other code")
    keys.append(key())
    monkeypatch.undo()
    monkeypatch.setattr(fingerprint, "library_versions", lambda: {"numpy": "9"})
    keys.append(key())
    monkeypatch.undo()
    assert len(set(keys)) == len(keys)
    assert key(name="t", description="d", statistics={"exclude_flags": ["lungs_joined"]}) == keys[0]


def test_noise_seeds_differ_by_study_scan_and_view() -> None:
    seeds = {noise_seed(s, scan, view) for s in (1, 2) for scan in ("a", "b") for view in ("PA", "AP")}
    assert len(seeds) == 8
    assert noise_seed(1, "a", "PA") in seeds


def test_logs_hold_input_hashes_and_seeds(finished: Path) -> None:
    scans = json.loads((finished / "out/logs/scans.json").read_text())
    assert [s["scan_id"] for s in scans] == ["sub-01_ses-01", "sub-01_ses-02", "sub-02_ses-01", "sub-02_ses-02"]
    for scan in scans:
        assert len(scan["input_sha256"]) == len(scan["key"]) == 64
        assert scan["seeds"] == {"PA": noise_seed(3, scan["scan_id"], "PA")}
