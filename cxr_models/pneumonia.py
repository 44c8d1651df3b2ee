"""The paper's severity measurement as a scorer: DLNet finds pneumonia, LSNet the lungs (its figure 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from cxr_models.contract import CXRContract, CXRInput, CXRScore, UnsuitableImageError
from cxr_models.examination import Examination
from cxr_models.lung_fields import LungFields
from cxr_models.networks.dlnet import DLNet, detect
from cxr_models.postprocessing import LungMasks, Mask, pneumonia_ratio, to_shape
from cxr_models.preprocessing import check_radiograph, clahe, to_unit
from cxr_models.severity import SeverityCalibration, continuous_severity, severity_score
from neural.store import has_weights, load_settings, load_weights
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
        examination: whether the image can be scored.
    """

    probability: float
    localisation: np.ndarray
    lungs: LungMasks
    examination: Examination = field(default_factory=Examination)


class PneumoniaScorer:
    """Pneumonia ratio of each lung and severity 0-8 from one frontal radiograph.

    Args:
        folder: store of the weights (:mod:`neural.store`); of two networks, it may lack one, which then is the bundled
            one: ``drrval train`` stores the one it trained.
        device: ``auto`` takes a GPU if there is one.

    Attributes:
        weights_sha256: SHA-256 of the weights by name.
        detection_threshold: probability from which a radiograph counts as positive.
        localisation_threshold: value of the map from which a pixel belongs to a box.
        area_threshold: value of the map from which a pixel counts as diseased in the ratios; the paper's, and that of
            weights stored without one, is ``localisation_threshold``
            (:func:`cxr_models.training.operating_points.operating_points`).

    Raises:
        KeyError: the store holds neither network.
        ValueError: the weights are damaged.
    """

    name: ClassVar[str]
    detector: ClassVar[str]
    segmenter: ClassVar[str]
    contract = CXRContract(value_range=(0.0, 255.0), polarity="bone-bright", views=("PA", "AP"))

    def __init__(self, folder: Path | str = WEIGHTS, device: str = "auto") -> None:
        detector, segmenter = _stores(Path(folder), self.detector, self.segmenter)
        chosen = pick_device(device)
        self._dlnet = DLNet(self.detector)
        self.weights_sha256 = {self.detector: load_weights(self._dlnet, detector, self.detector)}
        place(self._dlnet, chosen).eval()
        self._lung_fields = LungFields(segmenter, self.segmenter, chosen)
        self.weights_sha256[self.segmenter] = self._lung_fields.sha256
        settings = load_settings(detector, self.detector)
        self.detection_threshold = settings["detection_threshold"]
        self.localisation_threshold = settings["localisation_threshold"]
        self.area_threshold = settings.get("area_threshold", self.localisation_threshold)
        self._size = int(settings["size"])
        self._calibration = None
        if "severity_gain" in settings:
            self._calibration = SeverityCalibration(settings["severity_gain"], settings["severity_power"])

    def read(self, radiograph: CXRInput) -> Reading:
        """Run both networks, also on an image that the examination objects to.

        Raises:
            ValueError: the radiograph does not keep the contract (:func:`cxr_models.preprocessing.check_radiograph`).
        """
        check_radiograph(radiograph.image, radiograph.view, self.contract.views)
        shape = (radiograph.image.shape[0], radiograph.image.shape[1])
        probability, localisation = detect(self._dlnet, clahe(to_unit(radiograph.image, self._size)))
        lungs = self._lung_fields(radiograph.image)
        return Reading(probability, to_shape(localisation, shape), lungs.masks, lungs.examination)

    def score(self, radiograph: CXRInput) -> CXRScore:
        """Score one radiograph.

        Below the detection threshold the ratios and the 0-8 score are 0, as in the paper, so the ratio of a patient
        whose probability is near the threshold jumps between 0 and its value. The continuous ``severity`` knows no
        threshold; it is NaN for weights that were stored without a calibration.

        Raises:
            UnsuitableImageError: the image is no readable frontal chest radiograph (:mod:`cxr_models.examination`).
            ValueError: the radiograph does not keep the contract.
        """
        reading = self.read(radiograph)
        if reading.examination.problem:
            raise UnsuitableImageError(reading.examination.problem)
        positive = reading.probability >= self.detection_threshold
        lesion = (reading.localisation >= self.area_threshold) & reading.lungs.both & positive
        ratio = pneumonia_ratio(lesion, reading.lungs)
        return CXRScore(
            ratio_percent=ratio.total,
            ratio_right_percent=ratio.right,
            ratio_left_percent=ratio.left,
            p_pneumonia=reading.probability,
            score=severity_score(ratio.right, ratio.left),
            severity=self._severity(reading),
            lung_mask=reading.lungs.both,
            lesion_mask=lesion,
            localisation=reading.localisation,
            flags=reading.examination.flags,
        )

    def _severity(self, reading: Reading) -> float:
        if self._calibration is None:
            return float("nan")
        right, left = (_mean(reading.localisation, lung) for lung in (reading.lungs.right, reading.lungs.left))
        return continuous_severity(right, left, self._calibration)


def _stores(folder: Path, *names: str) -> list[Path]:
    """The store of each network: ``folder``, or the bundled one for what it lacks; all lacking is an error later."""
    held = [has_weights(folder, name) for name in names]
    return [folder if here or not any(held) else WEIGHTS for here in held]


def _mean(localisation: np.ndarray, lung: Mask) -> float:
    return float(localisation[lung].mean()) if lung.any() else float("nan")


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
