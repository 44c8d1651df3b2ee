"""Psychometric curve: how likely the radiograph model calls disease, against how much of it the CT shows."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drrval.report.figures.style import BLACK, BLUE, COLUMN_MM, GREY, ORANGE, PALE, STYLE, new_figure
from drrval.report.text import number

_TICK = 0.03


def detection_figure(
    curve: pd.DataFrame,
    limits: pd.DataFrame | None = None,
    calls: pd.DataFrame | None = None,
    title: str = "",
    extent: str = "extent of disease in the CT, %",
) -> Figure:
    """Probability of a call against extent, with its band, the limits of detection and the calls themselves.

    Args:
        curve: from :meth:`drrval.stats.DetectionModel.curve`; all NaN where there is no model (then only the calls
            are drawn).
        limits: from :meth:`drrval.stats.DetectionModel.limit_of_detection`; rows without an extent are not drawn.
        calls: columns ``extent`` and ``call`` (0 or 1), one row per scan; drawn as ticks at 0 and 1.
        title: above the figure.
        extent: label of the horizontal axis.

    Returns:
        The figure, a column wide.
    """
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 80.0)
        axes = figure.add_subplot()
        x = curve["extent"].to_numpy(dtype=float)
        if curve["probability"].notna().any():
            axes.fill_between(x, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
            axes.plot(x, curve["probability"], color=BLUE, linewidth=1.5, label="typical patient, with band")
            axes.plot(x, curve["population"], color=ORANGE, linewidth=1.2, linestyle="--", label="mean over patients")
        if limits is not None:
            _draw_limits(axes, limits, float(x.max()))
        if calls is not None:
            for call, base in ((0, -_TICK), (1, 1.0)):
                where = calls.loc[calls["call"].astype(int) == call, "extent"].to_numpy(dtype=float)
                axes.vlines(where, base, base + _TICK, color=GREY, linewidth=0.6, alpha=0.7)
        axes.set_xlim(x.min() - 0.02 * np.ptp(x), x.max() + 0.02 * np.ptp(x))
        axes.set_ylim(-0.05, 1.05)
        axes.set_xlabel(extent, parse_math=False)
        axes.set_ylabel("probability of a call")
        axes.set_title(title, loc="left", parse_math=False)
        axes.grid(color=PALE, linewidth=0.5)
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower left", ncols=1)
    return figure


def _draw_limits(axes: Axes, limits: pd.DataFrame, end: float) -> None:
    known = limits[limits["extent"].notna() & (limits["extent"] <= end)]
    columns = (known[name].to_numpy(dtype=float) for name in ("probability", "extent", "low", "high"))
    for place, (probability, extent, low, high) in enumerate(zip(*columns, strict=True)):
        # An endless interval is drawn to the end of the axis.
        bar = [low if np.isfinite(low) else extent, min(high, end) if np.isfinite(high) else end]
        axes.plot(bar, [probability] * 2, color=BLACK, linewidth=1.0, zorder=3)
        label = None if place else "limit of detection, with interval"
        axes.plot(extent, probability, "D", color=BLACK, markersize=4, zorder=4, label=label)
        text = f"{probability:.0%}: {number(extent, 1)}"
        axes.annotate(text, (bar[1], probability), xytext=(4, -1), textcoords="offset points", va="center", fontsize=7)
