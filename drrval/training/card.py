"""The model card of weights that a user trained: what is known of their making, and nothing else."""

from __future__ import annotations

import csv
import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from drrval import __version__
from drrval.training.config import paths_of, run_record

if TYPE_CHECKING:
    from neural.training import Trained

_LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "pillow", "pandas", "SimpleITK", "safetensors")


def model_card(kind: str, run: Any, trained: Trained, folder: Path, use: str) -> str:
    """Markdown with use, settings, data, metrics and versions.

    Args:
        kind: what was trained, such as ``cxr-dlnet``.
        run: the dataclass that describes the run.
        trained: its result.
        folder: the run's folder, with ``log.csv``.
        use: how the weights are taken.
    """
    settings = {key: value for key, value in run_record(kind, run).items() if key != "kind"}
    parameters = sum(p.numel() for p in trained.network.parameters())
    return "\n".join(
        [
            f"# {trained.name}: weights of a training with `drrval train {kind}`",
            "",
            f"{type(trained.network).__name__}, {parameters / 1e6:.1f} million parameters, stored in half precision.",
            "",
            "## Use",
            f"For research; not a medical device. How it is taken: {use}.",
            "What it reads and what it returns is that of this network in drrval; the settings stored with it:",
            "",
            *_table(("setting", "value"), _numbers(trained.settings)),
            "",
            "## Training",
            _epochs(folder / "log.csv"),
            "",
            "```yaml",
            yaml.safe_dump(settings, sort_keys=False).rstrip(),
            "```",
            "",
            "## Data",
            "Tables of the named folders (a run reads those that its kind needs), and named files. The licence of the",
            "weights follows from that of the data.",
            "",
            *_table(("key", "file", "rows", "SHA-256"), _data_rows(run)),
            "",
            "## Results on the validation part of the data",
            "The validation part also chose the epoch, and thresholds where there are any, so these are optimistic.",
            "Measure patients that played no part with `drrval evaluate`.",
            "",
            *_table(("metric", "value"), _numbers(trained.metrics)),
            "",
            "## Made with",
            ", ".join([f"drrval {__version__}", f"Python {platform.python_version()}", *_versions()]) + ".",
            "",
        ]
    )


def _epochs(log: Path) -> str:
    """How long the training took and which epoch was kept, from the log."""
    if not log.is_file():
        return "The run left no log of epochs."
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return "The run's log holds no epoch."
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    return (
        f"{len(rows)} epoch(s) in {sum(float(row['seconds']) for row in rows):.0f} s; epoch {best['epoch']} (from 0), "
        f"with the lowest validation loss of {float(best['validation_loss']):.4g}, was kept."
    )


def _data_rows(run: Any) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, path in paths_of(run).items():
        for file in sorted(path.glob("*.csv")) if path.is_dir() else [path] if path.is_file() else []:
            with file.open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            rows.append((f"`{key}`", file.name, _count(file) if file.suffix == ".csv" else "", digest))
    return rows


def _count(table: Path) -> str:
    """Rows of a table, and how many of each part where it has a column ``split``."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = Counter(row["split"] for row in rows if row.get("split"))
    split = ", ".join(f"{name} {count}" for name, count in sorted(parts.items()))
    return f"{len(rows)} ({split})" if split else str(len(rows))


def _numbers(values: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{value:.6g}") for name, value in values.items()]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _versions() -> list[str]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
