"""An ONNX file as a radiograph scorer; needs the optional package onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cxr_models.adapters.files import read_model
from cxr_models.adapters.options import ModelOptions
from cxr_models.adapters.scorer import Array, ModelScorer

#: The key "location" of a tensor's external data, as protobuf writes it (field 1, 8 characters; field 2 follows).
_EXTERNAL = b"\x0a\x08location\x12"
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxScorer(ModelScorer):
    """A model in ONNX format, run by ONNX Runtime: a graph of known operations; no code comes with it.

    The file must hold its weights itself, so that its SHA-256 is that of what runs. Its one input must be float32
    ``[1, channel, row, col]`` (the batch may be of any size).

    Args:
        path: the file.
        size: as in the options; by default what the graph fixes.
        device: ``auto`` takes a GPU where the installed ONNX Runtime can; ``cpu`` or ``cuda``.
        **options: see :class:`cxr_models.adapters.options.ModelOptions`; ``value_range`` must be given.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the file cannot be read, is no ONNX model or keeps weights in other files, or the options do not
            fit it.
        TypeError: an option that does not exist, or one that is missing.

    Example, in a study file::

        - {use: "cxr_models.adapters:OnnxScorer", name: mine,
           options: {path: model.onnx, value_range: [0, 255], output: softmax, index: 1}}
    """

    def __init__(self, path: str | Path, *, size: int | None = None, device: str = "auto", **options: Any) -> None:
        data, sha256 = read_model(path)
        if _EXTERNAL in data:
            raise ValueError(f"{path} keeps weights in other files. Save it as one file (onnx.save without them).")
        self._session = _session(data, path, device)
        (self._input, *others) = self._session.get_inputs()
        if others or self._input.type != "tensor(float)" or len(self._input.shape) != 4:
            given = [f"{i.name}: {i.type} {i.shape}" for i in (self._input, *others)]
            raise ValueError(f"{path} takes {given}: one float32 input [1, channel, row, col] was expected.")
        described = ModelOptions(size=_side(self._input.shape, size, path), **options)
        super().__init__("onnx", self._forward, described, device=device, weights_sha256=sha256)

    def _forward(self, images: Array) -> Sequence[Array]:
        outputs: Sequence[Array] = self._session.run(None, {self._input.name: images})
        return outputs


def _session(data: bytes, path: str | Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "ONNX models need ONNX Runtime, which is not installed: pip install 'drrval[onnx]'."
        ) from error
    wanted = ["cuda", "cpu"] if device == "auto" else [device]
    if unknown := set(wanted) - _PROVIDERS.keys():
        raise ValueError(f"device={sorted(unknown)}: expected auto, cpu or cuda.")
    there = onnxruntime.get_available_providers()
    providers = [_PROVIDERS[name] for name in wanted if _PROVIDERS[name] in there]
    if not providers:
        raise ValueError(f"The installed ONNX Runtime has no {_PROVIDERS[device]}, only {there}. Use device: cpu.")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()  # of a study's worker; its own default is every core
    try:
        return onnxruntime.InferenceSession(data, settings, providers=providers)
    except Exception as error:  # ONNX Runtime has an exception of its own for each kind of broken graph
        raise ValueError(f"{path} cannot be loaded as an ONNX model: {type(error).__name__}: {error}.") from error


def _side(shape: Sequence[int | str | None], size: int | None, path: str | Path) -> int:
    """The side of the input: as stated, and as the graph fixes it where it does."""
    fixed = [side for side in shape[2:] if isinstance(side, int)]
    sides = {*fixed, *([] if size is None else [size])}
    if len(sides) != 1:
        raise ValueError(
            f"{path} takes images of {list(shape[2:])} pixels and size is {size}. Give size, a square that fits the "
            "graph."
        )
    return sides.pop()
