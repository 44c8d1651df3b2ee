"""The Python interpreter that DeepDRR runs in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from drrval.errors import BackendError

PYTHON_VARIABLE = "DRRVAL_DEEPDRR_PYTHON"
REMEDY = (
    "Make an environment for it: pip install 'drrval[deepdrr]' on a machine with an NVIDIA GPU, nvcc and libEGL, set "
    f"{PYTHON_VARIABLE} to its python, and see drrval doctor."
)
_WORKER = Path(__file__).with_name("worker.py")


def deepdrr_python() -> str:
    """Path of the interpreter: the one that ``DRRVAL_DEEPDRR_PYTHON`` names, else the running one.

    Raises:
        BackendError: the variable names no program.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if not named:
        return sys.executable
    found = shutil.which(named)
    if found is None:
        raise BackendError(f"{PYTHON_VARIABLE}={named!r} is not a program. Set it to the python of an environment.")
    return found


def run_worker(*arguments: str) -> str:
    """Run the worker script and return what it prints.

    Raises:
        BackendError: it failed; the message holds the reason that it gave.
    """
    python = deepdrr_python()
    environment = {"PYOPENGL_PLATFORM": "egl", **os.environ}  # no display is needed
    done = subprocess.run([python, str(_WORKER), *arguments], env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else f"it ended with exit code {done.returncode} and no message"
    raise BackendError(f"DeepDRR failed in {python}: {reason}. {REMEDY}")


def check_deepdrr() -> dict[str, Any]:
    """What the interpreter has and lacks.

    Returns:
        ``python`` (version), ``versions`` (package: version), ``missing`` (module: package to install) and
        ``problems`` (sentences); DeepDRR can be tried when the last two are empty.

    Raises:
        BackendError: the interpreter cannot be run.
    """
    report: dict[str, Any] = json.loads(run_worker("check").splitlines()[-1])
    return report
