"""The YAML file of a training run, and the folder that a run owns."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from drrval.errors import StudyError
from drrval.settings_file import read_mapping, validated_dataclass
from drrval.study.store import is_new
from drrval.training.kinds import KINDS

#: Folder below the run's that the finished weights are stored in.
WEIGHTS_FOLDER = "weights"

_RUN_FILE = "run.json"
# Settings of a run that may change when it is resumed: it may go on for longer, or elsewhere.
_FREE = ("epochs", "stopping_epochs", "device", "workers")


def load_run(kind: str, path: Path) -> Any:
    """Read and validate the settings of a run; relative paths in it count from the file's folder.

    Args:
        kind: one of :data:`drrval.training.kinds.KINDS`.
        path: the YAML file.

    Returns:
        The kind's dataclass.

    Raises:
        StudyError: naming the file, each key, the value given and what is allowed.
    """
    settings, _ = KINDS[kind].load()
    run: Any = validated_dataclass(settings, read_mapping(path, "training file", "data, training"), path)
    return _resolved(run, path.resolve().parent)


def claim_folder(folder: Path, kind: str, run: Any) -> None:
    """Note the run in the folder's ``run.json``, or make sure that the folder is this run's.

    A run that ended before its first epoch leaves nothing to go on with, so another may take its folder.

    Args:
        folder: the run's folder; it must be there.
        kind, run: what will be trained.

    Raises:
        StudyError: it holds another run, or files that no run wrote.
    """
    file, given = folder / _RUN_FILE, run_record(kind, run)
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(_differing(_fixed(given), _fixed(kept)))
        if changed and _has_begun(folder):
            raise StudyError(
                f"{folder} holds a run with another {', '.join(changed)}. Give those settings again to go on with it, "
                "or another folder with --out for a new run."
            )
        for name in KINDS[kept["kind"]].prepared if changed else ():
            shutil.rmtree(folder / name, ignore_errors=True)  # made with the other settings
    elif not is_new(folder):
        raise StudyError(f"{folder} holds files of something else. Give a new or empty folder with --out.")
    file.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")


def release_folder(folder: Path) -> None:
    """Take the note of a run back that left nothing else."""
    note = folder / _RUN_FILE
    if is_new(folder, note.name):
        note.unlink(missing_ok=True)


def _has_begun(folder: Path) -> bool:
    """Whether a run left a checkpoint or weights."""
    return any(folder.glob("*.pt")) or (folder / WEIGHTS_FOLDER).exists()


def run_record(kind: str, run: Any) -> dict[str, Any]:
    """Kind and settings of a run, JSON-ready."""
    values: dict[str, Any] = json.loads(json.dumps({"kind": kind, **asdict(run)}, default=str))
    return values


def paths_of(run: Any) -> dict[str, Path]:
    """The files and folders that a run names, by their key, such as ``start.checkpoint``."""
    found: dict[str, Path] = {}
    for field in fields(run):
        value = getattr(run, field.name)
        if isinstance(value, Path):
            found[field.name] = value
        elif isinstance(value, tuple):
            found |= {f"{field.name}[{n}]": path for n, path in enumerate(value) if isinstance(path, Path)}
        elif is_dataclass(value):
            found |= {f"{field.name}.{key}": path for key, path in paths_of(value).items()}
    return found


def _resolved(run: Any, folder: Path) -> Any:
    """The same settings with absolute paths."""
    changed: dict[str, Any] = {}
    for field in fields(run):
        value = getattr(run, field.name)
        if isinstance(value, Path):
            changed[field.name] = folder / value.expanduser()
        elif isinstance(value, tuple):
            changed[field.name] = tuple(folder / v.expanduser() if isinstance(v, Path) else v for v in value)
        elif is_dataclass(value):
            changed[field.name] = _resolved(value, folder)
    return replace(run, **changed)


def _fixed(record: dict[str, Any]) -> dict[str, Any]:
    """What must stay the same when a run is resumed."""
    training = {key: value for key, value in record.get("training", {}).items() if key not in _FREE}
    return {**record, "training": training}


def _differing(given: Any, kept: Any, key: str = "") -> list[str]:
    """Keys whose values differ, nested ones as ``start.checkpoint``."""
    if not (isinstance(given, dict) and isinstance(kept, dict)):
        return [] if given == kept else [key]
    names = given.keys() | kept.keys()
    return [k for n in names for k in _differing(given.get(n), kept.get(n), f"{key}.{n}" if key else n)]
