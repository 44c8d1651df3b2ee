"""Padding around the scan: set it to air and mark where nothing was scanned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.intake.report import IntakeReport, Outcome

AIR_HU = -1024.0
MAX_HU = 32767.0
# A column of voxels [:, y, x] is padding when it holds the fill value in at least this share of the slices.
NEARLY_ALL = 0.95
# A fill value up to here is air, whatever its number; above it, the surroundings would attenuate the beam.
_AIR_FILL_HU = -900.0

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def find_scanned(
    hu: Volume, spacing_mm: tuple[float, float, float], padding_hu: float | None, report: IntakeReport
) -> Mask:
    """Set padding to -1024 HU in place and mark it.

    Padding is: columns ``[:, y, x]`` below -1024 HU in nearly all slices; and a fill value that stands in the
    image corners in nearly all slices, where it ends in a circle (the scan circle) or is the header's
    PixelPaddingValue.

    Args:
        hu: float32 ``[z, y, x]``, changed in place; on return at least -1024 and at most 32767.
        spacing_mm: voxel spacing (x, y, z), mm.
        padding_hu: PixelPaddingValue in HU, if the header states one.
        report: takes what was found.

    Returns:
        bool ``[y, x]``, False where padding.

    Raises:
        IntakeError: the surroundings were set to a value that is not air.
    """
    scanned = ~_lift_below_air(hu, report)
    np.minimum(hu, MAX_HU, out=hu)
    stated = None if padding_hu is None else max(padding_hu, AIR_HU)
    for value in _corner_fills(hu):
        region = _corner_connected(np.asarray(np.mean(hu == value, axis=0, dtype=np.float32) >= NEARLY_ALL))
        if value == stated or _ends_in_circle(region, spacing_mm):
            scanned &= ~region
            _empty(hu, region, value, report)
        elif value > _AIR_FILL_HU:
            report.reject(
                "padding",
                f"the corners hold {value:g} HU in nearly all slices, and the area is no scan circle: the scan "
                "was masked or resampled with that value outside. Use -1024 outside, or give the original CT.",
            )
    return scanned


def _lift_below_air(hu: Volume, report: IntakeReport) -> Mask:
    """Raise values below -1024 in place; True ``[y, x]`` where nearly all slices were below."""
    lowest = float(hu.min())
    if lowest >= AIR_HU:
        return np.zeros(hu.shape[1:], bool)
    below = hu < AIR_HU
    columns: Mask = np.asarray(below.mean(axis=0, dtype=np.float32) >= NEARLY_ALL)
    hu[below] = AIR_HU
    padded = f"; {100 * columns.mean():.1f} % of the image is padding" if columns.any() else ""
    report.add(
        "padding",
        "repaired",
        f"raised {int(np.count_nonzero(below))} voxels below {AIR_HU:g} HU (lowest {lowest:g}) to it{padded}",
    )
    return columns


def _empty(hu: Volume, region: Mask, value: float, report: IntakeReport) -> None:
    share = f"{100 * region.mean():.1f} % of the image lies outside the scan and holds {value:g} HU"
    if value == AIR_HU:
        report.add("scan_circle", "note", f"{share}; marked as not scanned")
        return
    columns = hu[:, region]
    columns[columns == value] = AIR_HU
    hu[:, region] = columns
    outcome: Outcome = "note" if value <= _AIR_FILL_HU else "repaired"
    report.add("scan_circle", outcome, f"{share}; set to {AIR_HU:g} and marked as not scanned")


def _corner_fills(hu: Volume) -> list[float]:
    """Values that fill at least one corner column in nearly all slices, ascending."""
    corners = hu[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    middle = np.median(corners, axis=0, keepdims=True)
    constant = np.mean(corners == middle, axis=0) >= NEARLY_ALL
    return [float(v) for v in np.unique(middle[0, constant])]


def _corner_connected(region: Mask) -> Mask:
    """The parts of ``region`` that touch a corner of the image."""
    labels, _ = ndimage.label(region)
    at_corners = np.setdiff1d(labels[[0, 0, -1, -1], [0, -1, 0, -1]], [0])
    return np.isin(labels, at_corners)


def _ends_in_circle(region: Mask, spacing_mm: tuple[float, float, float]) -> bool:
    """Whether the inner border of ``region`` is a circle, with ``region`` outside it.

    Least-squares circle (Kasa, IEEE Trans. Instrum. Meas. 25, 1976, doi:10.1109/TIM.1976.6312298); the border
    must keep to it within one pixel (root mean square; real scan circles do within half a pixel). Its diameter
    must be at least 0.9 of the shorter image side, which rules out a round body in noise-free air, and its radius
    at most the image diagonal, which rules out the straight edge of a rotated field.
    """
    border = _points_mm(region & ndimage.binary_dilation(~region), spacing_mm)
    if len(border) < 8:
        return False
    matrix = np.column_stack([border, np.ones(len(border))])
    solution, *_ = np.linalg.lstsq(matrix, (border**2).sum(axis=1), rcond=None)
    centre = solution[:2] / 2
    radius = np.sqrt(max(solution[2] + centre @ centre, 0.0))
    distance = np.linalg.norm(border - centre, axis=1)
    pixel = max(spacing_mm[:2])
    if np.sqrt(np.mean((distance - radius) ** 2)) > pixel:
        return False
    sides = np.array(region.shape) * np.array([spacing_mm[1], spacing_mm[0]])
    is_field_of_view = 0.45 * sides.min() <= radius <= np.linalg.norm(sides)
    outside = np.linalg.norm(_points_mm(region, spacing_mm) - centre, axis=1) >= radius - 2 * pixel
    return bool(is_field_of_view and outside.mean() > 0.99)


def _points_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Positions (n, [y, x]) of the True pixels of a ``[y, x]`` mask, mm from the first pixel."""
    return np.argwhere(mask) * np.array([spacing_mm[1], spacing_mm[0]])
