"""From loose slices to a regular volume: order, duplicates, gantry tilt, missing slices, uneven spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.intake.headers import SliceHeader
from drrval.intake.padding import AIR_HU
from drrval.intake.report import IntakeReport

MAX_TILT_DEG = 30.0
MAX_MISSING_IN_A_ROW = 2
MAX_MISSING_SHARE = 0.05
# Two slices closer than this share of the spacing are copies of one position.
_SAME_POSITION = 0.1
# A gap counts as "n missing slices" when it is within this share of a whole number of spacings.
_WHOLE_GAP = 0.2
# Deviation from a regular grid that is left alone: 5 % of the spacing, or positions rounded to 0.1 mm.
_EVEN_SHARE, _EVEN_MM = 0.05, 0.08
# Sideways drift of the slices that is left alone, in pixels.
_DRIFT_PX = 0.1


@dataclass(frozen=True)
class SliceStack:
    """Parallel slices, sorted by position along their normal, and where they lie.

    Attributes:
        values: float32 ``[slice, row, column]``, HU.
        positions: (n, 3) LPS mm of the first pixel of each slice.
        axes: (3, 3); rows are LPS unit vectors of increasing column, of increasing row, and the slice normal.
        pixel_mm: pixel spacing along columns' and rows' direction (x, y), mm.
    """

    values: npt.NDArray[np.float32]
    positions: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    pixel_mm: tuple[float, float]

    @property
    def heights(self) -> npt.NDArray[np.float64]:
        """Position of each slice along the normal, mm."""
        return self.positions @ self.axes[2]

    @property
    def spacing_mm(self) -> float:
        """Median distance between neighbouring positions (copies of a position left out), mm."""
        gaps = np.diff(self.heights)
        apart = gaps[gaps > 0.01]
        return float(np.median(apart)) if apart.size else 0.0

    def take(self, index: npt.NDArray[np.intp]) -> SliceStack:
        """The slices of ``index``, in that order."""
        return replace(self, values=self.values[index], positions=self.positions[index])


@dataclass(frozen=True)
class RawVolume:
    """A regular volume in storage order, axes not canonical yet.

    Attributes:
        values: float32 ``[k, j, i]``.
        spacing_mm: along i, j, k, mm.
        origin_mm: LPS mm of voxel ``[0, 0, 0]``.
        direction: (3, 3); columns are LPS unit vectors of axes i, j, k.
    """

    values: npt.NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    origin_mm: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]


def sort_by_position(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Order slices by position along their normal; instance numbers and file names play no part."""
    normal = np.cross(*np.asarray(slices[0].orientation))
    return sorted(slices, key=lambda s: float(np.asarray(s.position) @ normal))


def make_stack(slices: Sequence[SliceHeader], values: npt.NDArray[np.float32]) -> SliceStack:
    """Join headers and decoded values of one image group (all with geometry), in the same order."""
    x, y = np.asarray(slices[0].orientation)
    pixel_mm = slices[0].pixel_mm
    positions = np.array([s.position for s in slices], dtype=float)
    if pixel_mm is None:
        raise ValueError("a stack needs pixel spacing")
    return SliceStack(values, positions, np.stack([x, y, np.cross(x, y)]), pixel_mm)


def to_regular(stack: SliceStack, header_tilt_deg: float | None, report: IntakeReport) -> RawVolume:
    """Apply all stack rules.

    Args:
        stack: slices sorted by position.
        header_tilt_deg: GantryDetectorTilt of the header, if stated; only compared, never used.
        report: takes what was repaired.

    Raises:
        IntakeError: fewer than two positions, contradictory duplicates, too many missing slices, extreme
            spacing or tilt.
    """
    if stack.spacing_mm == 0:
        report.reject("slice_count", "all slices lie at one position. Give the folder with the whole CT series.")
    stack = drop_duplicates(stack, report)
    stack = remove_tilt(stack, header_tilt_deg, report)
    stack = fill_gaps(stack, report)
    stack = even_spacing(stack, report)
    spacing = float((stack.heights[-1] - stack.heights[0]) / (len(stack.heights) - 1))
    return RawVolume(stack.values, (*stack.pixel_mm, spacing), stack.positions[0], stack.axes.T)


def drop_duplicates(stack: SliceStack, report: IntakeReport) -> SliceStack:
    """Drop copies of a slice; reject different images at one position."""
    close = np.diff(stack.heights) < _SAME_POSITION * stack.spacing_mm
    copies = np.flatnonzero(close) + 1
    if not copies.size:
        return stack
    for k in copies:
        if not np.array_equal(stack.values[k], stack.values[k - 1]):
            report.reject(
                "duplicate_slices",
                f"{len(copies)} position(s) hold more than one image, and the images differ (first at "
                f"{stack.heights[k]:.2f} mm): several acquisitions, phases or kernels share the series. "
                "Keep one acquisition in the folder, or name another series with series_uid.",
            )
    report.add("duplicate_slices", "repaired", f"dropped {len(copies)} identical copies of slices")
    return stack.take(np.setdiff1d(np.arange(len(stack.positions)), copies))


def remove_tilt(stack: SliceStack, header_tilt_deg: float | None, report: IntakeReport) -> SliceStack:
    """Shift slices sideways so that they stack along their normal (gantry tilt, or a moved field of view).

    Each slice is resampled linearly within its plane on one common raster that holds all of them; what a slice
    does not cover becomes -1024 HU.
    """
    offsets = ((stack.positions - stack.positions[0]) @ stack.axes[:2].T) / np.asarray(stack.pixel_mm)
    heights = stack.heights - stack.heights[0]
    if np.abs(offsets).max() <= _DRIFT_PX:
        if abs(header_tilt_deg or 0.0) > 1.0:
            report.add(
                "gantry_tilt",
                "note",
                f"GantryDetectorTilt says {header_tilt_deg:g} degrees, but the slice positions show no shear; "
                "trusted the positions",
            )
        return stack
    drift = (heights @ (offsets * stack.pixel_mm)) / (heights @ heights)
    tilt = float(np.rad2deg(np.arctan(np.linalg.norm(drift))))
    if tilt > MAX_TILT_DEG:
        report.reject(
            "gantry_tilt",
            f"slices are stacked {tilt:.1f} degrees off their normal; up to {MAX_TILT_DEG:g} can be "
            "repaired. Check ImagePositionPatient and ImageOrientationPatient, or reconstruct the scan without tilt.",
        )
    low, high = np.floor(offsets.min(axis=0)), np.ceil(offsets.max(axis=0))
    extra_x, extra_y = (high - low).astype(int)
    n, rows, columns = stack.values.shape
    values = np.empty((n, rows + extra_y, columns + extra_x), np.float32)
    for k, (dx, dy) in enumerate(np.round(offsets - low, 6)):
        # Mode "constant" interpolates between pixels only, so air does not bleed into the rim of a slice.
        ndimage.affine_transform(
            stack.values[k], (1.0, 1.0), (-dy, -dx), output=values[k], order=1, mode="constant", cval=AIR_HU
        )
    corner = stack.positions[0] + (low * stack.pixel_mm) @ stack.axes[:2]
    report.add(
        "gantry_tilt",
        "repaired",
        f"slices stacked {tilt:.1f} degrees off their normal (drift {np.abs(offsets).max():.1f} pixels); "
        "shifted each slice linearly onto one raster",
    )
    return replace(stack, values=values, positions=corner + heights[:, None] * stack.axes[2])


def fill_gaps(stack: SliceStack, report: IntakeReport) -> SliceStack:
    """Interpolate a few missing slices linearly; reject when too many are missing.

    At most two neighbouring slices, and at most 5 % of all, are made up.
    """
    ratio = np.diff(stack.heights) / stack.spacing_mm
    whole = np.round(ratio)
    is_gap = (whole >= 2) & (np.abs(ratio - whole) <= _WHOLE_GAP)
    missing = np.where(is_gap, whole - 1, 0).astype(int)
    total = int(missing.sum())
    if total == 0:
        return stack
    share = total / (len(stack.positions) + total)
    if missing.max() > MAX_MISSING_IN_A_ROW or share > MAX_MISSING_SHARE:
        report.reject(
            "missing_slices",
            f"{total} slices are missing ({100 * share:.1f} %), up to {missing.max()} in a row, at "
            f"{stack.spacing_mm:g} mm spacing; at most {MAX_MISSING_IN_A_ROW} in a row and "
            f"{100 * MAX_MISSING_SHARE:g} % can be interpolated. Copy the whole series again.",
        )
    heights = stack.heights
    made = [np.linspace(heights[k], heights[k + 1], m + 2)[1:-1] for k, m in enumerate(missing) if m]
    where = ", ".join(f"{h:.1f}" for h in np.concatenate(made))
    report.add("missing_slices", "repaired", f"interpolated {total} missing slice(s) linearly, at {where} mm")
    return resample_heights(stack, np.sort(np.concatenate([heights, *made])))


def even_spacing(stack: SliceStack, report: IntakeReport) -> SliceStack:
    """Resample unevenly spaced slices linearly to their median spacing; reject extreme jumps."""
    heights, spacing = stack.heights, stack.spacing_mm
    index = np.arange(len(heights))
    regular = np.polynomial.Polynomial.fit(index, heights, 1)(index)
    deviation = float(np.abs(heights - regular).max())
    if deviation <= max(_EVEN_SHARE * spacing, _EVEN_MM):
        return stack
    gaps = np.diff(heights)
    if gaps.max() > 2 * spacing:
        report.reject(
            "slice_spacing",
            f"distances between slices run from {gaps.min():.2f} to {gaps.max():.2f} mm (median {spacing:.2f}); "
            "over twice the median cannot be repaired. Copy the whole series again, or choose another.",
        )
    count = int(np.floor((heights[-1] - heights[0]) / spacing + 1e-6)) + 1
    report.add(
        "slice_spacing",
        "repaired",
        f"distances between slices run from {gaps.min():.2f} to {gaps.max():.2f} mm; resampled linearly to "
        f"{count} slices every {spacing:g} mm",
    )
    return resample_heights(stack, heights[0] + spacing * np.arange(count))


def resample_heights(stack: SliceStack, targets: npt.NDArray[np.float64]) -> SliceStack:
    """Linear interpolation of sorted, untilted slices at ``targets`` (mm along the normal, inside the stack).

    A target that falls on a slice returns that slice unchanged.
    """
    heights = stack.heights
    upper = np.clip(np.searchsorted(heights, targets), 1, len(heights) - 1)
    weight = np.clip((targets - heights[upper - 1]) / (heights[upper] - heights[upper - 1]), 0.0, 1.0)
    weight = np.where(np.abs(weight - np.round(weight)) < 1e-6, np.round(weight), weight).astype(np.float32)
    values = np.empty((len(targets), *stack.values.shape[1:]), np.float32)
    for k, (j, w) in enumerate(zip(upper, weight, strict=True)):
        values[k] = (1 - w) * stack.values[j - 1] + w * stack.values[j]
    positions = stack.positions[0] + (targets - heights[0])[:, None] * stack.axes[2]
    return replace(stack, values=values, positions=positions)
