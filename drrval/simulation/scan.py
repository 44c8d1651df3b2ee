"""One scan of a virtual cohort and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.volume import CTVolume


@dataclass(frozen=True)
class VirtualScan:
    """A CT with known disease.

    Attributes:
        volume: the CT as a scanner would give it, Hounsfield units.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung; vessels and disease inside count as lung.
        lesions: uint8 ``[z, y, x]``: 0 healthy, else 1 + index in :data:`drrval.disease.KINDS`; inside ``lungs``.
        truth: numbers as :func:`drrval.disease.disease_truth` gives them, and ``mean_rise_hu`` (mean rise of Hounsfield
            units over the lesions).
        lobes: uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5 (right upper, middle, lower, left upper, lower), or None.
        organs: uint8 ``[z, y, x]``, :class:`drrval.phantom.Label`, or None for a real CT.
        rise_hu: float32 ``[z, y, x]``, by how much the pneumonia raised each voxel, HU, or None where it is not known.
    """

    volume: CTVolume
    lungs: npt.NDArray[np.uint8]
    lesions: npt.NDArray[np.uint8]
    truth: dict[str, float]
    lobes: npt.NDArray[np.uint8] | None = None
    organs: npt.NDArray[np.uint8] | None = None
    rise_hu: npt.NDArray[np.float32] | None = None
