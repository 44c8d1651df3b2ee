"""The weights store and the training loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural.store import has_weights, load_file, load_settings, load_weights, save_weights
from neural.training import TrainingSettings, fit


def _model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
    )


def _store(folder: Path) -> torch.nn.Module:
    model = _model()
    save_weights(model, folder, "toy", "# Toy\n", {"size": 224, "threshold": 0.25})
    return model


def test_store_gives_back_the_weights_in_half_precision(tmp_path: Path) -> None:
    model = _store(tmp_path)
    other = _model()
    torch.nn.init.zeros_(other[0].weight)
    load_weights(other, tmp_path, "toy")
    assert torch.equal(other[0].weight, model[0].weight.half().float())
    assert other[0].weight.dtype == torch.float32
    assert load_settings(tmp_path, "toy") == {"size": 224, "threshold": 0.25}
    assert (tmp_path / "toy.md").read_text() == "# Toy\n"


def test_store_refuses_a_changed_file(tmp_path: Path) -> None:
    _store(tmp_path)
    file = tmp_path / "toy.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"toy.safetensors has SHA-256 .* is pinned: the file is damaged"):
        load_weights(_model(), tmp_path, "toy")


def test_store_refuses_pickle(tmp_path: Path) -> None:
    path = tmp_path / "toy.pt"
    torch.save(_model().state_dict(), path)
    with pytest.raises(ValueError, match=r"toy.pt is not a safetensors file"):
        load_file(_model(), path)


def test_store_refuses_another_network(tmp_path: Path) -> None:
    _store(tmp_path)
    with pytest.raises(ValueError, match=r"toy.safetensors does not fit Linear"):
        load_weights(torch.nn.Linear(2, 2), tmp_path, "toy")


def test_store_names_what_it_has(tmp_path: Path) -> None:
    _store(tmp_path)
    with pytest.raises(KeyError, match=r"No weights are called 'tory'.*There are: toy"):
        load_weights(_model(), tmp_path, "tory")


def test_store_knows_what_it_holds(tmp_path: Path) -> None:
    assert not has_weights(tmp_path, "toy")
    _store(tmp_path)
    assert has_weights(tmp_path, "toy")
    assert not has_weights(tmp_path, "other")


def test_store_refuses_what_half_precision_cannot_hold(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, 1e5)
    with pytest.raises(ValueError, match="weight holds 100000, which half precision cannot"):
        save_weights(model, tmp_path, "toy", "", {})


def test_registry_keeps_its_other_weights(tmp_path: Path) -> None:
    _store(tmp_path)
    save_weights(torch.nn.Linear(2, 2), tmp_path, "second", "", {})
    assert set(json.loads((tmp_path / "registry.json").read_text())) == {"second", "toy"}


class _Points:
    """y is the sum of x, with noise that depends on the epoch as an augmentation does."""

    def __init__(self) -> None:
        self.x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.x)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        noise = torch.randn(4, generator=torch.Generator().manual_seed(1000 * self.epoch + index))
        return {"x": self.x[index] + 0.01 * noise, "y": self.x[index].sum()}


def _loss(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"loss": (model(batch["x"]).squeeze(1) - batch["y"]).square().mean()}


def _validate(model: torch.nn.Module) -> dict[str, float]:
    points = _Points()
    return {"loss": (model(points.x).squeeze(1) - points.x.sum(dim=1)).square().mean().item()}


_SETTINGS = TrainingSettings(epochs=6, learning_rate=0.05, device="cpu", stopping_epochs=6)


def _run(folder: Path, settings: TrainingSettings) -> torch.nn.Module:
    return fit(_model(), _loss, _Points(), _validate, settings, folder)


def test_training_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    before = _validate(_model().eval())["loss"]
    model = _run(tmp_path, _SETTINGS)
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert log[0] == "epoch,learning_rate,train_loss,validation_loss,seconds"
    best = min(float(line.split(",")[3]) for line in log[1:])
    assert _validate(model)["loss"] == pytest.approx(best, rel=1e-6)
    assert best < 0.2 * before


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path: Path, averaging: float) -> None:
    settings = replace(_SETTINGS, averaging=averaging)
    whole = _run(tmp_path / "whole", settings)
    _run(tmp_path / "parts", replace(settings, epochs=2))
    parts = _run(tmp_path / "parts", settings)
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_averaged_weights_lag_behind_the_weights_themselves(tmp_path: Path) -> None:
    def moved(averaging: float) -> float:
        trained = _run(tmp_path / str(averaging), replace(_SETTINGS, epochs=1, averaging=averaging))
        return float((trained[0].weight - _model()[0].weight).detach().norm())

    # The average starts at the weights of the first step and hardly follows with a decay near 1.
    assert 0.0 < moved(0.9999) < 0.5 * moved(0.0)


def test_training_stops_early_and_lowers_the_rate(tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=20, stagnation_epochs=1, stagnation_factor=0.5, stopping_epochs=3, device="cpu")
    fit(_model(), _loss, _Points(), lambda model: {"loss": 1.0}, settings, tmp_path)
    log = (tmp_path / "log.csv").read_text().splitlines()[1:]
    assert [float(line.split(",")[1]) for line in log] == pytest.approx([1e-4, 5e-5, 2.5e-5, 1.25e-5])


def test_a_run_is_not_continued_with_other_settings(tmp_path: Path) -> None:
    _run(tmp_path, replace(_SETTINGS, epochs=1))
    with pytest.raises(ValueError, match=r"last.pt belongs to a run with another batch_size, seed"):
        _run(tmp_path, replace(_SETTINGS, seed=5, batch_size=4))


def test_a_loss_that_is_not_finite_stops_training(tmp_path: Path) -> None:
    def broken(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": model(batch["x"]).mean() * float("inf")}

    with pytest.raises(ValueError, match=r"The loss is .* in epoch 0: lower the learning rate"):
        fit(_model(), broken, _Points(), _validate, _SETTINGS, tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"stagnation_epochs": 0}, {"learning_rate": 0.0}, {"averaging": 1.0}]
)
def test_training_settings_that_cannot_train_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        TrainingSettings(**wrong)  # type: ignore[arg-type]
