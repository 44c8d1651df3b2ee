"""Turn a volume to the nearest LPS axes by exact permutations and flips, and check its size."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from drrval.intake.report import IntakeReport
from drrval.intake.stack import RawVolume
from drrval.volume import Grid

MIN_SLICES = 20
MIN_EXTENT_MM = 100.0
MAX_SPACING_MM = 10.0
NOTE_SPACING_MM = 5.0


def to_canonical(raw: RawVolume, report: IntakeReport) -> tuple[npt.NDArray[np.float32], Grid]:
    """Permute and flip to ``[z, y, x]`` with z to the head, y to the back, x to the patient's left.

    No value is resampled. A rotation that is left over (below 45 degrees) stays in ``Grid.direction``.

    Returns:
        contiguous float32 ``[z, y, x]`` and its grid.
    """
    axis_of = _nearest_axes(raw.direction)
    direction = raw.direction[:, axis_of]
    spacing = np.asarray(raw.spacing_mm)[axis_of]
    # Array axis a holds index axis 2 - a (k, j, i), so the world order x, y, z becomes z, y, x reversed.
    values = raw.values.transpose([2 - axis for axis in axis_of[::-1]])
    origin = raw.origin_mm.astype(float)
    for world in range(3):
        if direction[world, world] < 0:
            length = values.shape[2 - world] - 1
            origin = origin + direction[:, world] * spacing[world] * length
            direction[:, world] *= -1
            values = np.flip(values, axis=2 - world)
    grid = Grid(
        shape=(values.shape[0], values.shape[1], values.shape[2]),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=direction + 0.0,  # turns -0.0 into 0.0
    )
    if not grid.is_axis_aligned:
        angle = np.rad2deg(np.arccos(np.clip(np.diag(direction), -1, 1))).max()
        report.add("oblique", "note", f"axes lie up to {angle:.2f} degrees off the patient's; kept, not resampled")
    return np.ascontiguousarray(values), grid


def check_size(grid: Grid, report: IntakeReport) -> None:
    """Reject what is too short or too coarse for a chest radiograph; note coarse slices."""
    extent = np.array(grid.shape[::-1]) * np.array(grid.spacing_mm)
    voxels = " x ".join(map(str, grid.shape[::-1]))
    millimetres = " x ".join(f"{n:.0f}" if n >= 10.0 else f"{n:.2g}" for n in extent)
    sizes = f"{voxels} voxels, {millimetres} mm (x, y, z)"
    if min(grid.shape) < MIN_SLICES:
        report.reject(
            "slice_count",
            f"{sizes}: at least {MIN_SLICES} slices are needed. Give the folder with the whole CT series.",
        )
    if extent.min() < MIN_EXTENT_MM:
        report.reject(
            "extent",
            f"{sizes}: each side must measure at least {MIN_EXTENT_MM:g} mm to hold a chest. "
            "Give the whole series, and check that the voxel spacing is in millimetres.",
        )
    coarsest = max(grid.spacing_mm)
    if coarsest > MAX_SPACING_MM:
        report.reject(
            "coarse_spacing",
            f"voxel spacing is {coarsest:g} mm; the limit is {MAX_SPACING_MM:g} mm. Use a thinner reconstruction.",
        )
    if coarsest > NOTE_SPACING_MM:
        report.add("coarse_spacing", "note", f"voxel spacing is {coarsest:g} mm; the radiograph will show steps")


def _nearest_axes(direction: npt.NDArray[np.float64]) -> list[int]:
    """Index axis (0 = i, 1 = j, 2 = k) nearest to world x, y and z: the best of all six assignments."""
    cosines = np.abs(direction)
    return list(max(itertools.permutations(range(3)), key=lambda axes: sum(cosines[w, a] for w, a in enumerate(axes))))
