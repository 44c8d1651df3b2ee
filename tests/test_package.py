import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import drrval

ROOT = Path(__file__).parents[1]


def test_import_loads_no_heavy_package() -> None:
    code = (
        "import sys, drrval;"
        "print([m for m in ('torch', 'matplotlib', 'pandas', 'numba', 'SimpleITK', 'scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names_exist() -> None:
    for name in drrval.__all__:
        assert getattr(drrval, name) is not None


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert project == citation == drrval.__version__
    assert f"## {project}" in (ROOT / "CHANGELOG.md").read_text()


def test_scorer_packages_do_not_import_drrval() -> None:
    for package in ("cxr_models", "ct_models"):
        for file in (ROOT / package).rglob("*.py"):
            assert "import drrval" not in file.read_text()
            assert "from drrval" not in file.read_text()
