"""What both projection kernels share: access to the voxels, and their density.

The kernels are compiled with LLVM's reordering flags (``FAST``) for vector code. The order is fixed when they
are compiled, so results do not depend on the run or on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FAST = {"contract", "reassoc", "nsz", "nnan", "arcp"}

DTYPES = ("int16", "uint8", "float32")


def typed_voxels(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """The array in the slot of its dtype (order of ``DTYPES``), and empty arrays in the other slots.

    A kernel that takes all three and reads the one that is not empty is compiled once, not once per dtype.
    """
    return tuple(
        values if values.dtype == name else np.empty((0,) * values.ndim, dtype=np.dtype(name)) for name in DTYPES
    )


@njit(inline="always")
def density(value: Any, lines: Any) -> Any:
    """Density of one voxel value (float32): ``max(min(a0*h + b0, a1*h + b1), 0)`` with lines = (a0, b0, a1, b1)."""
    return max(min(lines[0] * value + lines[1], lines[2] * value + lines[3]), np.float32(0.0))
