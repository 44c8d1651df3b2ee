"""Model files and packages as scorers: TorchScript, ONNX, torchxrayvision."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from adapter_factory import BoxLungs, radiograph

from cxr_models.adapters import OnnxScorer, TorchScriptScorer, TorchXRayVisionScorer
from cxr_models.adapters import scorer as adapter


@pytest.fixture
def box_lungs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "LungFields", BoxLungs)


# TorchScript


class MeanAndMap(torch.nn.Module):
    """Probability: mean of the image. Map: the image, 4 times coarser."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.mean(dim=(1, 2, 3)), torch.nn.functional.avg_pool2d(images, 4)


def torchscript(path: Path, model: torch.nn.Module, shape: tuple[int, ...]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(model.eval(), torch.zeros(shape)), path)
    return path


@pytest.mark.usefixtures("box_lungs")
def test_torchscript_file(tmp_path: Path) -> None:
    path = torchscript(tmp_path / "model.pt", MeanAndMap(), (1, 1, 64, 64))
    options: dict[str, Any] = {"size": 64, "value_range": [0, 1], "output": ["probability", "map"]}
    scorer = TorchScriptScorer(str(path), **options, detection_threshold=0.2)
    score = scorer.score(radiograph())
    assert score.p_pneumonia == pytest.approx(0.5, abs=0.01)
    # The ramp is above half its range right of the middle: the patient's left lung, whole.
    assert (score.ratio_right_percent, score.ratio_left_percent) == (0.0, 100.0)
    assert len(scorer.weights_sha256["model.pt"]) == 64
    dark = TorchScriptScorer(path, **options, polarity="bone-dark", detection_threshold=0.2)
    assert dark.score(radiograph()).ratio_right_percent == 100.0


def test_files_that_are_no_models(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with pytest.raises(ValueError, match=r"Cannot read the model .*model.pt"):
        TorchScriptScorer(file, size=64, value_range=(0, 1))
    file.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is not a TorchScript file"):
        TorchScriptScorer(file, size=64, value_range=(0, 1))


# ONNX


def onnx_file(path: Path, side: int | str, opset: int = 17, inputs: int = 1) -> Path:
    """A graph that gives the mean of the image as a logit."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"image{n}" for n in range(inputs)]
    graph = helper.make_graph(
        [
            helper.make_node("Sum", names, ["sum"]),
            helper.make_node("ReduceMean", ["sum"], ["mean"], axes=[1, 2, 3], keepdims=0),
        ],
        "mean",
        [helper.make_tensor_value_info(name, kind, ["batch", 1, side, side]) for name in names],
        [helper.make_tensor_value_info("mean", kind, ["batch"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_onnx_file(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "model.onnx", 64)
    scorer = OnnxScorer(str(path), device="cpu", value_range=[0, 2], output="logit")
    assert scorer.score(radiograph()).p_pneumonia == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-3)
    assert list(scorer.weights_sha256) == ["model.onnx"]


def test_onnx_size_is_that_of_the_graph_or_stated(tmp_path: Path) -> None:
    free = onnx_file(tmp_path / "free.onnx", "side")
    assert OnnxScorer(free, size=48, device="cpu", value_range=(0, 1), output="logit").score(radiograph())
    with pytest.raises(ValueError, match=r"size is None. Give size"):
        OnnxScorer(free, device="cpu", value_range=(0, 1), output="logit")
    fixed = onnx_file(tmp_path / "fixed.onnx", 64)
    with pytest.raises(ValueError, match=r"takes images of \[64, 64\] pixels and size is 48"):
        OnnxScorer(fixed, size=48, device="cpu", value_range=(0, 1), output="logit")


def test_onnx_files_that_do_not_fit(tmp_path: Path) -> None:
    two = onnx_file(tmp_path / "two.onnx", 64, inputs=2)
    with pytest.raises(ValueError, match=r"one float32 input \[1, channel, row, col\] was expected"):
        OnnxScorer(two, device="cpu", value_range=(0, 1))
    two.write_bytes(b"no graph")
    with pytest.raises(ValueError, match="cannot be loaded as an ONNX model"):
        OnnxScorer(two, device="cpu", value_range=(0, 1))
    with pytest.raises(ValueError, match=r"device=\['tpu'\]: expected auto, cpu or cuda"):
        OnnxScorer(two, device="tpu", value_range=(0, 1))


def test_onnx_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    whole = onnx.load(onnx_file(tmp_path / "whole.onnx", 64))
    weights = onnx.numpy_helper.from_array(np.ones((1, 1, 64, 64), np.float32), "weights")
    whole.graph.initializer.append(weights)
    split = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(whole, tmp_path / "split.onnx", **split)
    with pytest.raises(ValueError, match="keeps weights in other files"):
        OnnxScorer(tmp_path / "split.onnx", device="cpu", value_range=(0, 1), output="logit")


def test_onnx_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'drrval\[onnx\]'"):
        OnnxScorer(tmp_path / "model.onnx", value_range=(0, 1))


# torchxrayvision


class FakeDenseNet(torch.nn.Module):
    """The interface of torchxrayvision's classifiers (1.5): names, operating points, images of [-1024, 1024]."""

    pathologies = ["", "Consolidation", "Pneumonia"]  # noqa: RUF012

    def __init__(self, op_threshs: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("op_threshs", op_threshs)
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        brightest = images.amax(dim=(1, 2, 3)) / 1024
        return torch.stack([0 * brightest, 0 * brightest + 0.25, 0.75 * brightest], dim=1)


@pytest.fixture
def fake_xrv(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeDenseNet]:
    def install(op_threshs: torch.Tensor | None = torch.full((3,), 0.5)) -> FakeDenseNet:  # noqa: B008
        model = FakeDenseNet(op_threshs)
        module = SimpleNamespace(models=SimpleNamespace(get_model=lambda weights: model))
        monkeypatch.setitem(sys.modules, "torchxrayvision", module)
        return model

    return install


def test_torchxrayvision_by_name_in_its_own_units(fake_xrv: Callable[..., FakeDenseNet]) -> None:
    model = fake_xrv()
    scorer = TorchXRayVisionScorer(device="cpu")
    score = scorer.score(radiograph())
    assert model.seen[-1].shape == (1, 1, 224, 224)
    assert (model.seen[-1].min().item(), model.seen[-1].max().item()) == pytest.approx((-1024, 1024), abs=8)
    assert score.p_pneumonia == pytest.approx(0.75, abs=0.01)
    assert np.isnan(score.ratio_percent)
    assert TorchXRayVisionScorer(pathology="Consolidation").score(radiograph()).p_pneumonia == pytest.approx(0.25)
    assert list(scorer.weights_sha256) == ["densenet121-res224-all"]


def test_torchxrayvision_size_and_logits(fake_xrv: Callable[..., FakeDenseNet]) -> None:
    model = fake_xrv(None)  # weights without operating points give logits
    score = TorchXRayVisionScorer("resnet50-res512-all", "Consolidation").score(radiograph())
    assert model.seen[-1].shape[-2:] == (512, 512)
    assert score.p_pneumonia == pytest.approx(1 / (1 + np.exp(-0.25)))


def test_torchxrayvision_refusals(fake_xrv: Callable[..., FakeDenseNet], monkeypatch: pytest.MonkeyPatch) -> None:
    fake_xrv()
    with pytest.raises(ValueError, match=r"knows no 'Flu'\. Expected one of: Consolidation, Pneumonia"):
        TorchXRayVisionScorer(pathology="Flu")
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(ImportError, match="pip install torchxrayvision"):
        TorchXRayVisionScorer()


# In a study


def test_adapters_are_found_by_a_study_and_checked(tmp_path: Path) -> None:
    from drrval.errors import ScorerError
    from drrval.study.config import ScorerSpec
    from drrval.study.scorers import load_cxr_scorer

    path = torchscript(tmp_path / "model.pt", MeanAndMap(), (1, 1, 64, 64))
    options = {"path": str(path), "size": 64, "value_range": [0, 1], "output": ["probability", "ignore"]}
    scorer = load_cxr_scorer(ScorerSpec(use="cxr_models.adapters:TorchScriptScorer", options=options))
    assert scorer.score(radiograph()).p_pneumonia == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ScorerError, match="The model gave 2 outputs"):
        load_cxr_scorer(
            ScorerSpec(use="cxr_models.adapters:TorchScriptScorer", options={**options, "output": "probability"})
        )


def test_bytes_that_are_hashed_are_the_bytes_that_run(tmp_path: Path) -> None:
    path = torchscript(tmp_path / "model.pt", MeanAndMap(), (1, 1, 64, 64))
    scorer = TorchScriptScorer(path, size=64, value_range=(0, 1), output=["probability", "ignore"])
    assert scorer.weights_sha256 == {"model.pt": hashlib.sha256(path.read_bytes()).hexdigest()}
