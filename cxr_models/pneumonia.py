"""The paper's severity measurement as a scorer: DLNet finds pneumonia, LSNet the lungs (its figure 6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cxr_models.contract import CXRContract, CXRInput, CXRScore
from cxr_models.networks.dlnet import DLNet, detect
from cxr_models.networks.lsnet import LSNet, segment
from cxr_models.postprocessing import LungMasks, lung_masks, pneumonia_ratio, to_shape
from cxr_models.preprocessing import check_radiograph, clahe, to_unit
from cxr_models.severity import severity_score
from neural.store import load_settings, load_weights
from neural.training import pick_device, place

#: Where the bundled weights are.
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Reading:
    """What the two networks say about one radiograph.

    Attributes:
        probability: of pneumonia, 0-1.
        localisation: float32 ``[row, col]``, 0-1, on the radiograph's pixels.
        lungs: the lung fields on the radiograph's pixels.
    """

    probability: float
    localisation: np.ndarray
    lungs: LungMasks


class PneumoniaScorer:
    """Pneumonia ratio of each lung and severity 0-8 from one frontal radiograph.

    Args:
        folder: store of the weights (:mod:`neural.store`).
        device: ``auto`` takes a GPU if there is one.

    Raises:
        KeyError: the store lacks the weights.
        ValueError: the weights are damaged.
    """

    name: ClassVar[str]
    detector: ClassVar[str]
    segmenter: ClassVar[str]
    contract = CXRContract(value_range=(0.0, 255.0), polarity="bone-bright", views=("PA", "AP"))

    def __init__(self, folder: Path = WEIGHTS, device: str = "auto") -> None:
        self._device = pick_device(device)
        self._dlnet, self._lsnet = DLNet(self.detector), LSNet(self.segmenter)
        for network, name in ((self._dlnet, self.detector), (self._lsnet, self.segmenter)):
            load_weights(network, folder, name)
            place(network, self._device).eval()
        detector, segmenter = load_settings(folder, self.detector), load_settings(folder, self.segmenter)
        self.detection_threshold = detector["detection_threshold"]
        self.localisation_threshold = detector["localisation_threshold"]
        self._detector_size, self._segmenter_size = int(detector["size"]), int(segmenter["size"])

    def read(self, radiograph: CXRInput) -> Reading:
        """Run both networks.

        Raises:
            ValueError: the radiograph does not keep the contract (:func:`cxr_models.preprocessing.check_radiograph`).
        """
        check_radiograph(radiograph.image, radiograph.view, self.contract.views)
        shape = (radiograph.image.shape[0], radiograph.image.shape[1])
        probability, localisation = detect(self._dlnet, clahe(to_unit(radiograph.image, self._detector_size)))
        lungs = segment(self._lsnet, to_unit(radiograph.image, self._segmenter_size))
        return Reading(probability, to_shape(localisation, shape), lung_masks(to_shape(lungs, shape)))

    def score(self, radiograph: CXRInput) -> CXRScore:
        """Score one radiograph. Below the detection threshold the ratios and the severity are 0, as in the paper.

        Raises:
            ValueError: the radiograph does not keep the contract, or shows no lung.
        """
        reading = self.read(radiograph)
        positive = reading.probability >= self.detection_threshold
        lesion = (reading.localisation >= self.localisation_threshold) & reading.lungs.both & positive
        ratio = pneumonia_ratio(lesion, reading.lungs)
        return CXRScore(
            ratio_percent=ratio.total,
            ratio_right_percent=ratio.right,
            ratio_left_percent=ratio.left,
            p_pneumonia=reading.probability,
            score=severity_score(ratio.right, ratio.left),
            lung_mask=reading.lungs.both,
            lesion_mask=lesion,
        )


class DLNetScorer(PneumoniaScorer):
    """The paper's networks: ResNet50 DLNet and VGG16 LSNet at 448 x 448."""

    name = "dlnet"
    detector = "dlnet"
    segmenter = "lsnet"


class DLNetLightScorer(PneumoniaScorer):
    """EfficientNet-Lite0 variants of both, for CPUs."""

    name = "dlnet-light"
    detector = "dlnet-light"
    segmenter = "lsnet-light"
