"""The files that a training reads, looked for before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drrval.errors import StudyError
from drrval.training.config import paths_of
from drrval.training.kinds import KINDS


def check_inputs(kind: str, run: Any, config: Path) -> None:
    """Make sure that every file and folder that a run names is there, and every table that its kind reads.

    Args:
        kind: one of :data:`drrval.training.kinds.KINDS`.
        run: the kind's dataclass, its paths absolute.
        config: the file that describes the run, for the error.

    Raises:
        StudyError: naming all that is missing.
    """
    named, tables = paths_of(run), KINDS[kind].tables
    wanted = [path for key, path in named.items() if key not in KINDS[kind].made]
    wanted += [run.data / name for key, names in tables.items() if key in named for name in names]
    missing = list(dict.fromkeys(str(path) for path in wanted if not path.exists()))
    if missing:
        head = f"{config} names data that is not there. Put it there, or correct the paths (tables: docs/models.md):"
        raise StudyError("\n".join([head, *(f"  {path}" for path in missing)]))
