"""Scorers are made once per process; their weights are recorded and part of the resume key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ct_models.opacity import OpacityScorer
from cxr_models.contract import CXRContract, CXRInput, CXRScore
from drrval.errors import ScorerError
from drrval.study import provenance
from drrval.study.config import ScorerSpec, Study
from drrval.study.fingerprint import code_digest, scorer_digest
from drrval.study.scorer_cache import ct_scorer, cxr_scorer, option_files, weights_sha256


class Counted:
    """A radiograph scorer that counts how often it was made, and tells its weights."""

    name = "counted"
    contract = CXRContract()
    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **options: Any) -> None:
        Counted.made.append(options)
        self.weights_sha256 = {"net": "ab12"}

    def score(self, radiograph: CXRInput) -> CXRScore:
        return CXRScore(0.0)


class CountedCT(OpacityScorer):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        CountedCT.made += 1


def spec(**options: Any) -> ScorerSpec:
    return ScorerSpec(use=f"{__name__}:Counted", options=options)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drrval.study.scorer_cache._made", {})
    Counted.made.clear()


def test_a_scorer_is_made_once_whatever_it_is_called() -> None:
    first = cxr_scorer(spec(size=3))
    assert cxr_scorer(spec(size=3)) is first
    assert cxr_scorer(ScorerSpec(use=f"{__name__}:Counted", options={"size": 3}, name="other label")) is first
    assert cxr_scorer(spec(size=4)) is not first
    assert Counted.made == [{"size": 3}, {"size": 4}]
    ct = ScorerSpec(use=f"{__name__}:CountedCT")
    assert ct_scorer(ct) is ct_scorer(ct)
    assert CountedCT.made == 1


def test_a_scorer_whose_weights_changed_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(b"1")
    by_folder, by_file = spec(folder=str(tmp_path)), spec(nested=[{"path": str(tmp_path / "net.safetensors")}])
    first = [cxr_scorer(by_folder), cxr_scorer(by_file)]
    assert [cxr_scorer(by_folder), cxr_scorer(by_file)] == first
    (tmp_path / "net.safetensors").write_bytes(b"22")
    second = [cxr_scorer(by_folder), cxr_scorer(by_file)]
    assert len({id(scorer) for scorer in first + second}) == 4


def test_a_scorer_that_cannot_be_made_is_tried_again() -> None:
    for _ in range(2):
        with pytest.raises(ScorerError, match="cannot be made with options"):
            ct_scorer(ScorerSpec(use=f"{__name__}:CountedCT", options={"size": 3}))


def test_weights_in_a_folder_are_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    weights = tmp_path / "deep/net.safetensors"
    weights.write_bytes(b"1")
    given = spec(folder=str(tmp_path), device="cpu")
    assert option_files(given) == [weights]
    before = scorer_digest(given, "cxr")
    assert scorer_digest(given, "cxr") == before
    weights.write_bytes(b"2")
    assert scorer_digest(given, "cxr") != before


def test_bundled_weights_and_networks_are_part_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from drrval.study import fingerprint

    seen: list[Path] = []
    monkeypatch.setattr(fingerprint, "_folder_digest", lambda root: seen.append(root) or "")
    code_digest.__wrapped__()
    assert [root.name for root in seen] == ["drrval", "cxr_models", "ct_models", "neural"]
    assert any(file.suffix == ".safetensors" for file in seen[1].rglob("*"))


def study() -> Study:
    scorers = {"ct": ["opacity"], "cxr": ["projected-area", {"use": f"{__name__}:Counted", "name": "mine"}]}
    return Study.model_validate({"name": "s", "cohort": {"glob": {}}, "scorers": scorers})


def test_weights_are_recorded_for_the_scorers_that_tell_them(tmp_path: Path) -> None:
    assert weights_sha256(study()) == {"cxr:mine": {"net": "ab12"}}
    (tmp_path / "logs").mkdir()
    provenance.write_run(study(), tmp_path, "drrval run-study s.yaml")
    (file,) = tmp_path.glob("logs/run-*.json")
    assert json.loads(file.read_text())["weights_sha256"] == {"cxr:mine": {"net": "ab12"}}
