"""What a CT scorer receives and returns. Plain arrays; nothing here imports drrval.

A scorer is any object with ``name`` and ``score(CTInput) -> CTScore``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

RIGHT, LEFT = 1, 2  # lung labels


@dataclass(frozen=True)
class CTInput:
    """One chest CT, ready to be scored.

    Attributes:
        hu: float32 ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
        spacing_mm: voxel spacing along z, y, x (array order), mm.
    """

    hu: npt.NDArray[np.float32]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class CTScore:
    """What a CT scorer returns.

    Attributes:
        lungs: uint8 ``[z, y, x]``: 0 outside, 1 right lung, 2 left lung; diseased lung counts as lung.
        lesion: bool ``[z, y, x]``, inside the lungs.
        ratio_percent, ratio_right_percent, ratio_left_percent: 100 x lesion volume / lung volume, both, right, left.
        lung_cm3, lesion_cm3: volumes.
        p_pneumonia: probability of pneumonia, 0-1, or NaN.
        slice_probability: float32 ``[z]``, probability that each axial slice shows pneumonia, 0-1 (0 where it holds
            no lung), or None where the scorer does not look at slices.
        flags: short warnings (``lung_not_separated``...), empty when all is well.
    """

    lungs: npt.NDArray[np.uint8]
    lesion: npt.NDArray[np.bool_]
    ratio_percent: float
    ratio_right_percent: float
    ratio_left_percent: float
    lung_cm3: float
    lesion_cm3: float
    p_pneumonia: float = float("nan")
    slice_probability: npt.NDArray[np.float32] | None = None
    flags: tuple[str, ...] = ()


@runtime_checkable
class CTScorer(Protocol):
    """The interface of a CT scorer."""

    name: str

    def score(self, ct: CTInput) -> CTScore:
        """Score one CT."""
        ...
