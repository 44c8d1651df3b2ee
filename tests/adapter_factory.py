"""What the tests of the model adapters share: a radiograph, lungs, and a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_models.contract import CXRInput
from cxr_models.examination import Examination
from cxr_models.lung_fields import FoundLungs
from cxr_models.postprocessing import LungMasks

Array = npt.NDArray[np.float32]
SIDE = 96


def radiograph() -> CXRInput:
    """Black left to white right, so that scaling and polarity can be read off."""
    ramp = np.tile(np.linspace(0, 255, SIDE, dtype=np.float32), (SIDE, 1))
    return CXRInput(ramp, 4.0, "PA")


class BoxLungs:
    """Stands in for LSNet: two boxes, each a quarter of the image wide and half of it high."""

    sha256 = "of the lungs"

    def __init__(self, *_: Any) -> None: ...

    def __call__(self, image: Array) -> FoundLungs:
        right, left = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
        rows = slice(SIDE // 4, 3 * SIDE // 4)
        right[rows, SIDE // 8 : 3 * SIDE // 8] = True
        left[rows, 5 * SIDE // 8 : 7 * SIDE // 8] = True
        return FoundLungs(LungMasks(right, left), Examination(flags=("of the lungs",)))


def left_half(value: float = 1.0) -> Array:
    """A map of 8 x 8 with disease in the right half of the image, which holds the patient's left lung."""
    return np.repeat(np.array([[0.0] * 4 + [value] * 4], np.float32), 8, axis=0)
