"""The CT volume and the grid it lives on.

Arrays are ``[z, y, x]``. World coordinates are DICOM/ITK LPS in millimetres: x grows to the patient's left, y to the
back, z to the head. ``spacing_mm``, ``origin_mm`` and ``direction`` are in ITK's (x, y, z) order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a ``[z, y, x]`` array lie in the world.

    Attributes:
        shape: array shape (nz, ny, nx).
        spacing_mm: voxel spacing along the x, y and z index axes, mm.
        origin_mm: LPS position (x, y, z) of the centre of voxel ``[0, 0, 0]``, mm.
        direction: (3, 3); column k is the LPS unit vector of index axis x, y, z for k = 0, 1, 2. In canonical form
            (every volume that intake returns) column k lies nearest to world axis k and points along it.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: npt.NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    @property
    def is_axis_aligned(self) -> bool:
        """Whether the index axes are the world axes (no oblique rotation left)."""
        return bool(np.allclose(self.direction, np.eye(3), atol=1e-5))

    @property
    def voxel_volume_cm3(self) -> float:
        """Volume of one voxel in cubic centimetres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def centre_mm(self) -> npt.NDArray[np.float64]:
        """LPS position (x, y, z) of the middle of the volume, mm."""
        return self.index_to_world((np.array(self.shape, dtype=float) - 1.0) / 2.0)

    def index_to_world(self, index_zyx: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map array indices ``(..., [z, y, x])``, fractional allowed, to LPS millimetres ``(..., [x, y, z])``."""
        index_xyz = np.asarray(index_zyx, dtype=float)[..., ::-1]
        return (index_xyz * np.asarray(self.spacing_mm)) @ self.direction.T + np.asarray(self.origin_mm)

    def world_to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map LPS millimetres ``(..., [x, y, z])`` to fractional array indices ``(..., [z, y, x])``."""
        offset = np.asarray(points_mm, dtype=float) - np.asarray(self.origin_mm)
        return ((offset @ self.direction) / np.asarray(self.spacing_mm))[..., ::-1]


@dataclass(frozen=True)
class CTVolume:
    """A CT scan in Hounsfield units.

    Attributes:
        hu: float32 ``[z, y, x]``, Hounsfield units, finite, at least -1024.
        grid: where the voxels lie.
        scanned: bool ``[y, x]``, True inside the reconstructed field of view (False: padding outside the scan
            circle), the same for every slice.
        name: what to call the scan in messages (usually its path).
        examination: patient and study attributes of its DICOM headers (:data:`drrval.identity.EXAMINATION_TAGS`),
            for DICOM files made from it; empty for other formats. No report holds them.
    """

    hu: npt.NDArray[np.float32]
    grid: Grid
    scanned: npt.NDArray[np.bool_]
    name: str = "CT"
    examination: Mapping[str, str] = field(default_factory=dict)
