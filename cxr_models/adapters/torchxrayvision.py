"""torchxrayvision's classifiers as radiograph scorers; needs that package and, at first use, its weights."""

from __future__ import annotations

import hashlib
import importlib
import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from cxr_models.adapters.options import ModelOptions
from cxr_models.adapters.scorer import Array, ModelScorer
from cxr_models.adapters.torchscript import to_array
from neural.training import pick_device

#: What torchxrayvision's ``normalize`` makes of black and white (Cohen et al. 2022, arXiv:2111.00595).
_VALUE_RANGE = (-1024.0, 1024.0)
_USUAL_SIZE = 224


class TorchXRayVisionScorer(ModelScorer):
    """The probability of one pathology by a classifier of torchxrayvision; no map, so no ratio.

    torchxrayvision keeps its weights in its own cache folder and downloads what is not there. Its files are pickles,
    which run what they hold: the package and its download are trusted as a whole. Its probabilities are scaled so that
    0.5 is the operating point.

    Args:
        weights: as torchxrayvision names them, such as ``densenet121-res224-all`` or ``resnet50-res512-all``.
        pathology: one of the model's, such as ``Pneumonia``, ``Lung Opacity`` or ``Consolidation``.
        device: ``auto`` takes a GPU if there is one.
        views: view positions that are scored.

    Raises:
        ImportError: torchxrayvision is not installed.
        ValueError: the model has no such pathology.
    """

    def __init__(
        self,
        weights: str = "densenet121-res224-all",
        pathology: str = "Pneumonia",
        device: str = "auto",
        views: Sequence[str] = ("PA", "AP"),
    ) -> None:
        self._device = pick_device(device)
        self._model = _models().get_model(weights).eval().to(self._device)
        names = list(self._model.pathologies)
        if pathology not in names:
            raise ValueError(
                f"{weights} knows no {pathology!r}. Expected one of: {', '.join(name for name in names if name)}."
            )
        calibrated = getattr(self._model, "op_threshs", None) is not None
        options = ModelOptions(
            value_range=_VALUE_RANGE,
            size=_size(weights),
            output="probability" if calibrated or getattr(self._model, "apply_sigmoid", False) else "logit",
            index=names.index(pathology),
            views=tuple(views),
        )
        sha256 = {weights: _state_sha256(self._model)}
        super().__init__("torchxrayvision", self._forward, options, device=device, weights_sha256=sha256)

    def _forward(self, images: Array) -> Sequence[Array]:
        with torch.inference_mode():
            return [to_array(self._model(torch.from_numpy(images).to(self._device)))]


def _models() -> Any:
    try:
        with warnings.catch_warnings():  # the package silences warnings for the whole process when it is imported
            return importlib.import_module("torchxrayvision").models
    except ImportError as error:
        raise ImportError(
            "This scorer needs torchxrayvision, which is not installed: pip install torchxrayvision."
        ) from error


def _size(weights: str) -> int:
    """The side of the images that the weights were trained on, which their name holds."""
    found = re.search(r"res(\d{3,})", weights)
    return int(found.group(1)) if found else _USUAL_SIZE


def _state_sha256(model: torch.nn.Module) -> str:
    """SHA-256 over the weights as loaded: the file lies in a cache that only the package knows."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
