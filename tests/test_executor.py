"""Worker processes: one that dies, an interrupt, and their share of the cores.

A worker imports this module, so it imports little itself.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from drrval.study import executor
from drrval.study.executor import run_all


def _double_or_die(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def test_a_dead_worker_costs_only_its_own_item() -> None:
    done = dict(run_all(_double_or_die, [1, 2, 3, 4], jobs=2, on_death=lambda item: -item))
    assert done == {1: 2, 2: -2, 3: 6, 4: 8}


def _leave_a_mark(path: Path) -> None:
    path.touch()
    time.sleep(0.5)


def test_an_interrupt_begins_no_further_items(tmp_path: Path) -> None:
    started = run_all(_leave_a_mark, [tmp_path / str(n) for n in range(20)], jobs=2, on_death=lambda path: None)
    next(started)
    with pytest.raises(KeyboardInterrupt):
        started.throw(KeyboardInterrupt())
    assert len(list(tmp_path.iterdir())) < 20


def _torch_in_a_worker(item: int) -> tuple[bool, int]:
    """Whether PyTorch was imported for nothing, and the threads that it takes once it is."""
    early = "torch" in sys.modules
    import torch

    return early, torch.get_num_threads()


@pytest.mark.parametrize(("cores", "stated", "share"), [(6, "", 3), (6, "8", 3), (6, "1", 1), (1, "", 1), (6, "a", 3)])
def test_share_of_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, stated: str, share: int) -> None:
    import torch

    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delitem(sys.modules, "numba", raising=False)  # as in a worker that has just begun
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, stated)
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    executor._limit_openmp(max(1, cores // 2))
    assert os.environ["OMP_NUM_THREADS"] == os.environ["NUMBA_NUM_THREADS"] == str(share)
    assert given == [share]


def test_a_worker_takes_its_share_of_the_cores_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    done = dict(run_all(_torch_in_a_worker, [1], jobs=2, on_death=lambda item: (True, 0)))
    assert done == {1: (False, 1)}
