"""Batches of fixed examples: order, sizes, indices."""

from __future__ import annotations

import torch

from neural.batches import batches


class Numbers:
    """Examples that hold their own number."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"number": torch.tensor(index), "row": torch.full((2,), float(index))}


def test_every_example_comes_once_in_order_with_its_index() -> None:
    found = list(batches(Numbers(7), 3, torch.device("cpu")))
    assert [list(indices) for indices, _ in found] == [[0, 1, 2], [3, 4, 5], [6]]
    for indices, batch in found:
        assert batch["number"].tolist() == list(indices)
        assert batch["row"].shape == (len(indices), 2)


def test_no_examples_give_no_batch() -> None:
    assert list(batches(Numbers(0), 3, torch.device("cpu"))) == []
