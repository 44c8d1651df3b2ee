"""Seeds and resume keys: the same inputs, settings and code give the same key, anything else another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from drrval.intake import input_digest
from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.scorers import scorer_source

# Packages whose version can change a rendered pixel or a score.
_NUMERICAL = ("numpy", "scipy", "numba", "SimpleITK", "scikit-image", "spekpy", "xraydb", "torch")
# Settings that do not change what a scan's folder holds.
_STUDY_ONLY = ("name", "description", "cohort", "statistics")


def noise_seed(study_seed: int, scan_id: str, view: str) -> int:
    """Seed of a view's noise, from the study's seed and the scan, independent of the order of scans."""
    digest = hashlib.sha256(f"{study_seed}|{scan_id}|{view}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def scan_key(scan: PlannedScan, study: Study) -> str:
    """SHA-256 over the scan's input, the study's settings, the scorers' and drrval's code, and library versions."""
    settings = {k: v for k, v in study.resolved().items() if k not in _STUDY_ONLY}
    settings["output"] = {"keep_area_density": study.output.keep_area_density}
    parts = {
        "input": _recipe(scan) if scan.recipe is not None else input_digest(_path(scan)),
        "scan": [scan.subject, scan.session, scan.date, scan.source, scan.series_uid],
        "settings": settings,
        "scorers": _scorer_digests(study),
        "code": code_digest(),
        "libraries": library_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 over the source and data files of drrval, cxr_models and ct_models."""
    digest = hashlib.sha256()
    for package in ("drrval", "cxr_models", "ct_models"):
        root = Path(str(files(package)))
        for file in sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            digest.update(f"{package}/{file.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Versions of the installed numerical libraries."""
    found = {}
    for name in _NUMERICAL:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _path(scan: PlannedScan) -> Path:
    assert scan.path is not None  # only simulated scans have none
    return scan.path


def _recipe(scan: PlannedScan) -> dict[str, Any]:
    return asdict(scan.recipe)  # type: ignore[arg-type]


def _scorer_digests(study: Study) -> dict[str, str]:
    digests = {}
    for kind, specs in (("ct", study.scorers.ct), ("cxr", study.scorers.cxr)):
        for spec in specs:
            source = scorer_source(spec, kind)
            digests[f"{kind}:{spec.use}"] = hashlib.sha256(source.read_bytes()).hexdigest() if source else ""
    return digests
