"""Seeds and resume keys: the same inputs, settings and code give the same key, anything else another."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from drrval.intake import input_digest
from drrval.simulation import Recipe
from drrval.study.cohort import PlannedScan
from drrval.study.config import ScorerSpec, Study
from drrval.study.scorer_cache import option_files
from drrval.study.scorers import scorer_source

# Packages whose version can change a rendered pixel or a score.
_NUMERICAL = (
    *("numpy", "scipy", "numba", "SimpleITK", "pydicom", "scikit-image", "pillow", "spekpy", "xraydb", "torch"),
    *("onnxruntime", "torchxrayvision", "lungmask"),  # of the adapters
)
_PACKAGES = ("drrval", "cxr_models", "ct_models", "neural")
# Settings that do not change what a scan's folder holds.
_STUDY_ONLY = ("name", "description", "cohort", "statistics", "acceptance")


def noise_seed(study_seed: int, scan_id: str, view: str) -> int:
    """Seed of a view's noise, from the study's seed and the scan, independent of the order of scans."""
    digest = hashlib.sha256(f"{study_seed}|{scan_id}|{view}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def input_sha256(scan: PlannedScan) -> str:
    """SHA-256 of the scan's files, or of the recipe of a virtual scan and the files that it starts from.

    Raises:
        IntakeError: the files are missing or cannot be read.
    """
    if scan.recipe is not None:
        return recipe_sha256(scan.recipe)
    assert scan.path is not None  # a planned scan has a path or a recipe
    return input_digest(scan.path)


def recipe_sha256(recipe: Recipe) -> str:
    """SHA-256 of a recipe's values and of the contents of the files that it starts from, wherever these lie.

    Raises:
        IntakeError: the files are missing or cannot be read.
    """
    return _sha256([type(recipe).__name__, recipe.values(), [input_digest(path) for path in recipe.inputs]])


def written_key(recipe: Recipe, file_format: str) -> str:
    """SHA-256 over a virtual scan's recipe and its inputs, the format of its files, drrval's code and the libraries."""
    return _sha256([recipe_sha256(recipe), file_format, code_digest(), library_versions()])


def scan_key(scan: PlannedScan, study: Study, input_hash: str) -> str:
    """SHA-256 over the scan's input, the study's settings, the scorers' and drrval's code, and library versions."""
    settings = {k: v for k, v in study.resolved().items() if k not in _STUDY_ONLY}
    settings["output"] = {"keep_area_density": study.output.keep_area_density}
    parts = {
        "input": input_hash,
        "scan": [scan.subject, scan.session, scan.date, scan.source, scan.series_uid],
        "settings": settings,
        "scorers": _scorer_digests(study),
        "code": code_digest(),
        "libraries": library_versions(),
    }
    return _sha256(parts)


def study_sha256(study: Study) -> str:
    """SHA-256 of the resolved study, acceptance criteria among its settings, but for where the output goes."""
    return _sha256({key: value for key, value in study.resolved().items() if key != "output"})


@cache
def code_digest() -> str:
    """SHA-256 over the source, data and weight files of drrval's packages."""
    return _sha256([_folder_digest(Path(str(files(package)))) for package in _PACKAGES])


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


def scorer_digest(spec: ScorerSpec, kind: str) -> str:
    """SHA-256 over a scorer's package with the weights in it (or its module file) and every file its options name.

    A folder that an option names counts with all its files, so that new weights in it are new.

    Args:
        spec: the scorer.
        kind: ``ct`` or ``cxr``.

    Raises:
        ScorerError: the scorer cannot be loaded, or comes from no file.
    """
    source = scorer_source(spec, kind)
    code = _folder_digest(source) if source.is_dir() else _file_digest(source)
    return _sha256([code, *(_file_digest(path) for path in option_files(spec))])


def _scorer_digests(study: Study) -> dict[str, str]:
    return {
        f"{kind}:{spec.label}": scorer_digest(spec, kind)
        for kind, specs in (("ct", study.scorers.ct), ("cxr", study.scorers.cxr))
        for spec in specs
    }


@cache
def _folder_digest(root: Path) -> str:
    kept = sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return _sha256([(path.relative_to(root).as_posix(), _file_digest(path)) for path in kept])


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
