"""What every measuring process does: repeat, take the time, read the peak memory, print one JSON line.

Memory is read from Linux' ``/proc``.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = 7
FEW_RUNS, SLOW_S = 3, 10.0  # runs of what takes longer than so many seconds


def clocked(call: Callable[[], object]) -> float:
    """Wall time of one call, seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(run: Callable[[], float], *, runs: int = RUNS, slow_s: float = SLOW_S) -> list[float]:
    """Durations of a warm run, seconds.

    Args:
        run: does the work once and returns its duration in seconds; the caller has warmed it up.
        runs: how often.
        slow_s: where the first takes longer, ``FEW_RUNS`` are enough.
    """
    seconds = [run()]
    total = min(runs, FEW_RUNS) if seconds[0] > slow_s else runs
    return seconds + [run() for _ in range(total - 1)]


def reset_peak() -> float:
    """Start the peak of :func:`peak_mb` anew; resident memory of this process now, MB (1e6 bytes).

    Freed memory that the allocator keeps for later is given back first, so that it hides nothing (glibc's
    ``malloc_trim``; proc(5), ``/proc/PID/clear_refs``).
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_mb() -> float:
    """Largest resident memory of this process since :func:`reset_peak` or its start, MB."""
    return _status("VmHWM")


def emit(result: dict[str, Any]) -> None:
    """Print a result as the process's JSON line."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def _status(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise OSError(f"/proc/self/status has no {field}. The benchmark reads memory as Linux reports it.")
    return int(found[1]) * 1024 / 1e6
