"""The lung fields of a radiograph from the weights of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cxr_models.networks.lsnet import LSNet, segment
from cxr_models.postprocessing import LungMasks, lung_masks, to_shape
from cxr_models.preprocessing import to_unit
from neural.store import load_settings, load_weights
from neural.training import place


class LungFields:
    """LSNet with its weights: ``fields(image) -> LungMasks``.

    Args:
        folder: store of the weights (:mod:`neural.store`).
        name: of the weights, and variant of the network: ``lsnet-light`` or ``lsnet``.
        device: where it runs.

    Attributes:
        sha256: of the weight file.

    Raises:
        KeyError: the store lacks the weights.
        ValueError: the weights are damaged.
    """

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        self._network = LSNet(name)
        self.sha256 = load_weights(self._network, folder, name)
        place(self._network, device).eval()
        self._size = int(load_settings(folder, name)["size"])

    def __call__(self, image: npt.NDArray[np.float32]) -> LungMasks:
        """Right and left lung field on the pixels of a radiograph ``[row, col]``, 0-255, bone bright."""
        maps = segment(self._network, to_unit(image, self._size))
        return lung_masks(to_shape(maps, (image.shape[0], image.shape[1])))
