"""``drrval doctor``: what it finds here, and what it says about each thing that may be missing."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from types import SimpleNamespace

import pytest

from drrval import __version__, diagnosis
from drrval.cli import doctor
from drrval.deepdrr.interpreter import PYTHON_VARIABLE
from drrval.diagnosis import Check, core_works


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["doctor", *arguments])
    return int(parsed.run(parsed))


def named(checks: list[Check], name: str) -> Check:
    (found,) = (check for check in checks if check.name == name)
    return found


@pytest.fixture
def quick(monkeypatch):
    """A report of two sections, so that the command's own tests do not start interpreters."""

    def reporting(**checks: list[Check]) -> None:
        monkeypatch.setattr(diagnosis, "diagnose", lambda: checks)

    return reporting


def test_the_report_of_this_installation(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert f"drrval: {__version__}" in printed
    assert f"ok  numpy: {version('numpy')}" in printed
    assert "drrval can render." in printed
    for backend in ("separable", "virtual", "ray", "cuda", "deepdrr"):
        assert f" {backend}: " in printed
    assert "threading layer" in printed
    assert "ct_models: opacity: ct_models.opacity:OpacityScorer" in printed


def test_json_and_exit_code_of_a_working_core(quick, capsys):
    quick(packages=[Check("numpy", True, "2.0", core=True)], backends=[Check("cuda", False, "no GPU", "buy one")])
    assert run("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["core_works"] is True
    assert report["backends"] == [{"name": "cuda", "ok": False, "detail": "no GPU", "remedy": "buy one", "core": False}]


def test_a_broken_core_is_said_and_gives_exit_code_1(quick, capsys):
    quick(packages=[Check("numba", False, "not installed", "pip install 'numba>=0.60'", core=True)], weights=[])
    assert run() == 1
    printed = capsys.readouterr().out
    assert "no  numba: not installed\n      pip install 'numba>=0.60'" in printed
    assert "weights: none" in printed
    assert "drrval cannot render" in printed
    assert run("--json") == 1


def test_a_package_that_is_missing_or_too_old(monkeypatch):
    def installed(name: str) -> str:
        if name == "scipy":
            raise PackageNotFoundError(name)
        return "1.20"

    monkeypatch.setattr(diagnosis, "version", installed)
    monkeypatch.setattr(diagnosis, "requires", lambda _: ["numpy>=1.26", "scipy>=1.13", "ruff; extra == 'test'"])
    numpy, scipy = diagnosis.packages()
    assert numpy == Check("numpy", False, "1.20, but drrval needs >=1.26", "pip install 'numpy>=1.26'", core=True)
    assert scipy == Check("scipy", False, "not installed", "pip install 'scipy>=1.13'", core=True)
    assert not core_works({"packages": [numpy]})


def test_extras_name_what_is_not_installed(monkeypatch):
    lines = [
        "numpy>=1",
        "no-such-package>=2; extra == 'docs'",
        "numpy>=1; extra == 'docs'",
        "numpy>=1; extra == 'test'",
    ]
    monkeypatch.setattr(diagnosis, "requires", lambda _: lines)
    report = diagnosis.extras()
    docs, test = named(report, "docs"), named(report, "test")
    assert (docs.ok, docs.detail) == (False, "no-such-package (not installed)")
    assert docs.remedy == "pip install 'drrval[docs]'"
    assert test.ok
    assert test.detail == f"numpy {version('numpy')}"


def test_an_extra_that_is_newer_than_the_installation(monkeypatch):
    monkeypatch.setattr(diagnosis, "_checkout_extras", lambda: {"docs", "new"})
    check = named(diagnosis.extras(), "new")
    assert not check.ok
    assert "older than its checkout" in check.detail
    assert check.remedy == "pip install --editable '.[new]' in the checkout"


def test_drrval_that_is_not_installed(monkeypatch):
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(diagnosis, "requires", absent)
    (check,) = diagnosis.packages()
    assert check.core
    assert not check.ok
    assert "requirements cannot be read" in check.detail
    assert diagnosis.extras() == []


def test_a_module_of_drrval_that_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(diagnosis, "_CORE_MODULES", ("drrval.no_such_module",))
    checks = diagnosis.cpu_backends()
    assert [check.name for check in checks] == ["separable", "virtual", "ray"]
    assert all(check.core and not check.ok and "no_such_module" in check.detail for check in checks)


def test_a_gpu_that_can_be_used(monkeypatch):
    device = SimpleNamespace(name=b"Some Card", compute_capability=(9, 0))
    monkeypatch.setattr("drrval.projection.cuda.cuda_problem", lambda: None)
    monkeypatch.setattr("numba.cuda.get_current_device", lambda: device)
    check = diagnosis.cuda_backend()
    assert check.ok
    assert check.detail.startswith("Some Card, compute capability 9.0")


def test_a_gpu_that_cannot_be_used(monkeypatch):
    monkeypatch.setattr("drrval.projection.cuda.cuda_problem", lambda: "no NVIDIA driver or GPU was found.")
    check = diagnosis.cuda_backend()
    assert (check.ok, check.detail) == (False, "no NVIDIA driver or GPU was found.")
    assert "pip install 'drrval[cuda]'" in check.remedy


def test_a_driver_that_fails(monkeypatch):
    def fails() -> None:
        raise OSError("libcuda.so: wrong ELF class")

    monkeypatch.setattr("drrval.projection.cuda.cuda_problem", fails)
    check = diagnosis.cuda_backend()
    assert not check.ok
    assert "wrong ELF class" in check.detail


@pytest.mark.parametrize(
    ("code", "ok", "detail"),
    [("echo 'Some Card, 8192 MiB, 580.1'", True, "Some Card, 8192 MiB"), ("echo broken >&2; exit 9", False, "broken")],
)
def test_nvidia_smi(monkeypatch, tmp_path, code, ok, detail):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = diagnosis.graphics_card()
    assert check.ok is ok
    assert detail in check.detail


def test_no_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert diagnosis.graphics_card() == Check("gpu", False, "no nvidia-smi, so no NVIDIA driver")


def test_deepdrr_lacks_modules(monkeypatch):
    report = {
        "python": "3.10.1",
        "versions": {},
        "missing": {"cupy": "cupy-cuda12x", "OpenGL": "PyOpenGL"},
        "problems": ["libEGL was not found: install libegl1"],
    }
    monkeypatch.setattr("drrval.deepdrr.interpreter.check_deepdrr", lambda: report)
    check = diagnosis.deepdrr_backend()
    assert not check.ok
    assert "missing cupy (pip install 'cupy-cuda12x'), OpenGL (pip install 'PyOpenGL'); libEGL" in check.detail
    assert PYTHON_VARIABLE in check.remedy


def test_deepdrr_is_there(monkeypatch):
    report = {"python": "3.10.1", "versions": {"deepdrr": "1.2.2"}, "missing": {}, "problems": []}
    monkeypatch.setattr("drrval.deepdrr.interpreter.check_deepdrr", lambda: report)
    check = diagnosis.deepdrr_backend()
    assert check.ok
    assert "deepdrr 1.2.2" in check.detail


def test_deepdrr_has_no_interpreter(monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    check = diagnosis.deepdrr_backend()
    assert not check.ok
    assert "/no/such/python" in check.detail


def test_a_scorer_that_cannot_be_imported(monkeypatch):
    broken = EntryPoint("broken", "no_such_module:Scorer", "drrval.ct_models")
    monkeypatch.setattr(diagnosis, "entry_points", lambda group: [broken] if group == broken.group else [])
    (check,) = diagnosis.scorers()
    assert check.name == "ct_models: broken"
    assert not check.ok
    assert "ModuleNotFoundError" in check.detail
    assert not check.core


def test_weights_that_ship_with_a_package(monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    good, damaged, loose = (tmp_path / f"weights/{name}.safetensors" for name in ("good", "damaged", "loose"))
    for file in (good, damaged, loose):
        file.write_bytes(bytes(1_500_000))
    sha256 = hashlib.sha256(good.read_bytes()).hexdigest()
    pins = {"good": sha256, "damaged": "0" * 64, "gone": sha256}
    registry = {name: {"file": f"{name}.safetensors", "sha256": pin} for name, pin in pins.items()}
    (tmp_path / "weights/registry.json").write_text(json.dumps(registry))
    monkeypatch.setattr(diagnosis, "files", lambda _: tmp_path)
    monkeypatch.setattr(diagnosis, "_WEIGHT_PACKAGES", ("ct_models",))
    checks = diagnosis.weights()
    size = f"1.5 MB, SHA-256 {sha256[:12]}..."
    assert [(check.name.removeprefix("ct_models/weights/"), check.ok, check.detail) for check in checks] == [
        ("damaged.safetensors", False, f"{size}, but 000000000000... is pinned: damaged or replaced"),
        ("gone.safetensors", False, "is missing"),
        ("good.safetensors", True, f"{size} as pinned"),
        ("loose.safetensors", False, f"{size}, which no registry pins"),
    ]


def test_the_bundled_weights_are_as_pinned():
    checks = diagnosis.weights()
    assert named(checks, "cxr_models/weights/lsnet-light.safetensors").ok
    assert all(check.ok for check in checks)


def test_what_networks_run_on(monkeypatch):
    assert diagnosis.pytorch().detail.startswith(version("torch"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Some Card")
    assert diagnosis.pytorch().detail.endswith("runs on Some Card")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not diagnosis.pytorch().ok


def test_onnx_runtime_is_optional(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "onnxruntime", SimpleNamespace(__version__="9", get_available_providers=lambda: ["A"])
    )
    assert diagnosis.onnx_runtime() == Check("onnxruntime", True, "9, runs on A")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check = diagnosis.onnx_runtime()
    assert (check.ok, check.remedy) == (False, "pip install 'drrval[onnx]'")
    assert not check.core
