"""Lesions in YAML files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import yaml

from drrval.disease.lesion import Lesion
from drrval.errors import StudyError
from drrval.settings_file import read_mapping


def read_lesions(path: Path) -> tuple[Lesion, ...]:
    """Read lesions from a YAML file: ``lesions:`` with a list of the fields of :class:`Lesion`.

    Raises:
        StudyError: unreadable, not such a list, or a lesion that breaks a rule; names the file and the lesion.
    """
    values = read_mapping(path, "lesion file", "lesions")
    entries = values.get("lesions")
    if set(values) != {"lesions"} or not isinstance(entries, list):
        raise StudyError(
            f"{path} must hold the one key 'lesions' with a list. It holds: {', '.join(map(str, values))}."
        )
    return tuple(_lesion(entry, f"{path}, lesion {number}") for number, entry in enumerate(entries, start=1))


def write_lesions(path: Path, lesions: Sequence[Lesion]) -> None:
    """Write lesions so that :func:`read_lesions` reads them back."""
    plain = [{key: _plain(value) for key, value in asdict(lesion).items()} for lesion in lesions]
    path.write_text(yaml.safe_dump({"lesions": plain}, sort_keys=False, default_flow_style=None), encoding="utf-8")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _lesion(entry: Any, where: str) -> Lesion:
    known = {field.name: field for field in fields(Lesion)}
    if not isinstance(entry, dict) or set(entry) - set(known):
        raise StudyError(f"{where}: got {entry!r}. It must be a mapping of: {', '.join(known)}.")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in entry]:
        raise StudyError(f"{where}: {', '.join(missing)} missing. Add the key(s).")
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    try:
        return Lesion(**given)
    except (StudyError, TypeError, ValueError) as error:
        raise StudyError(f"{where}: {error}") from None
