"""How a voxel value becomes a material and a mass density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.errors import DrrvalError


@dataclass(frozen=True)
class DensityModel:
    """Piecewise map from voxel value to (material, density).

    Voxel value h belongs to material m when ``thresholds[m-1] < h <= thresholds[m]``; its density is
    ``max(min(a0*h + b0, a1*h + b1), 0)``.

    Attributes:
        thresholds: n_materials - 1 increasing upper bounds, in voxel values; empty for a single material.
        lines: two pairs (slope a, intercept b), in density per voxel value and density, usually g/cm3.

    Raises:
        DrrvalError: thresholds that do not increase, or a value that is not finite.
    """

    thresholds: tuple[float, ...]
    lines: tuple[tuple[float, float], tuple[float, float]]

    def __post_init__(self) -> None:
        numbers = [*self.thresholds, *self.lines[0], *self.lines[1]]
        if not np.all(np.isfinite(numbers)):
            raise DrrvalError(
                f"Density model {self.thresholds}, {self.lines} has a value that is not finite. Give finite numbers."
            )
        if not np.all(np.diff(self.thresholds) > 0):
            raise DrrvalError(f"Material thresholds {self.thresholds} do not increase. Sort them and drop doubles.")

    @property
    def n_materials(self) -> int:
        """Number of materials."""
        return len(self.thresholds) + 1

    def kernel_tables(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Float32 tables for the kernels: bounds (n_materials + 1,) with infinite ends, and lines (a0, b0, a1, b1)."""
        bounds = np.array([-np.inf, *self.thresholds, np.inf], dtype=np.float32)
        return bounds, np.array([*self.lines[0], *self.lines[1]], dtype=np.float32)
