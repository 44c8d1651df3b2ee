"""Weights that ship: safetensors in half precision, pinned by SHA-256 in a small registry, a model card beside each.

A store is a folder::

    registry.json       {"lsnet-light": {"file": "lsnet-light.safetensors", "sha256": "...",
                                         "card": "lsnet-light.md", "settings": {"size": 448}}}
    lsnet-light.safetensors
    lsnet-light.md

safetensors holds numbers only, so loading executes no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

_REGISTRY = "registry.json"


def save_weights(model: nn.Module, folder: Path, name: str, card: str, settings: Mapping[str, float]) -> Path:
    """Write a model's weights in half precision, its card, and its line in the registry.

    Args:
        model: the network; its state dict is stored.
        folder: the store, made if absent.
        name: what the weights are called; the file stem.
        card: the model card, Markdown: data, licences, metrics with intervals and n, use, limits, input.
        settings: numbers that belong to the weights, such as the input size and thresholds.

    Returns:
        The weight file.

    Raises:
        ValueError: a weight is not finite in half precision (beyond 65,504).
    """
    state = {key: _half(key, value) for key, value in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    data = save_tensors(state)
    file = folder / f"{name}.safetensors"
    file.write_bytes(data)
    (folder / f"{name}.md").write_text(card, encoding="utf-8")
    registry = _registry(folder)
    registry[name] = {
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "card": f"{name}.md",
        "settings": dict(settings),
    }
    (folder / _REGISTRY).write_text(json.dumps(registry, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return file


def load_weights(model: nn.Module, folder: Path, name: str) -> str:
    """Fill a model from a store, in single precision.

    Returns:
        The SHA-256 of the weights, for the record of a study.

    Raises:
        KeyError: the store has no such weights.
        ValueError: the file differs from its pinned SHA-256, or does not fit the model.
    """
    entry = _entry(folder, name)
    return load_file(model, folder / entry["file"], sha256=entry["sha256"])


def has_weights(folder: Path, name: str) -> bool:
    """Whether a store holds weights of this name."""
    return name in _registry(folder)


def load_settings(folder: Path, name: str) -> dict[str, float]:
    """The numbers that belong to the weights.

    Raises:
        KeyError: the store has no such weights.
    """
    settings: dict[str, float] = _entry(folder, name)["settings"]
    return settings


def load_file(model: nn.Module, path: Path, sha256: str | None = None) -> str:
    """Fill a model from a safetensors file, in single precision.

    Args:
        model: the network to fill.
        path: a file written by :func:`save_weights`, or any safetensors file with the model's keys.
        sha256: what the file must hash to; None takes any.

    Returns:
        The SHA-256 of the file.

    Raises:
        ValueError: another hash than asked for, not a safetensors file, or keys that do not fit the model.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"{path.name} has SHA-256 {found[:12]}..., but {sha256[:12]}... is pinned: the file is damaged or was "
            "replaced. Install the package again, or name your own weights by path."
        )
    try:
        state = load_tensors(data)
    except SafetensorError as error:
        raise ValueError(
            f"{path.name} is not a safetensors file ({error}). Convert the weights to safetensors."
        ) from error
    try:
        model.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        )
    except RuntimeError as error:
        raise ValueError(f"{path.name} does not fit {type(model).__name__}: {error}") from error
    return found


def _half(key: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value.contiguous()
    half = value.detach().cpu().half().contiguous()
    if not torch.isfinite(half).all():
        raise ValueError(
            f"{key} holds {value.abs().max().item():g}, which half precision cannot (at most 65504): the training "
            "diverged, or this layer needs another scale."
        )
    return half


def _entry(folder: Path, name: str) -> dict[str, Any]:
    registry = _registry(folder)
    if name not in registry:
        raise KeyError(f"No weights are called {name!r} in {folder}. There are: {', '.join(registry) or 'none'}.")
    return registry[name]


def _registry(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / _REGISTRY
    registry: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return registry
