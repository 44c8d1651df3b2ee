"""Reading settings from YAML files, with errors that name the key, the value and the rule."""

from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from drrval.errors import StudyError
from drrval.settings import Settings

Model = TypeVar("Model", bound=Settings)
Record = TypeVar("Record")

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_PLAIN = {
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
    got, message = problem["input"], problem["msg"].removeprefix("Value error, ").rstrip(".")
    if problem["type"] in _UNKNOWN_KEY:
        return f"  {'.'.join(parts)}: unknown key. Expected one of: {', '.join(_fields(_owner(model, parts[:-1])))}."
    if problem["type"] == "missing" and parts[-1].isdigit():
        return f"  {'.'.join(parts[:-1])}: is too short. {_list_wanted(model, parts[:-1])}."
    if problem["type"] == "missing":
        return f"  {'.'.join(parts)}: is missing. Add this key."
    if problem["type"] == "tuple_type":
        message = _list_wanted(model, parts)
    if problem["type"] == "value_error" and isinstance(got, dict) and (name := message.partition("=")[0]) in got:
        parts, got = [*parts, name], got[name]  # the rule of a whole record, which names the key that breaks it
    if not parts:
        return f"  the file: {message}."
    return f"  {'.'.join(parts)}: got {got!r}. {_PLAIN.get(problem['type'], message)}."


def _list_wanted(model: type, keys: list[str]) -> str:
    """What a key that holds a list wants: how many numbers where that is fixed, and its default as an example."""
    owner, name = _owner(model, keys[:-1]), keys[-1]
    values = get_args(_fields(owner).get(name))
    fixed = bool(values) and all(value in (int, float) for value in values)
    default = _defaults(owner).get(name)
    example = f", such as [{', '.join(map(str, default))}]" if isinstance(default, tuple) and default else ""
    return f"It must be a list{f' of {len(values)} numbers' if fixed else ''}{example}"


def _owner(model: type, parents: list[str]) -> type:
    """The settings that a path of keys leads to."""
    for part in parents:
        names = _fields(model)
        if part.isdigit() or part not in names:
            continue
        model = _settings_in(names[part]) or model
    return model


def _fields(model: type) -> dict[str, Any]:
    """Names and types of the fields of settings or of a dataclass."""
    if issubclass(model, Settings):
        return {name: info.annotation for name, info in model.model_fields.items()}
    return get_type_hints(model)


def _defaults(model: type) -> dict[str, Any]:
    """The defaults of the fields of settings or of a dataclass, where they are plain values."""
    if issubclass(model, Settings):
        return {name: info.default for name, info in model.model_fields.items()}
    return {name: getattr(model, name) for name in get_type_hints(model) if hasattr(model, name)}


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
