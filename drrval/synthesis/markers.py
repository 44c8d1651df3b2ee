"""Side markers and writing, laid on the panel as lead or burnt into the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from drrval.synthesis.draw import Overlays

Image = npt.NDArray[np.float64]

_WORDS = {
    "PA": ("PA", "ERECT", "PA ERECT", "UPRIGHT"),
    "AP": ("PORTABLE", "AP", "AP PORTABLE", "SUPINE", "SEMI-ERECT", "AP ERECT", "MOBILE"),
    "LL": ("LAT", "LATERAL"),
}
_FROM_EDGE = (0.02, 0.14)  # share of the width between the edge and the near end of a marker
_FROM_TOP = (0.02, 0.30)


@dataclass(frozen=True)
class Stamp:
    """One marker or piece of writing.

    Attributes:
        text: what it says.
        lead: a lead marker; otherwise burnt in.
        row, column: of its upper left pixel.
        ink: 0-1, ``[row, col]``; where it is 1 the image is white.
    """

    text: str
    lead: bool
    row: int
    column: int
    ink: Image

    def on(self, shape: tuple[int, int]) -> Image:
        """The ink on an image of this shape, 0-1, ``[row, col]``."""
        image = np.zeros(shape)
        rows, columns = min(self.ink.shape[0], shape[0] - self.row), min(self.ink.shape[1], shape[1] - self.column)
        image[self.row : self.row + rows, self.column : self.column + columns] = self.ink[:rows, :columns]
        return image


def draw_stamps(
    drawn: Overlays, view: str, field: npt.NDArray[np.bool_], pixel_mm: float, rng: np.random.Generator
) -> tuple[Stamp, ...]:
    """Place the side marker and the writing of one image.

    An R lies on the left and an L on the right of a frontal image, because the patient's right is shown on the left. A
    lead marker lies where the beam lights it; where there is no such place it is burnt in.

    Args:
        drawn: what there is.
        view: ``PA``, ``AP`` or ``LL``.
        field: where the beam passes, ``[row, col]``.
        pixel_mm: pixel pitch, mm.
        rng: source of the places.
    """
    stamps = []
    if drawn.marker:
        ink = _letters(drawn.marker, float(rng.uniform(9.0, 20.0)) / pixel_mm, rng, framed=not drawn.lead_marker)
        on_left = drawn.marker == "R" if view != "LL" else bool(rng.random() < 0.5)
        places = [_place(ink, field.shape, on_left, rng) for _ in range(8)]
        lit = [p for p in places if field[p[0] : p[0] + ink.shape[0], p[1] : p[1] + ink.shape[1]].all()]
        lead = drawn.lead_marker and bool(lit)
        row, column = (lit if lead else places)[0]
        stamps.append(Stamp(drawn.marker, lead, row, column, ink))
    if drawn.text:
        word = str(rng.choice(_WORDS[view]))
        ink = _letters(word, float(rng.uniform(5.0, 9.0)) / pixel_mm, rng, framed=False, upright=True)
        row = int(rng.uniform(0.01, 0.05) * field.shape[0])
        column = int(rng.uniform(0.02, 0.98) * max(field.shape[1] - ink.shape[1], 1))
        stamps.append(Stamp(word, False, row, column, ink))
    return tuple(stamps)


def _place(ink: Image, shape: tuple[int, ...], on_left: bool, rng: np.random.Generator) -> tuple[int, int]:
    row = int(rng.uniform(*_FROM_TOP) * shape[0])
    inset = int(rng.uniform(*_FROM_EDGE) * shape[1])
    return row, inset if on_left else max(0, shape[1] - inset - ink.shape[1])


def _letters(text: str, height: float, rng: np.random.Generator, *, framed: bool, upright: bool = False) -> Image:
    """Ink of a word whose letters are about ``height`` pixels high, 0-1."""
    font = ImageFont.load_default(max(6.0, 1.35 * height))
    left, top, right, bottom = (int(v) for v in font.getbbox(text))
    edge = max(2, round(0.3 * height))
    size = (right - left + 2 * edge, bottom - top + 2 * edge)
    picture = Picture.new("L", size)
    pen = ImageDraw.Draw(picture)
    pen.text((edge - left, edge - top), text, fill=255, font=font)
    if framed and rng.random() < 0.3:
        pen.ellipse((0, 0, size[0] - 1, size[1] - 1), outline=255, width=max(1, edge // 3))
    if not upright:
        picture = picture.rotate(float(rng.normal(0.0, 7.0)), resample=Picture.Resampling.BILINEAR, expand=True)
    return np.asarray(picture, dtype=float) / 255.0
