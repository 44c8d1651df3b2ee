"""What this installation has and lacks: packages, machine, GPU, backends, extras, scorers and weights.

Nothing here raises for a missing part; it is reported with the way to mend it. Only the standard library is imported
up front, so that the report comes out however broken the rest is.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, metadata, requires, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from drrval import __version__
from drrval.errors import BackendError

_CORE_MODULES = ("drrval.intake", "drrval.rendering")  # CT in, radiograph out
_SCORER_GROUPS = ("drrval.ct_models", "drrval.cxr_models")
_WEIGHT_PACKAGES = ("ct_models", "cxr_models")
_CPU_BACKENDS = {
    "separable": "CPU, panel parallel to two axes of the volume",
    "virtual": "CPU, any pose, by way of such a panel",
    "ray": "CPU, any pose, every ray by itself",
}


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        ok: whether it is there and usable.
        detail: version, description, or what is wrong.
        remedy: how to mend it; empty where there is nothing to mend.
        core: whether drrval cannot render without it.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    core: bool = False


def diagnose() -> dict[str, list[Check]]:
    """All checks, by section."""
    return {
        "machine": machine(),
        "packages": packages(),
        "backends": [*cpu_backends(), cuda_backend(), deepdrr_backend()],
        "extras": extras(),
        "networks": [pytorch(), onnx_runtime()],
        "scorers": scorers(),
        "weights": weights(),
    }


def core_works(report: dict[str, list[Check]]) -> bool:
    """Whether everything that rendering a CT needs is there."""
    return all(check.ok for checks in report.values() for check in checks if check.core)


def machine() -> list[Check]:
    """Versions of drrval, Python and the system; processor threads, memory, and the graphics card."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    checks = [
        Check("drrval", True, __version__),
        Check("python", True, platform.python_version()),
        Check("system", True, platform.platform()),
        Check("cpu", True, f"{threads} threads usable of {os.cpu_count()}"),
    ]
    if hasattr(os, "sysconf"):
        page = os.sysconf("SC_PAGE_SIZE") / 2**30
        total, free = (os.sysconf(name) * page for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
        checks.append(Check("memory", True, f"{total:.1f} GiB, {free:.1f} GiB free"))
    return [*checks, graphics_card()]


def graphics_card() -> Check:
    """NVIDIA cards as the driver's own tool lists them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Check("gpu", False, "no nvidia-smi, so no NVIDIA driver")
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    cards = "; ".join(done.stdout.strip().splitlines())
    if done.returncode or not cards:
        return Check("gpu", False, f"nvidia-smi failed: {(done.stderr or done.stdout).strip()}", "Mend the driver.")
    return Check("gpu", True, cards)


def packages() -> list[Check]:
    """The packages that drrval requires, with their versions."""
    try:
        return [_package(requirement, core=True) for requirement in _requirements("")]
    except ImportError as error:  # drrval is not installed, or the package that reads requirements is not
        remedy = "pip install packaging, and pip install drrval (or pip install --editable . in a checkout)"
        return [Check("drrval", False, f"its requirements cannot be read: {error}", remedy, core=True)]


def extras() -> list[Check]:
    """The optional parts of drrval: which of their packages are not installed."""
    try:
        names = sorted(metadata("drrval").get_all("Provides-Extra") or [])
        requirements = {extra: _requirements(extra) for extra in names}
    except ImportError:  # packages() says so
        return []
    checks = []
    for extra, needed in requirements.items():
        found = [_package(requirement, core=False) for requirement in needed]
        lacking = [f"{check.name} ({check.detail})" for check in found if not check.ok]
        if lacking:
            checks.append(Check(extra, False, ", ".join(lacking), f"pip install 'drrval[{extra}]'"))
        else:
            checks.append(Check(extra, True, ", ".join(f"{check.name} {check.detail}" for check in found)))
    for extra in sorted(_checkout_extras() - set(names)):
        outdated = "unknown to this installation, which is older than its checkout"
        checks.append(Check(extra, False, outdated, f"pip install --editable '.[{extra}]' in the checkout"))
    return checks


def cpu_backends() -> list[Check]:
    """Whether drrval's own modules can be imported, and the threads they run on."""
    problems = []
    for name in _CORE_MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever breaks an import is the finding
            problems.append(f"{name}: {type(error).__name__}: {error}")
    if problems:
        remedy = "Reinstall the packages above."
        return [Check(name, False, "; ".join(problems), remedy, core=True) for name in _CPU_BACKENDS]
    import numba

    threads = numba.get_num_threads()
    layer = f"{threads} threads, threading layer {numba.threading_layer()}"
    return [Check(name, True, f"{what}; {layer}", core=True) for name, what in _CPU_BACKENDS.items()]


def cuda_backend() -> Check:
    """Whether the GPU backend can run, and on what."""
    try:
        from drrval.projection.cuda import REMEDY, cuda_problem

        if problem := cuda_problem():
            return Check("cuda", False, problem, REMEDY)
        from numba import cuda

        device = cuda.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
        capability = ".".join(map(str, device.compute_capability))
        return Check("cuda", True, f"{name}, compute capability {capability}, numba.cuda {cuda.implementation}")
    except Exception as error:  # a broken driver can fail in any way; the report must come out
        return Check("cuda", False, f"{type(error).__name__}: {error}", "Check the NVIDIA driver with nvidia-smi.")


def deepdrr_backend() -> Check:
    """Whether DeepDRR can run in its interpreter; each missing module is named with its package."""
    from drrval.deepdrr.interpreter import REMEDY, check_deepdrr, deepdrr_python

    try:
        python, report = deepdrr_python(), check_deepdrr()
    except BackendError as error:
        return Check("deepdrr", False, str(error))
    where = f"{python} (Python {report['python']})"
    missing = [f"{module} (pip install '{package}')" for module, package in report["missing"].items()]
    problems = ([f"missing {', '.join(missing)}"] if missing else []) + report["problems"]
    if problems:
        return Check("deepdrr", False, f"{where}: {'; '.join(problems)}", REMEDY)
    return Check("deepdrr", True, f"deepdrr {report['versions']['deepdrr']} in {where}")


def pytorch() -> Check:
    """What the networks run on."""
    try:
        import torch
    except Exception as error:  # a broken installation can fail in any way; packages() says how to mend it
        return Check("torch", False, f"{type(error).__name__}: {error}", "pip install torch")
    if torch.cuda.is_available():
        return Check("torch", True, f"{torch.__version__}, runs on {torch.cuda.get_device_name()}")
    build = f"built for CUDA {torch.version.cuda}, no GPU found" if torch.version.cuda else "built without CUDA"
    return Check(
        "torch", True, f"{torch.__version__}, runs on the CPU with {torch.get_num_threads()} threads ({build})"
    )


def onnx_runtime() -> Check:
    """Whether ONNX models can be used as scorers."""
    try:
        import onnxruntime
    except Exception as error:  # as above
        return Check("onnxruntime", False, f"{type(error).__name__}: {error}", "pip install 'drrval[onnx]'")
    providers = ", ".join(onnxruntime.get_available_providers())
    return Check("onnxruntime", True, f"{onnxruntime.__version__}, runs on {providers}")


def scorers() -> list[Check]:
    """The scorers that are registered as entry points, and whether they can be imported."""
    checks = []
    for group in _SCORER_GROUPS:
        for point in sorted(entry_points(group=group), key=lambda p: p.name):
            name = f"{group.removeprefix('drrval.')}: {point.name}"
            try:
                point.load()
            except Exception as error:  # whatever breaks an import is the finding
                remedy = "Install the packages that this scorer needs."
                checks.append(Check(name, False, f"{point.value}: {type(error).__name__}: {error}", remedy))
            else:
                checks.append(Check(name, True, point.value))
    return checks


def weights() -> list[Check]:
    """Model weights that ship with the scorer packages: whether each is the file that its registry pins."""
    checks = []
    for package in _WEIGHT_PACKAGES:
        folder = Path(str(files(package)))
        pinned: dict[Path, str] = {}
        for registry in sorted(folder.rglob("registry.json")):
            entries = json.loads(registry.read_text(encoding="utf-8")).values()
            pinned |= {registry.parent / entry["file"]: entry["sha256"] for entry in entries}
        for file in sorted({*pinned, *folder.rglob("*.safetensors")}):
            checks.append(_weight_file(file, f"{package}/{file.relative_to(folder).as_posix()}", pinned.get(file)))
    return checks


def _weight_file(file: Path, name: str, pinned: str | None) -> Check:
    remedy = "Install drrval again."
    if not file.is_file():
        return Check(name, False, "is missing", remedy)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    detail = f"{file.stat().st_size / 1e6:.1f} MB, SHA-256 {found[:12]}..."
    if pinned is None:
        return Check(name, False, f"{detail}, which no registry pins", remedy)
    if found != pinned:
        return Check(name, False, f"{detail}, but {pinned[:12]}... is pinned: damaged or replaced", remedy)
    return Check(name, True, f"{detail} as pinned")


def _checkout_extras() -> set[str]:
    """The extras that the checkout of an editable installation declares; none for any other installation."""
    file = Path(__file__).parents[1] / "pyproject.toml"
    if not file.is_file():
        return set()
    return set(tomllib.loads(file.read_text(encoding="utf-8"))["project"].get("optional-dependencies", {}))


def _requirements(extra: str) -> list[Any]:
    """drrval's requirements for an extra, or its own for the empty name, as ``packaging`` objects."""
    from packaging.requirements import Requirement

    own, chosen = [], []
    for line in requires("drrval") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            own.append(requirement)
        elif extra and requirement.marker.evaluate({"extra": extra}):
            chosen.append(requirement)
    return chosen if extra else own


def _package(requirement: Any, core: bool) -> Check:
    name, remedy = requirement.name, f"pip install '{requirement.name}{requirement.specifier}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, False, "not installed", remedy, core)
    if not requirement.specifier.contains(found, prereleases=True):
        return Check(name, False, f"{found}, but drrval needs {requirement.specifier}", remedy, core)
    return Check(name, True, found, core=core)
