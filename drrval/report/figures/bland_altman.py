"""Difference against mean with limits of agreement for repeated measures (Bland & Altman 2007)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drrval.report.figures.scans import PlottedScans, draw_points, sample_text
from drrval.report.figures.style import BLACK, BLUE, COLUMN_MM, GREY, ORANGE, STYLE, new_figure, spread_apart, wrapped
from drrval.report.text import count, ends_text, number, p_text

_LINES = (
    ("lower_limit", "lower limit", ORANGE, "--"),
    ("bias", "bias", BLUE, "-"),
    ("upper_limit", "upper limit", ORANGE, "--"),
)
# Height of a label of two lines, as part of the axes.
_LABEL_GAP = 0.125


def bland_altman_figure(scans: PlottedScans, row: Mapping[str, Any]) -> Figure:
    """Difference (test minus reference) against the mean of the two, with bias and limits and their intervals.

    Args:
        scans: what to draw.
        row: the results that belong to them; of ``agreement``, ``limits_of_agreement`` and ``proportional_bias``.

    Returns:
        The figure, a column wide. Bands are the intervals; the dotted line is that of the difference on the mean.
    """
    x, y = (scans.courses[side].to_numpy(dtype=float) for side in ("reference", "test"))
    limits = row["agreement"]["limits_of_agreement"]["numbers"]
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 78.0)
        axes = figure.add_subplot()
        axes.axhline(0, color=GREY, linewidth=0.7, zorder=1)
        draw_points(axes, scans.courses["patient"], (x + y) / 2, y - x, scans.links)
        drawn = [(limits[name], *look) for name, *look in _LINES if limits[name]["estimate"] is not None]
        for value, _, colour, dash in drawn:
            axes.axhline(value["estimate"], color=colour, linestyle=dash, linewidth=1.2, zorder=2)
            if value["low"] is not None:
                axes.axhspan(value["low"], value["high"], color=colour, alpha=0.12, linewidth=0, zorder=0)
        _draw_slope(axes, (x + y) / 2, row["agreement"]["proportional_bias"]["numbers"])
        bottom, top = axes.get_ylim()
        places = spread_apart(np.array([v["estimate"] for v, *_ in drawn]), _LABEL_GAP * (top - bottom))
        for (value, label, colour, _), place in zip(drawn, places, strict=True):
            text = f"{label} {number(value['estimate'], 1)}\n{ends_text(value, 1).strip()}".rstrip()
            axes.text(1.02, place, text, color=colour, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
        axes.set_ylim(bottom, top)
        axes.set_xlabel(scans.label("mean of the two"))
        axes.set_ylabel(scans.label("difference (test − reference)"))
        size = f"{count(row['n_patients'], 'patient')}, {count(row['n_scans'], 'scan')}{sample_text(row['n_scans'])}"
        axes.set_title(f"{wrapped(scans.title)}\n{size}", loc="left", parse_math=False)
        if axes.get_legend_handles_labels()[1]:
            figure.legend(handles=[axes.lines[-1]], loc="outside lower left")
    return figure


def _draw_slope(axes: Axes, mean: np.ndarray, numbers: Mapping[str, Any]) -> None:
    slope, intercept = numbers["slope"]["estimate"], numbers["intercept"]["estimate"]
    if slope is None or intercept is None:
        return
    ends = np.array([mean.min(), mean.max()])
    rest = filter(None, [ends_text(numbers["slope"]).strip(), p_text(numbers["p_value"]["estimate"])])
    label = f"difference on mean: slope {number(slope)}\n{', '.join(rest)}"
    axes.plot(ends, intercept + slope * ends, color=BLACK, linestyle=":", linewidth=1.2, label=label, zorder=2)
