"""Random numbers that depend on the seed and the photon's number only, never on the thread that follows the photon.

Every photon has its own stream of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014, doi:10.1145/2660193.2660195), started
from a hash of (seed, number of the photon).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True, inline="always")
def _mixed(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def start_stream(seed: Any, photon: Any, state: Any) -> None:
    """Put the start of a photon's stream into ``state``, uint64 ``[1]``."""
    state[0] = _mixed(_mixed(np.uint64(seed) + _GOLDEN) + np.uint64(photon) * _GOLDEN)


@njit(cache=True, nogil=True)
def uniform(state: Any) -> float:
    """Next number of the stream, 0 <= u < 1."""
    state[0] += _GOLDEN
    return float(_mixed(state[0]) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
