"""What a chest-radiograph scorer receives and returns. Plain arrays; nothing here imports drrval.

A scorer is any object with ``name``, ``contract`` and ``score(CXRInput) -> CXRScore``. The caller checks the input
against the contract before, and the score after, every call (:mod:`drrval.study.scorers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ProjectedAnatomy:
    """Path length of each ray in the CT's lungs and lesions, cm, ``[row, col]`` on the radiograph's pixels.

    ``lesion_*`` is contained in ``lung_*``: the lung path length counts diseased lung as lung.
    """

    lung_right_cm: npt.NDArray[np.float32]
    lung_left_cm: npt.NDArray[np.float32]
    lesion_right_cm: npt.NDArray[np.float32]
    lesion_left_cm: npt.NDArray[np.float32]


@dataclass(frozen=True)
class CXRInput:
    """One radiograph, ready to be scored.

    Attributes:
        image: float32 ``[row, col]`` in the scorer's ``contract.value_range`` and polarity; the patient's right is on
            the left of the image (PA and AP), row 0 is towards the head.
        pixel_mm: detector pixel pitch, mm.
        view: DICOM view position (``PA``, ``AP``, ``LL``).
        projected: projected CT masks; present only when the contract asks for them.
    """

    image: npt.NDArray[np.float32]
    pixel_mm: float
    view: str
    projected: ProjectedAnatomy | None = None


@dataclass(frozen=True)
class CXRContract:
    """What a scorer accepts. The caller converts to it, or refuses.

    Attributes:
        value_range: (lowest, highest) image value.
        polarity: ``bone-bright`` (MONOCHROME2, the usual) or ``bone-dark``.
        size: (rows, cols) the image is resampled to, or None for any size.
        views: view positions the scorer is meant for.
        needs_projection: True if it scores projected CT masks (:class:`ProjectedAnatomy`) and not the image alone.
    """

    value_range: tuple[float, float] = (0.0, 255.0)
    polarity: Literal["bone-bright", "bone-dark"] = "bone-bright"
    size: tuple[int, int] | None = None
    views: tuple[str, ...] = ("PA", "AP")
    needs_projection: bool = False


class UnsuitableImageError(ValueError):
    """A scorer's answer to an image that is no readable frontal chest radiograph: what was seen, and what to do."""


@dataclass(frozen=True)
class CXRScore:
    """What a scorer returns.

    Attributes:
        ratio_percent, ratio_right_percent, ratio_left_percent: pneumonia ratio, 0-100 % of both, the right and the
            left lung; NaN where the scorer does not measure it.
        p_pneumonia: probability of pneumonia, 0-1, or NaN.
        score: severity, 0-8, or NaN.
        severity: calibrated continuous severity, 0-8, or NaN.
        lung_mask, lesion_mask: bool ``[row, col]`` on the pixels of the input image, or None; used for overlays only.
        localisation: float32 ``[row, col]``, 0-1, on the same pixels: the map that the lesion mask was cut from,
            whatever the detection says, or None; used for overlays only.
        flags: short warnings (``unusual_lung_fields``...), empty when all is well; :mod:`cxr_models.examination` lists
            those of the bundled scorers.
    """

    ratio_percent: float
    ratio_right_percent: float = float("nan")
    ratio_left_percent: float = float("nan")
    p_pneumonia: float = float("nan")
    score: float = float("nan")
    severity: float = float("nan")
    lung_mask: npt.NDArray[np.bool_] | None = None
    lesion_mask: npt.NDArray[np.bool_] | None = None
    localisation: npt.NDArray[np.float32] | None = None
    flags: tuple[str, ...] = ()


@runtime_checkable
class CXRScorer(Protocol):
    """The interface of a radiograph scorer."""

    name: str
    contract: CXRContract

    def score(self, radiograph: CXRInput) -> CXRScore:
        """Score one radiograph.

        Raises:
            UnsuitableImageError: the image is none that can be scored; any other error is a failure of the scorer.
        """
        ...
