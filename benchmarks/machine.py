"""The machine that was measured."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.scan import THREADS


def machine() -> dict[str, str | int | float]:
    """Processor, cores, memory (GB, 1e9 bytes), threads used, versions and day (UTC)."""
    processor = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "threads": THREADS,
        "python": platform.python_version(),
        "numba": version("numba"),
        "drrval": version("drrval"),
        "day": datetime.now(UTC).date().isoformat(),
    }


def available_bytes() -> int:
    """Memory that a new process may take, bytes."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else sys.maxsize


def sentence() -> str:
    """The machine as a line of text for the top of a table."""
    m = machine()
    return (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gb']:.0f} GB; {m['threads']} threads; drrval {m['drrval']}, "
        f"Python {m['python']}, Numba {m['numba']}; {m['day']}."
    )
