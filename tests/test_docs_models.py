"""docs/models.md: its study snippets are valid, its Python runs, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from test_cxr_adapter_files import onnx_file

from drrval.cli import main
from drrval.study.config import load_study
from drrval.training.kinds import KINDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/models.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_study_snippets_are_valid(tmp_path: Path) -> None:
    used = []
    for snippet in blocks("yaml"):
        path = tmp_path / "study.yaml"
        path.write_text(f"name: s\ncohort: {{simulate: {{}}}}\n{snippet}", encoding="utf-8")
        scorers = load_study(path).scorers
        used += [spec.use for spec in (*scorers.ct, *scorers.cxr)]
    assert {"corona", "dlnet-light", "cxr_models.adapters:OnnxScorer"} <= set(used)


def test_python_lists_a_simulated_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ct_models.data.tables import read_table

    monkeypatch.chdir(tmp_path)
    cohort = tmp_path / "cohort.yaml"
    cohort.write_text("simulate: {patients: 1, timepoints: 1, seed: 1, spacing_mm: 6.0}\n")
    assert main(["simulate", str(cohort), "--out", "out/ct", "--no-progress"]) == 0
    (snippet,) = (block for block in blocks("python") if "list_cohort" in block)
    exec(snippet, {"__name__": "models"})
    assert len(read_table(tmp_path / "out/ct/training.csv")) == 1


def test_python_makes_a_scorer_of_an_onnx_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx_file(tmp_path / "model.onnx", 64)
    (module,) = (block for block in blocks("python") if "OnnxScorer" in block)
    # The example's model reads colour and gives two classes; the file here reads grey and gives one logit.
    names: dict[str, Any] = {"__name__": "my_vendor"}
    exec(module.replace('channels=3, normalise="imagenet", output="softmax", index=1', 'output="logit"'), names)
    assert list(names["make"]().weights_sha256) == ["model.onnx"]


def test_kinds_scorers_and_links_exist() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in PAGE
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
