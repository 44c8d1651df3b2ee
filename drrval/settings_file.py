"""Reading settings from YAML files, with errors that name the key, the value and the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from drrval.errors import StudyError
from drrval.settings import Settings

Model = TypeVar("Model", bound=Settings)

_PLAIN = {
    "tuple_type": "It must be a list, such as [PA, AP]",
    "dict_type": "It must be a mapping of keys, such as {PA: chest-pa}",
    "model_type": "It must be a mapping of keys, such as {model: none}",
    "string_pattern_mismatch": "Use letters, digits, '.', '_' and '-', beginning with a letter or digit",
}


def read_mapping(path: Path, what: str, example: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; a key given twice is an error.

    Args:
        path: the file.
        what: what to call it in errors, such as ``study file``.
        example: keys that it may hold, for the error when it holds no mapping.

    Raises:
        StudyError: it cannot be read, is no YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"Cannot read the {what} {path}: {error}. Give the path of a YAML file.") from None
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise StudyError(f"{path} must hold a mapping of keys ({example}, ...), not {type(values).__name__}.")
    return values


def validated(model: type[Model], values: dict[str, Any], path: Path) -> Model:
    """Make settings of what a file holds.

    Raises:
        StudyError: naming the file, each key, the value given and what is allowed.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = list(
            dict.fromkeys(_explain(problem, model) for problem in error.errors() if problem["type"] != "too_short")
        )
        raise StudyError("\n".join([f"{path} breaks {len(lines)} rule(s):", *lines])) from None


def _explain(problem: Any, model: type[Settings]) -> str:
    """One line: the key, the value, the rule."""
    parts = [str(p) for p in problem["loc"]]
    key = ".".join(parts) or "the file"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"  {key}: is missing. Add this key."
    if problem["type"] == "extra_forbidden":
        return f"  {key}: unknown key. Expected one of: {', '.join(_allowed_keys(model, parts[:-1]))}."
    message = _PLAIN.get(problem["type"], message)
    return f"  {key}: got {problem['input']!r}. {message}."


def _allowed_keys(model: type[Settings], parents: list[str]) -> list[str]:
    """Keys of the settings that a path of keys leads to."""
    for part in parents:
        if part.isdigit() or part not in model.model_fields:
            continue
        model = _settings_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next((m for a in getattr(annotation, "__args__", ()) if (m := _settings_in(a))), None)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, which plain YAML silently overwrites."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
        twice = {k for k in keys if keys.count(k) > 1}
        if twice:
            raise yaml.YAMLError(f"key {sorted(map(str, twice))} is given twice\n{node.start_mark}")
        return super().construct_mapping(node, deep=deep)
