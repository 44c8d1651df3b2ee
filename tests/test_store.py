"""One run at a time in an output folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drrval.cli import main
from drrval.errors import StudyError
from drrval.study.store import held_folder, is_new

_STUDY = """
name: small
cohort: {simulate: {patients: 1, timepoints: 1}}
views: [PA]
scorers: {ct: [opacity], cxr: [projected-area], reference: opacity}
"""
_SET = """
name: small
cohorts: [{simulate: {patients: 1, timepoints: 1}}]
"""
_HOLD = """
import sys, time
from pathlib import Path
from drrval.study.store import held_folder
with held_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_takes_one_run_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    with held_folder(out):
        assert is_new(out)
        with (
            pytest.raises(StudyError, match=r"Another run of drrval is working in .*out\. Wait until it has ended, or"),
            held_folder(out),
        ):
            pass
        (out / "result.txt").write_text("1")
        assert not is_new(out)
    with held_folder(out):
        pass
    assert os.listdir(out) == ["result.txt"]


def test_a_folder_made_for_nothing_is_removed_and_an_old_one_kept(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no scans"), held_folder(tmp_path / "out"):
        raise StudyError("no scans")
    with held_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(out)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(StudyError, match="Another run of drrval"), held_folder(out):
                pass
        finally:
            other.kill()
    assert is_new(out)  # the file that the lock was on is no content
    with held_folder(out):
        pass


@pytest.mark.parametrize(
    "command",
    [
        ["simulate", "--seed", "1"],
        ["run-study", "study.yaml"],
        ["sensitivity", "study.yaml"],
        ["synthesize", "set.yaml"],
        ["score-ct", "ct.nii.gz", "--scorer", "opacity"],
    ],
)
def test_every_command_leaves_the_work_of_another_run_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(_STUDY)
    Path("set.yaml").write_text(_SET)
    out = tmp_path / "out"
    with held_folder(out):
        (out / "work/.unfinished-1").mkdir(parents=True)
        before = sorted(out.rglob("*"))
        assert main([*command, "--out", str(out)]) == 2
        assert capsys.readouterr().err.startswith(f"drrval: Another run of drrval is working in {out}. Wait until")
        assert sorted(out.rglob("*")) == before
