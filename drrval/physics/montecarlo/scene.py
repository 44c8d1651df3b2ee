"""The patient as the transport sees it: a material and a density per voxel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.errors import DrrvalError
from drrval.materials import MATERIALS, decompose, hu_to_density
from drrval.physics.attenuation import compositions
from drrval.settings import MaterialSettings
from drrval.volume import Grid


@dataclass(frozen=True)
class Scene:
    """Voxels with a material and a density each; empty space around them.

    Attributes:
        labels: uint8 ``[z, y, x]``, index into ``materials``.
        density: float32 ``[z, y, x]``, g/cm3.
        grid: where the voxels lie.
        materials: mass fractions by element symbol, one mapping per label.

    Raises:
        DrrvalError: arrays that do not fit the grid, or a label without material.
    """

    labels: npt.NDArray[np.uint8]
    density: npt.NDArray[np.float32]
    grid: Grid
    materials: tuple[Mapping[str, float], ...]

    def __post_init__(self) -> None:
        if not self.labels.shape == self.density.shape == tuple(self.grid.shape):
            raise DrrvalError(
                f"Labels {self.labels.shape}, densities {self.density.shape} and grid {self.grid.shape} differ in "
                "shape. Give all three as [z, y, x] of the same volume."
            )
        if self.labels.size and int(self.labels.max()) >= len(self.materials):
            raise DrrvalError(
                f"Label {int(self.labels.max())} has no material: only {len(self.materials)} are given. "
                "Give one composition per label, counted from 0."
            )


def scene_of(hu: npt.ArrayLike, grid: Grid, settings: MaterialSettings | None = None) -> Scene:
    """Decompose Hounsfield units ``[z, y, x]`` as the projector does: air, soft tissue, bone, and their densities."""
    table = compositions()
    return Scene(
        labels=np.ascontiguousarray(decompose(hu, settings)),
        density=np.ascontiguousarray(hu_to_density(hu), dtype=np.float32),
        grid=grid,
        materials=tuple(table[name] for name in MATERIALS),
    )
