import re
from pathlib import Path

import pytest

from drrval.simulation import SimulateSettings, simulate_cohort
from drrval.study.config import load_study
from drrval.study.store import write_volume

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume = simulate_cohort(SimulateSettings(patients=1, timepoints=1, seed=1, spacing_mm=4.0))[0].make().volume
    write_volume(tmp_path / "ct.nii.gz", volume.hu.astype("int16"), volume.grid)
    snippets = blocks("python")
    assert len(snippets) == 3
    for snippet in snippets:
        exec(snippet, {"__name__": "readme"})
    assert (tmp_path / "pa.png").stat().st_size > 0


def test_study_snippets_are_valid(tmp_path: Path) -> None:
    for number, snippet in enumerate(blocks("yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(snippet, encoding="utf-8")
        assert load_study(path).name == "follow-up"


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link
