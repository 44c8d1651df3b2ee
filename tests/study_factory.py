"""Small generated studies for the tests of the main job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ct_models.contract import CTInput, CTScore
from ct_models.opacity import OpacityScorer

#: A study with the default scorers.
UNSCORED = """
name: small
seed: 3
cohort:
  simulate: {patients: 2, timepoints: 2, seed: 11, spacing_mm: 4.0}
views: [PA]
output: {keep_area_density: false}
"""
#: The same without networks: quick, and the same bytes with any number of threads.
STUDY = UNSCORED + "scorers: {ct: [opacity], cxr: [projected-area, projected-thickness]}\n"


def study_file(folder: Path, text: str = STUDY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def results(out: Path) -> dict[str, bytes]:
    """Everything a user reads: all but logs, which hold times."""
    files = [p for p in out.rglob("*") if p.is_file() and "logs" not in p.parts and "work" not in p.parts]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


class FlaggedScorer(OpacityScorer):
    """The opacity scorer, always in doubt."""

    def score(self, ct: CTInput) -> CTScore:
        return replace(super().score(ct), flags=("lungs_joined",))


class SlicingScorer(OpacityScorer):
    """The opacity scorer with a lower threshold, so more lesion; a slice with lesion counts as positive."""

    def __init__(self) -> None:
        super().__init__(threshold_hu=-800.0)

    def score(self, ct: CTInput) -> CTScore:
        found = super().score(ct)
        return replace(found, slice_probability=found.lesion.any(axis=(1, 2)).astype(np.float32))
