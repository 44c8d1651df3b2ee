"""Axial slices with their neighbours, as the CT networks see them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Scalar = TypeVar("_Scalar", bound=np.generic)


def slice_stack(volume: npt.NDArray[_Scalar], z: int, step: int = 1) -> npt.NDArray[_Scalar]:
    """The slices ``step`` below, at, and ``step`` above ``z``, ``[3, y, x]``; the first and last slice are repeated.

    Args:
        volume: ``[z, y, x]``.
        z: index of the slice in the middle.
        step: slices between neighbours.
    """
    last = volume.shape[0] - 1
    return volume[[max(z - step, 0), z, min(z + step, last)]]


def window(hu: npt.NDArray[np.generic], low_hu: float, high_hu: float) -> npt.NDArray[np.float32]:
    """Grey values 0-1 of the Hounsfield units between two limits; what lies beyond is cut off."""
    return np.clip((np.asarray(hu, dtype=np.float32) - low_hu) / (high_hu - low_hu), 0.0, 1.0)
