"""Environments: each peer in a virtual environment of its own, and every measurement in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.scan import THREADS

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".bench"
PEERS = Path(__file__).parent / "peers"
_INSTALL_S, _RUN_S = 1800, 1800
_THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


class MeasurementError(RuntimeError):
    """A tool could not be installed or run; the message is one line."""


def work_folder() -> Path:
    """The folder of environments and inputs, which git does not see."""
    WORK.mkdir(exist_ok=True)
    (WORK / ".gitignore").write_text("*\n")
    return WORK


def peer_python(name: str) -> Path:
    """The interpreter of a peer's environment, built where it is missing or its pins have changed.

    ``NAME.txt`` pins every package, dependencies included, so pip need not look for any.

    Raises:
        MeasurementError: it cannot be built.
    """
    folder, pins = work_folder() / name, PEERS / f"{name}.txt"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_text() == pins.read_text():
        return python
    _execute([sys.executable, "-m", "venv", "--clear", str(folder)], _INSTALL_S)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    _execute([*pip, "--requirement", str(pins)], _INSTALL_S)
    stamp.write_text(pins.read_text())
    return python


def measured(module: str, *arguments: object, python: Path | None = None) -> dict[str, Any]:
    """The JSON line that ``python -m MODULE ARGUMENTS`` prints.

    Args:
        module: a module of this package that measures and emits its result.
        *arguments: its arguments.
        python: interpreter; by default our own.

    Raises:
        MeasurementError: the process failed or printed no result.
    """
    printed = _execute([str(python or sys.executable), "-m", module, *map(str, arguments)], _RUN_S)
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    if not lines:
        raise MeasurementError(f"{module} printed no result")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def _execute(command: list[str], limit_s: float) -> str:
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(THREADS))
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"stopped after {limit_s:.0f} s") from None
    except OSError as error:
        raise MeasurementError(str(error)) from None
    if done.returncode < 0:
        raise MeasurementError(f"ended by signal {-done.returncode} (9: out of memory)")
    if done.returncode:
        raise MeasurementError(last_error(done.stderr) or f"exit code {done.returncode}")
    return done.stdout


def last_error(printed: str) -> str:
    """One line, at most 200 characters: what a process said from its last ``...Error`` line on, else its last line."""
    lines = printed.strip().splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b|ERROR", line)]
    return " ".join(" ".join(lines[starts[-1] if starts else -1 :]).split())[:200]
