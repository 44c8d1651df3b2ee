"""Reading settings from YAML files, with errors that name the key, the value and the rule."""

from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from drrval.errors import StudyError
from drrval.settings import Settings

Model = TypeVar("Model", bound=Settings)
Record = TypeVar("Record")

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_PLAIN = {
    "tuple_type": "It must be a list, such as [PA, AP]",
    "dict_type": "It must be a mapping of keys, such as {PA: chest-pa}",
    "model_type": "It must be a mapping of keys, such as {model: none}",
    "dataclass_type": "It must be a mapping of keys",
    "path_type": "It must be the path of a file or folder",
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
        raise _explained([(p, p["loc"]) for p in error.errors()], model, path) from None


def validated_dataclass(record: type[Record], values: dict[str, Any], path: Path) -> Record:
    """Make a standard dataclass of what a file holds, unknown keys refused; for packages that know no pydantic.

    Raises:
        StudyError: naming the file, each key, the value given and what is allowed.
    """
    # Within a tuple, because pydantic takes a configuration for no dataclass itself.
    adapter = TypeAdapter(tuple[record], config=ConfigDict(extra="forbid"))  # type: ignore[valid-type]
    try:
        return adapter.validate_python((values,))[0]
    except ValidationError as error:
        raise _explained([(p, p["loc"][1:]) for p in error.errors()], record, path) from None


def _explained(problems: list[tuple[Any, tuple[int | str, ...]]], model: type, path: Path) -> StudyError:
    """The error that lists every problem, each given with the keys that lead to it."""
    told = [_explain(problem, keys, model) for problem, keys in problems if problem["type"] != "too_short"]
    lines = list(dict.fromkeys(told))
    return StudyError("\n".join([f"{path} breaks {len(lines)} rule(s):", *lines]))


def _explain(problem: Any, keys: tuple[int | str, ...], model: type) -> str:
    """One line: the key, the value, the rule."""
    parts = [str(key) for key in keys]
    key = ".".join(parts) or "the file"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"  {key}: is missing. Add this key."
    if problem["type"] in _UNKNOWN_KEY:
        return f"  {key}: unknown key. Expected one of: {', '.join(_allowed_keys(model, parts[:-1]))}."
    message = _PLAIN.get(problem["type"], message)
    return f"  {key}: got {problem['input']!r}. {message}."


def _allowed_keys(model: type, parents: list[str]) -> list[str]:
    """Keys of the settings that a path of keys leads to."""
    for part in parents:
        fields = _fields(model)
        if part.isdigit() or part not in fields:
            continue
        model = _settings_in(fields[part]) or model
    return list(_fields(model))


def _fields(model: type) -> dict[str, Any]:
    """Names and types of the fields of settings or of a dataclass."""
    if issubclass(model, Settings):
        return {name: info.annotation for name, info in model.model_fields.items()}
    return get_type_hints(model)


def _settings_in(annotation: Any) -> type | None:
    if isinstance(annotation, type) and (issubclass(annotation, Settings) or is_dataclass(annotation)):
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
