"""One picture per scored radiograph: what the scorer took for lung and for disease, with its numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from skimage.transform import resize

from cxr_models.contract import CXRScore
from drrval.ct_scoring.scans import label_paths
from drrval.report.overlays import LESION_COLOUR, LUNG_COLOUR, ByteArray, outline
from drrval.report.text import number

PANEL_WIDTH = 560
_GAP = 6
_TEXT_SIZE = 15
_TEXT_COLOUR, _NEGATIVE_COLOUR = (235, 235, 235), (240, 228, 66)

Mask = npt.NDArray[np.bool_]


def picture_names(images: Sequence[Path]) -> dict[Path, str]:
    """File name of the picture of each image: made of its name and, where two share it, of the folders above."""
    absolute = {image: image.absolute() for image in images}
    distinct = list(dict.fromkeys(absolute.values()))
    labels = dict(zip(distinct, label_paths(distinct), strict=True))
    return {image: f"{labels[path].replace('.', '-')}.png" for image, path in absolute.items()}


def score_picture(
    image: npt.NDArray[np.float32], score: CXRScore, detection: float | None, localisation: float | None
) -> ByteArray:
    """Draw a radiograph beside the same with the outlines of what was found, and the numbers below.

    The lung fields are outlined in blue, the localisation map at the scorer's threshold in orange; in yellow where the
    detection says no, so that it does not count. Without a map the lesion mask is drawn.

    Args:
        image: ``[row, col]``, 0-255, bone bright, the patient's right on the left.
        score: masks and map on any pixels of the same field.
        detection, localisation: the scorer's thresholds, or None where it has none.

    Returns:
        uint8 ``[row, col, 3]``, RGB.
    """
    height = max(1, round(PANEL_WIDTH * image.shape[0] / image.shape[1]))
    plain = np.repeat(_scaled(image, height).round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    drawn = plain.copy()
    diseased = _diseased(score, localisation)
    called = not (detection is not None and score.p_pneumonia < detection)
    for mask, colour in ((score.lung_mask, LUNG_COLOUR), (diseased, LESION_COLOUR if called else _NEGATIVE_COLOUR)):
        if mask is not None:
            drawn[outline(_scaled(mask.astype(np.float32), height) > 0.5, 2)] = colour
    gap = np.zeros((height, _GAP, 3), np.uint8)
    pictures = np.concatenate([_marked(plain), gap, drawn], axis=1)
    return np.concatenate([pictures, _caption(_lines(score, detection, called), pictures.shape[1])])


def _diseased(score: CXRScore, threshold: float | None) -> Mask | None:
    if score.localisation is None or threshold is None:
        return score.lesion_mask
    return np.asarray(score.localisation >= threshold)


def _scaled(values: npt.NDArray[np.float32], height: int) -> npt.NDArray[np.float32]:
    shape = (height, PANEL_WIDTH)
    smaller = any(new < old for new, old in zip(shape, values.shape, strict=True))
    found: npt.NDArray[np.float32] = resize(values, shape, order=1, anti_aliasing=smaller, preserve_range=True)
    return found.astype(np.float32)


def _lines(score: CXRScore, detection: float | None, called: bool) -> list[str]:
    probability = f"p(pneumonia) {number(score.p_pneumonia, 2)}"
    if detection is not None and np.isfinite(score.p_pneumonia):
        probability += f", threshold {detection:.2f}: {'pneumonia' if called else 'no pneumonia'}"
    total, right, left = (
        number(ratio, 1) for ratio in (score.ratio_percent, score.ratio_right_percent, score.ratio_left_percent)
    )
    ratio = f"ratio {total} % (right {right}, left {left})"
    lines = [f"{probability}; {ratio}; score {number(score.score, 0)}, severity {number(score.severity, 1)}"]
    return [*lines, f"flags: {', '.join(score.flags)}"] if score.flags else lines


def _caption(lines: Sequence[str], width: int) -> ByteArray:
    wrapped = [part for line in lines for part in textwrap.wrap(line, width // (_TEXT_SIZE // 2))]
    sheet = Image.new("RGB", (width, 8 + len(wrapped) * (_TEXT_SIZE + 5)))
    draw = ImageDraw.Draw(sheet)
    for place, line in enumerate(wrapped):
        draw.text((6, 4 + place * (_TEXT_SIZE + 5)), line, fill=_TEXT_COLOUR, font=_font())
    return np.asarray(sheet)


def _marked(panel: ByteArray) -> ByteArray:
    """``R`` where the patient's right is taken to be."""
    sheet = Image.fromarray(panel)
    draw = ImageDraw.Draw(sheet)
    place = (6, sheet.height // 2)
    draw.text(place, "R", fill=_TEXT_COLOUR, anchor="lm", font=_font(), stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(sheet)


def _font() -> Any:
    return ImageFont.load_default(_TEXT_SIZE)
