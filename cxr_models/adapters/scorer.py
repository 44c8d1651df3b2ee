"""A model of another maker as a scorer: its image in, its outputs read, the lungs of LSNet beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_models.adapters.convert import from_outputs, to_input
from cxr_models.adapters.options import ModelOptions
from cxr_models.contract import CXRContract, CXRInput, CXRScore, UnsuitableImageError
from cxr_models.lung_fields import LungFields
from cxr_models.pneumonia import WEIGHTS, Reading
from cxr_models.postprocessing import pneumonia_ratio, to_shape
from cxr_models.preprocessing import check_radiograph
from cxr_models.severity import severity_score
from neural.training import pick_device

Array = npt.NDArray[np.float32]

#: Runs a model on float32 ``[1, channel, row, col]`` and gives its outputs in order.
Run = Callable[[Array], Sequence[Array]]

_LUNGS = "lsnet-light"


class ModelScorer:
    """Base of the adapters.

    A model with a map gets a pneumonia ratio for each lung and the 0-8 score, as DLNet does: the map above its
    threshold, inside the lungs, and nothing where the probability (if there is one) is below its threshold. A model
    without a map has a probability and no ratio.

    Args:
        name: what the scorer is called.
        run: the model.
        options: see :class:`cxr_models.adapters.options.ModelOptions`.
        device: of the lung network.
        weights_sha256: of the model's files, by name.

    Attributes:
        weights_sha256: the same, and of the lung network.

    Raises:
        ValueError: the model does not run on an image of the stated size, or its outputs are not the stated ones.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        options: ModelOptions,
        *,
        device: str = "auto",
        weights_sha256: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.contract = CXRContract(value_range=(0.0, 255.0), polarity="bone-bright", views=options.views)
        self.detection_threshold = options.detection_threshold
        self.localisation_threshold = options.localisation_threshold
        self.weights_sha256 = dict(weights_sha256 or {})
        self._run, self._options = run, options
        self._lungs: LungFields | None = None
        if options.has_map:
            folder = WEIGHTS if options.lungs is None else Path(options.lungs)
            self._lungs = LungFields(folder, _LUNGS, pick_device(device))
            self.weights_sha256[_LUNGS] = self._lungs.sha256
        if options.size is not None:
            self._try(options.size)

    def read(self, radiograph: CXRInput) -> Reading:
        """Run the model and the lung network.

        Raises:
            ValueError: the radiograph does not keep the contract, the model's outputs are not the stated ones, or it
                gives no map.
        """
        probability, localisation = self._predict(radiograph)
        if self._lungs is None or localisation is None:
            raise ValueError(f"{self.name} gives no localisation map. State one under output, if it has one.")
        shape = (radiograph.image.shape[0], radiograph.image.shape[1])
        lungs = self._lungs(radiograph.image)
        return Reading(probability, to_shape(localisation, shape), lungs.masks, lungs.examination)

    def score(self, radiograph: CXRInput) -> CXRScore:
        """Score one radiograph.

        Raises:
            UnsuitableImageError: the image is no readable frontal chest radiograph (:mod:`cxr_models.examination`).
            ValueError: the radiograph does not keep the contract, or the model's outputs are not the stated ones.
        """
        if self._lungs is None:
            return CXRScore(ratio_percent=float("nan"), p_pneumonia=self._predict(radiograph)[0])
        reading = self.read(radiograph)
        if reading.examination.problem:
            raise UnsuitableImageError(reading.examination.problem)
        negative = reading.probability < self.detection_threshold  # never where there is no probability
        lesion = (reading.localisation >= self.localisation_threshold) & reading.lungs.both & (not negative)
        ratio = pneumonia_ratio(lesion, reading.lungs)
        return CXRScore(
            ratio_percent=ratio.total,
            ratio_right_percent=ratio.right,
            ratio_left_percent=ratio.left,
            p_pneumonia=reading.probability,
            score=severity_score(ratio.right, ratio.left),
            lung_mask=reading.lungs.both,
            lesion_mask=lesion,
            localisation=reading.localisation,
            flags=reading.examination.flags,
        )

    def _predict(self, radiograph: CXRInput) -> tuple[float, Array | None]:
        check_radiograph(radiograph.image, radiograph.view, self.contract.views)
        return from_outputs(self._run(to_input(radiograph.image, self._options)[None]), self._options)

    def _try(self, size: int) -> None:
        """Run on a grey ramp, so that a wrong description is found before a study starts."""
        ramp = np.tile(np.linspace(0.0, 255.0, size, dtype=np.float32), (size, 1))
        given = to_input(ramp, self._options)[None]
        try:
            outputs = self._run(given)
        except Exception as error:  # whatever a model of another maker raises on an image it was not made for
            raise ValueError(
                f"{self.name} does not run on float32 {list(given.shape)}: {type(error).__name__}: {error}. Check size "
                "and channels."
            ) from error
        from_outputs(outputs, self._options)
