"""One sheet that shows what a scorer found in a CT: axial slices, a coronal one, and the course along the body."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from drrval.report.overlays import (
    LESION_COLOUR,
    LUNG_COLOUR,
    BoolArray,
    ByteArray,
    lung_window,
    outline,
    resample_plane,
)

AXIAL_SLICES, COLUMNS = 8, 4
PANEL_WIDTH = 300
_PROFILE_WIDTH = 170
_GAP = 6
_MARGIN_MM = 12.0
# The outermost axial slices lie this far inside the lungs' ends, as part of their height.
_ENDS = 0.08
_TEXT_COLOUR, _PROBABILITY_COLOUR, _MARK_COLOUR = (235, 235, 235), (120, 220, 120), (240, 228, 66)
_TEXT_SIZE = 13

Floats = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]


def ct_montage(
    hu: Floats,
    spacing_mm_zyx: tuple[float, float, float],
    lungs: npt.NDArray[np.uint8],
    lesion: BoolArray,
    probability: Floats | None = None,
) -> ByteArray:
    """Draw eight axial slices, the coronal slice with most lesion, and the course along the body axis.

    All pictures are cut to the lungs and shown in the lung window with the outlines of lungs (blue) and lesions
    (orange); the patient's right is on the left, the head at the top of the coronal slice. Marks beside the coronal
    slice show where the axial ones lie. The course, at the heights of the coronal slice, shows the lesions' share of
    each slice's lung (orange) and, where given, the probability of pneumonia (green), both from 0 to 1.

    Args:
        hu: ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
        spacing_mm_zyx: voxel spacing along z, y, x, mm.
        lungs: ``[z, y, x]``, non-zero inside the lungs.
        lesion: bool ``[z, y, x]``.
        probability: ``[z]``, 0-1.

    Returns:
        uint8 ``[row, col, 3]``, RGB.
    """
    inside = np.asarray(lungs, dtype=bool)
    box = _lung_box(inside, spacing_mm_zyx)
    dz, dy, dx = spacing_mm_zyx
    pixel_mm = dx * _length(box[2]) / PANEL_WIDTH
    heights = _axial_places(inside)
    panels = [
        _labelled(_panel(hu, inside, lesion, (z, *box[1:]), (dy, dx), pixel_mm), _caption(z, heights, probability))
        for z in reversed(heights)
    ]
    axial = _grid(panels)
    tall = _coronal(hu, inside, lesion, box, (dz, dx), axial.shape[0])
    rows = _rows(heights, box[0], axial.shape[0])
    profile = _profile(inside, lesion, probability, box[0], axial.shape[0])
    return _joined([axial, _marked(tall, rows), profile])


def _lung_box(inside: BoolArray, spacing: tuple[float, float, float]) -> Box:
    """The lungs with a margin; the whole volume where there are none."""
    sides = []
    for axis, step in enumerate(spacing):
        occupied = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = (occupied[0], occupied[-1]) if occupied.size else (0, inside.shape[axis] - 1)
        margin = round(_MARGIN_MM / step)
        sides.append(slice(max(0, int(first) - margin), min(inside.shape[axis], int(last) + margin + 1)))
    return (sides[0], sides[1], sides[2])


def _axial_places(inside: BoolArray) -> list[int]:
    """Evenly spaced slices through the lungs, feet first."""
    occupied = np.flatnonzero(inside.any(axis=(1, 2)))
    first, last = (occupied[0], occupied[-1]) if occupied.size else (0, inside.shape[0] - 1)
    return [round(first + part * (last - first)) for part in np.linspace(_ENDS, 1 - _ENDS, AXIAL_SLICES)]


def _panel(
    hu: Floats,
    inside: BoolArray,
    lesion: BoolArray,
    where: tuple[int | slice, int | slice, int | slice],
    spacing: tuple[float, float],
    pixel_mm: float,
) -> ByteArray:
    grey = lung_window(resample_plane(hu[where], spacing, pixel_mm))
    rgb: ByteArray = np.repeat(grey[..., None], 3, axis=-1)
    for mask, colour in ((inside, LUNG_COLOUR), (lesion, LESION_COLOUR)):
        rgb[outline(resample_plane(mask[where], spacing, pixel_mm) > 0.5, 1)] = colour
    return rgb


def _coronal(
    hu: Floats, inside: BoolArray, lesion: BoolArray, box: Box, spacing: tuple[float, float], height: int
) -> ByteArray:
    """The coronal slice with most lesion, or through the middle of the lungs; head up, ``height`` pixels high."""
    per_slice = np.count_nonzero(lesion, axis=(0, 2))
    y = int(per_slice.argmax()) if per_slice.any() else (box[1].start + box[1].stop) // 2
    pixel_mm = spacing[0] * _length(box[0]) / height
    panel = _panel(hu, inside, lesion, (box[0], y, box[2]), spacing, pixel_mm)[::-1]
    return _labelled(panel, [])


def _profile(
    inside: BoolArray, lesion: BoolArray, probability: Floats | None, height_range: slice, height: int
) -> ByteArray:
    """Lesion share and probability of every slice against its height."""
    sheet = Image.new("RGB", (_PROFILE_WIDTH, height))
    draw = ImageDraw.Draw(sheet)
    left, right = 10, _PROFILE_WIDTH - 10
    for part in (0.0, 0.5, 1.0):
        x = left + part * (right - left)
        draw.line([(x, 0), (x, height)], fill=(70, 70, 70))
        draw.text((x, height - 4), f"{part:g}", fill=_TEXT_COLOUR, anchor="ms", **_lettering())
    lung = np.count_nonzero(inside, axis=(1, 2))
    share = np.count_nonzero(lesion, axis=(1, 2)) / np.maximum(lung, 1)
    curves = [("lesion share", share, LESION_COLOUR)]
    if probability is not None:
        curves.append(("p(pneumonia)", probability, _PROBABILITY_COLOUR))
    for line, (name, values, colour) in enumerate(curves):
        rows = _rows(list(range(height_range.start, height_range.stop)), height_range, height)
        points = [(left + float(v) * (right - left), row) for v, row in zip(values[height_range], rows, strict=True)]
        draw.line(points, fill=colour, width=2)
        draw.text((right, 4 + line * (_TEXT_SIZE + 3)), name, fill=colour, anchor="ra", **_lettering())
    return np.asarray(sheet)


def _rows(heights: list[int], height_range: slice, height: int) -> list[float]:
    """Rows of slices in a picture of ``height_range`` that is ``height`` pixels high, head up."""
    n = _length(height_range)
    return [height * (1 - (z - height_range.start + 0.5) / n) for z in heights]


def _caption(z: int, heights: list[int], probability: Floats | None) -> list[str]:
    number = [f"{len(heights) - heights.index(z)}", f"slice {z}"]
    return number if probability is None else [*number, f"p {probability[z]:.2f}"]


def _labelled(panel: ByteArray, lines: list[str]) -> ByteArray:
    """Lines of text in the corner; ``R`` at the patient's right."""
    sheet = Image.fromarray(panel)
    draw = ImageDraw.Draw(sheet)
    for place, line in enumerate(lines):
        draw.text((5, 3 + place * (_TEXT_SIZE + 2)), line, fill=_TEXT_COLOUR, **_lettering())
    draw.text((5, sheet.height // 2), "R", fill=_TEXT_COLOUR, anchor="lm", **_lettering())
    return np.asarray(sheet)


def _marked(panel: ByteArray, rows: list[float]) -> ByteArray:
    """Numbered marks at the heights of the axial slices, 1 nearest to the head."""
    sheet = Image.fromarray(panel)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(reversed(rows), start=1):
        draw.line([(sheet.width - 10, row), (sheet.width, row)], fill=_MARK_COLOUR, width=2)
        draw.text((sheet.width - 13, row), str(number), fill=_MARK_COLOUR, anchor="rm", **_lettering())
    return np.asarray(sheet)


def _grid(panels: list[ByteArray]) -> ByteArray:
    rows = [_joined(panels[start : start + COLUMNS]) for start in range(0, len(panels), COLUMNS)]
    gap = np.zeros((_GAP, rows[0].shape[1], 3), np.uint8)
    return np.concatenate([part for row in rows for part in (gap, row)][1:])


def _joined(panels: list[ByteArray]) -> ByteArray:
    """Panels of one height beside each other."""
    gap = np.zeros((panels[0].shape[0], _GAP, 3), np.uint8)
    return np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)


def _length(side: slice) -> int:
    return int(side.stop - side.start)


def _lettering() -> dict[str, Any]:
    """Letters with a dark rim, which read on any tissue."""
    return {"font": ImageFont.load_default(_TEXT_SIZE), "stroke_width": 2, "stroke_fill": (0, 0, 0)}
