"""Size, type and colours of all figures, and how they are written to files."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from drrval.stats.resampling import Floats

COLUMN_MM, PAGE_MM = 88.0, 180.0
"""Width of one column and of two columns of a journal page."""

# Okabe and Ito, "Color Universal Design" (2008): told apart under all common colour-vision deficiencies.
BLACK, GREY, PALE = "#000000", "#6b6b6b", "#e4e4e4"
BLUE, ORANGE = "#0072B2", "#D55E00"
AGREE, DISAGREE = "#007A5A", "#C03A00"
PNG_DPI = 300
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "svg.fonttype": "none",
}
_MM_PER_INCH = 25.4
_LINE_CHARACTERS = 46


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of that printed size; draw within ``mpl.rc_context(STYLE)``."""
    return Figure(figsize=(width_mm / _MM_PER_INCH, height_mm / _MM_PER_INCH), layout="constrained")


def svg_text(figure: Figure, name: str) -> str:
    """The figure as SVG, the same bytes for the same figure; ``name`` keeps its element ids apart."""
    stream = BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(stream, format="svg", dpi=PNG_DPI, metadata={"Date": None})
    return stream.getvalue().decode("utf-8")


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.png`` (300 dpi) and ``stem.svg``; the same figure gives the same bytes.

    Args:
        figure: what to write.
        stem: path without ending; its folder is made when missing.

    Returns:
        The paths of the PNG and the SVG file.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes in the PNG; the SVG holds it as text.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(png, format="png", dpi=PNG_DPI)
    figure.set_layout_engine("none")  # the places are found by now, and finding them is half of the work
    svg.write_text(svg_text(figure, stem.name), encoding="utf-8")
    return png, svg


def wrapped(text: str) -> str:
    """A title or label in lines that fit a column; a name without spaces is broken where it must be."""
    return fill(text, _LINE_CHARACTERS)


def spread_apart(places: Floats, gap: float) -> Floats:
    """Places of labels, ``[label]``, in rising order, moved until neighbours are ``gap`` apart."""
    apart = np.array(places, dtype=float)
    for _ in range(100):
        short = gap - np.diff(apart)
        if (short <= 1e-9 * gap).all():
            break
        push = np.maximum(short, 0) / 2
        apart[:-1] -= push
        apart[1:] += push
    return apart
