"""A TorchScript file as a radiograph scorer."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxr_models.adapters.files import read_model
from cxr_models.adapters.options import ModelOptions
from cxr_models.adapters.scorer import Array, ModelScorer
from neural.training import pick_device


class TorchScriptScorer(ModelScorer):
    """A model that ``torch.jit.save`` wrote.

    A TorchScript file holds a program, and scoring runs it: use files of people you trust.

    Args:
        path: the file.
        device: ``auto`` takes a GPU if there is one.
        **options: see :class:`cxr_models.adapters.options.ModelOptions`; ``size`` and ``value_range`` must be given.

    Raises:
        ValueError: the file cannot be read or is no TorchScript, or the options do not fit the model.
        TypeError: an option that does not exist, or one that is missing.

    Example, in a study file::

        - {use: "cxr_models.adapters:TorchScriptScorer", name: mine,
           options: {path: model.pt, size: 512, value_range: [0, 1], output: [logit, map]}}
    """

    def __init__(self, path: str | Path, *, size: int, device: str = "auto", **options: Any) -> None:
        data, sha256 = read_model(path)
        self._device = pick_device(device)
        try:
            with warnings.catch_warnings():  # PyTorch has declared TorchScript deprecated; its files are still about
                warnings.filterwarnings("ignore", message=".*torch.jit.load", category=DeprecationWarning)
                self._model = torch.jit.load(io.BytesIO(data), map_location=self._device).eval()
        except RuntimeError as error:
            raise ValueError(f"{path} is not a TorchScript file: {error}. Write it with torch.jit.save.") from error
        described = ModelOptions(size=size, **options)
        super().__init__("torchscript", self._forward, described, device=device, weights_sha256=sha256)

    def _forward(self, images: Array) -> Sequence[Array]:
        with torch.inference_mode():
            outputs = self._model(torch.from_numpy(images).to(self._device))
        return [to_array(output) for output in (outputs if isinstance(outputs, tuple | list) else (outputs,))]


def to_array(output: Any) -> Array:
    """An output tensor as a float32 array.

    Raises:
        ValueError: the output is something else.
    """
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"The model gave a {type(output).__name__}; a tensor, or several in a tuple, were expected.")
    return np.asarray(output.float().cpu().numpy())
