"""Lobes of a lung map that has none, from the usual course of the fissures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Fractions of the lung's own box, front to back and base to apex. The oblique fissure runs from the back at about the
# fourth thoracic vertebra down to the front of the diaphragm, twisted like a propeller; the horizontal one runs
# forwards from its middle, as a dome (Hayashi et al. Radiographics 2001, 10.1148/radiographics.21.4.g01jl24861).
_OBLIQUE_BACK_HEIGHT = 0.86
_BULGE, _SLANT = 0.5, 0.15  # forwards in the middle, backwards towards the side
_BOW = 0.05  # upwards, half way from front to back
_HORIZONTAL_HEIGHT, _DOME = 0.53, 0.11  # where it is highest, and its fall to the front, the side and the middle
_RUL, _RML, _RLL, _LUL, _LLL = range(1, 6)


def rough_lobes(lungs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Divide lungs into lobes by smooth surfaces; good enough to place disease, not to measure it by lobe.

    Args:
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.

    Returns:
        uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5 (right upper, middle, lower, left upper, lower).
    """
    lobes = np.zeros_like(lungs)
    for side, upper, lower in ((1, _RUL, _RLL), (2, _LUL, _LLL)):
        lung = lungs == side
        heights = np.flatnonzero(lung.any(axis=(1, 2)))
        rows = np.flatnonzero(lung.any(axis=(0, 2)))
        if not heights.size:
            continue
        columns = np.flatnonzero(lung.any(axis=(0, 1)))
        up = _fraction(np.arange(lungs.shape[0]), heights)[:, None, None]
        lateral = _fraction(np.arange(lungs.shape[2]), columns)
        lateral = 1.0 - lateral if side == 1 else lateral
        back = (
            _fraction(np.arange(lungs.shape[1]), rows)[:, None] + _BULGE * lateral * (1.0 - lateral) - _SLANT * lateral
        )
        below = up < _OBLIQUE_BACK_HEIGHT * (back + _BOW * np.sin(np.pi * np.clip(back, 0.0, 1.0)))
        lobes[lung] = np.where(below, lower, upper)[lung]
        if side == 1:
            dome = _DOME * ((2.0 * lateral - 1.0) ** 2 + (1.0 - np.clip(back, 0.0, 1.0)) ** 2) / 2.0
            lobes[lung & ~below & (up < _HORIZONTAL_HEIGHT - dome)] = _RML
    return lobes


def _fraction(index: npt.NDArray[np.int64], inside: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return (index - inside[0]) / max(int(inside[-1] - inside[0]), 1)
