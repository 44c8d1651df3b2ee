"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from study_factory import study_file

from drrval.cli import main
from drrval.volume import CTVolume, Grid


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the development data; tests that need it are marked ``data`` and skip where it is absent."""
    root = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no development data in {root}; set DRRVAL_DATA")
    return root


def box_thorax(table: bool = True, spacing_mm: float = 4.0) -> CTVolume:
    """A plain chest: an elliptic body with two open lungs, spine, and a table below the back; z up, y back, x left."""
    nz, ny, nx = 60, 90, 100
    y, x = np.mgrid[:ny, :nx]
    cy, cx = 40, 50

    def ellipse(dy: float, dx: float, ry: float, rx: float) -> np.ndarray:
        return ((y - cy - dy) / ry) ** 2 + ((x - cx - dx) / rx) ** 2 <= 1

    hu = np.full((nz, ny, nx), -1000.0, np.float32)
    hu[:, ellipse(0, 0, 28, 40)] = 40.0
    for side in (-19, 19):
        hu[5:55, ellipse(0, side, 20, 15)] = -850.0
    hu[:, ellipse(18, 0, 6, 5)] = 700.0
    if table:
        hu[:, 70:72, 5:95] = -100.0
    grid = Grid((nz, ny, nx), (spacing_mm,) * 3, (-200.0, -160.0, -120.0))
    return CTVolume(hu, grid, np.ones((ny, nx), bool), "box thorax")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study: ``study.yaml`` and ``out/``."""
    folder = tmp_path_factory.mktemp("study")
    assert main(["run-study", str(study_file(folder)), "--out", str(folder / "out"), "--no-progress"]) == 0
    return folder
