"""Scorers made once per process: a study of 400 scans must not read its networks 400 times.

A worker process makes each scorer once and keeps it for all its scans; ``--jobs N`` thus holds N copies. A scorer is
made anew when its options change, or a file that they name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ct_models.contract import CTScorer
from cxr_models.contract import CXRScorer
from drrval.study.config import ScorerSpec, Study
from drrval.study.scorers import load_ct_scorer, load_cxr_scorer

_State = list[tuple[str, int, int]]
_made: dict[str, tuple[_State, Any]] = {}


def ct_scorer(spec: ScorerSpec) -> CTScorer:
    """The CT scorer that a study names.

    Raises:
        ScorerError: it cannot be made (:func:`drrval.study.scorers.load_ct_scorer`).
    """
    scorer: CTScorer = _cached("ct", spec)
    return scorer


def cxr_scorer(spec: ScorerSpec) -> CXRScorer:
    """The radiograph scorer that a study names.

    Raises:
        ScorerError: it cannot be made (:func:`drrval.study.scorers.load_cxr_scorer`).
    """
    scorer: CXRScorer = _cached("cxr", spec)
    return scorer


def weights_sha256(study: Study) -> dict[str, dict[str, str]]:
    """SHA-256 of the weights of each scorer that tells them (an attribute ``weights_sha256``), by scorer and file."""
    scorers = {f"ct:{spec.label}": ct_scorer(spec) for spec in study.scorers.ct}
    every: dict[str, Any] = scorers | {f"cxr:{spec.label}": cxr_scorer(spec) for spec in study.scorers.cxr}
    found = {name: dict(getattr(scorer, "weights_sha256", {})) for name, scorer in every.items()}
    return {name: weights for name, weights in found.items() if weights}


def option_files(spec: ScorerSpec) -> list[Path]:
    """Every file that a scorer's options name, and every file in a folder that they name, sorted."""
    found: set[Path] = set()
    for text in _texts(spec.options):
        path = Path(text)
        if path.is_file():
            found.add(path)
        elif text and path.is_dir():
            found |= {p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    return sorted(found)


def _cached(kind: str, spec: ScorerSpec) -> Any:
    key = json.dumps([kind, spec.use, spec.options], sort_keys=True, default=repr)
    state = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in option_files(spec)]
    if key not in _made or _made[key][0] != state:
        _made[key] = state, (load_ct_scorer if kind == "ct" else load_cxr_scorer)(spec)
    return _made[key][1]


def _texts(value: Any) -> Iterator[str]:
    """The strings in a value that YAML may hold."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
