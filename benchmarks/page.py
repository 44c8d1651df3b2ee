"""Results as files: JSON below ``benchmarks/out`` and the measured parts of ``docs/benchmarks.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from validation.__main__ import replaced

OUT = Path(__file__).parent / "out"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def save(name: str, data: Any) -> Path:
    """Write ``benchmarks/out/NAME.json``."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path


def publish(parts: dict[str, str]) -> None:
    """Exchange the measured parts of ``docs/benchmarks.md``."""
    page = PAGE.read_text(encoding="utf-8")
    for name, measured in parts.items():
        page = replaced(page, name, measured)
    PAGE.write_text(page, encoding="utf-8")
