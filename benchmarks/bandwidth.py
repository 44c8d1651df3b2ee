"""How fast the machine reads memory: the limit of any projector that looks at every voxel once."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

from benchmarks.measure import clocked


def read_bandwidth(values: npt.NDArray[np.int16]) -> float:
    """Bytes per second at which all threads together sum an array, best of ten.

    The array must be much larger than the caches. Its bytes are taken eight at a time, as in the read test of STREAM
    (J. D. McCalpin, IEEE TCCA Newsletter, December 1995), so that arithmetic does not count.
    """
    words = values.reshape(-1).view(np.int64)
    _sum(words, numba.get_num_threads())
    return words.nbytes / min(clocked(lambda: _sum(words, numba.get_num_threads())) for _ in range(10))


@njit(cache=True, parallel=True, nogil=True)
def _sum(words: Any, parts: int) -> Any:
    total = 0
    length = words.size // parts
    for p in prange(parts):
        part = words[p * length : (p + 1) * length]
        subtotal = 0
        for i in range(part.size):
            subtotal += part[i]
        total += subtotal
    return total
