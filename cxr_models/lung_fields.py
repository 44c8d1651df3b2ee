"""The lung fields of a radiograph from the weights of a store, and whether they look like those of a radiograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cxr_models.examination import Examination, examine
from cxr_models.networks.lsnet import LSNet, segment
from cxr_models.postprocessing import LungMasks, lung_masks, to_shape
from cxr_models.preprocessing import to_unit
from cxr_models.typical_lungs import load_typical_lungs
from neural.store import load_settings, load_weights
from neural.training import place


@dataclass(frozen=True)
class FoundLungs:
    """The lung fields on the pixels of a radiograph, and what is to be said of the image."""

    masks: LungMasks
    examination: Examination


class LungFields:
    """LSNet with its weights: ``fields(image) -> FoundLungs``.

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
        self._typical = load_typical_lungs(self.sha256)

    def __call__(self, image: npt.NDArray[np.float32]) -> FoundLungs:
        """Find the lungs of a radiograph ``[row, col]``, 0-255, bone bright, and examine it."""
        given = to_unit(image, self._size)
        maps = self.probability(given)
        examination = examine(given, maps, self.probability, self._typical)
        return FoundLungs(lung_masks(to_shape(maps, (image.shape[0], image.shape[1]))), examination)

    def probability(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the network says, ``[2, row, col]`` (right, left), 0-1, of an image of its own size in 0-1."""
        return segment(self._network, image)
