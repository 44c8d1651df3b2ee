"""Shared fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from filelock import FileLock
from numba.core.caching import IndexDataCacheFile
from study_factory import study_file

from drrval.cli import main
from drrval.volume import CTVolume, Grid


def pytest_configure() -> None:
    """Networks are too small here for threads; workers of ``pytest -n`` share the cores and compile into one cache."""
    torch.set_num_threads(1)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    numba.set_num_threads(1)
    save = IndexDataCacheFile.save

    def save_alone(cache: IndexDataCacheFile, *entry: object) -> None:
        # Two processes that save a kernel for different types in the same moment would take the same file name.
        with FileLock(f"{cache._index_path}.lock"):
            save(cache, *entry)

    IndexDataCacheFile.save = save_alone


@contextmanager
def numba_threads(number: int) -> Iterator[None]:
    """So many threads of Numba, or as many as there are cores."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


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


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is half the work of a small study, and some tests do not look at it."""
    # All are imported before the first is changed, for they import from each other.
    from drrval.report import agreement, ct_scorers, tables

    for module in (agreement, ct_scorers, tables):
        monkeypatch.setattr(module, "comparison_figures", lambda *_: iter(()))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study: ``study.yaml`` and ``out/``."""
    folder = tmp_path_factory.mktemp("study")
    assert main(["run-study", str(study_file(folder)), "--out", str(folder / "out"), "--no-progress"]) == 0
    return folder
