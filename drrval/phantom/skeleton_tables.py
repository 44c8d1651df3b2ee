"""The tables of the reference skeleton and shoulder girdle (``skeleton.yaml``)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def skeleton_tables() -> dict[str, Any]:
    """Contents of ``skeleton.yaml``: sizes in mm, Hounsfield units, with their sources."""
    text = files("drrval.phantom").joinpath("skeleton.yaml").read_text(encoding="utf-8")
    tables: dict[str, Any] = yaml.safe_load(text)
    return tables
