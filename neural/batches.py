"""Batches of examples that are always the same, for measuring a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor


class Examples(Protocol):
    """A map-style dataset whose examples are tensors by name, of the same shapes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


def batches(examples: Examples, size: int, device: torch.device) -> Iterator[tuple[range, dict[str, Tensor]]]:
    """All examples in their order, stacked by ``size``; with each batch the indices of its examples.

    Args:
        examples: the dataset.
        size: examples in a batch; the last one may be smaller.
        device: where the batch is wanted.
    """
    for start in range(0, len(examples), size):
        indices = range(start, min(start + size, len(examples)))
        items = [examples[i] for i in indices]
        yield indices, {name: torch.stack([item[name] for item in items]).to(device) for name in items[0]}
