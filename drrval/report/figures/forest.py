"""Forest plot: the numbers of one comparison with their intervals, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drrval.report.figures.style import BLACK, BLUE, GREY, PAGE_MM, PALE, STYLE, new_figure
from drrval.report.headlines import HEADLINES
from drrval.report.text import count, interval_text
from drrval.stats.comparison import SECTIONS

_AXES = ("without a unit", "in the unit of the measurements")
_ROW_MM = 4.6
# Ends farther out than this many times the largest estimate are cut off with an arrow.
_CUT = 2.0


def forest_figure(row: Mapping[str, Any], title: str, unit: str = "") -> Figure:
    """Estimates and intervals of the main numbers.

    Args:
        row: one result of :func:`drrval.stats.agreement_results` (its ``regression``, ``agreement``, ``trends``).
        title: above the figure.
        unit: of the measurements; may be empty.

    Returns:
        The figure, a page wide: numbers without a unit above, those with the unit below, all in print at the right.
        An interval that runs far out is cut off with an arrow; the print has its true ends.
    """
    found = {name: analysis["numbers"] for section in SECTIONS for name, analysis in row[section].items()}
    panels = [
        [
            (line.label, found[line.analysis][line.number])
            for line in HEADLINES
            if line.analysis in found and line.has_interval and line.has_unit == with_unit
        ]
        for with_unit in (False, True)
    ]
    heights = [len(rows) + 0.8 for rows in panels]
    with mpl.rc_context(STYLE):
        figure = new_figure(PAGE_MM, _ROW_MM * sum(heights) + 26)
        grid = figure.add_gridspec(2, 1, height_ratios=heights)
        for place, (rows, lines) in enumerate(zip(panels, ((0.0, 1.0), (0.0,)), strict=True)):
            axes = figure.add_subplot(grid[place])
            _draw_rows(axes, rows, lines, digits=1 if place else 2)
            axes.set_xlabel(f"points ({unit})" if place and unit else _AXES[place], parse_math=False)
        figure.axes[0].set_title(f"{title}{_basis(row)}", loc="left", parse_math=False)
    return figure


def _basis(row: Mapping[str, Any]) -> str:
    levels = {
        number["level"]
        for section in SECTIONS
        for analysis in row[section].values()
        for number in analysis["numbers"].values()
        if number["low"] is not None
    }
    size = f"; {count(row['n_patients'], 'patient')}, {count(row['n_scans'], 'scan')}"
    return size + "".join(f"; {level:.0%} intervals by patient" for level in sorted(levels))


def _draw_rows(axes: Axes, rows: list[tuple[str, Mapping[str, Any]]], lines: tuple[float, ...], digits: int) -> None:
    places = np.arange(len(rows), dtype=float)
    for line in lines:
        axes.axvline(line, color=GREY, linewidth=0.7, zorder=0)
    known = [value for _, value in rows if value["estimate"] is not None]
    reach = _CUT * max([abs(value["estimate"]) for value in known] + [1e-9])
    ends = [np.clip(end, -reach, reach) for value in known for end in (value["low"], value["high"]) if end is not None]
    spread = np.array([*ends, *(value["estimate"] for value in known), *lines])
    margin = 0.04 * (np.ptp(spread) or 1.0)
    low, high = spread.min() - margin, spread.max() + margin
    for place, (_, value) in zip(places, rows, strict=True):
        axes.text(
            1.02, place, interval_text(value, digits), transform=axes.get_yaxis_transform(), va="center", fontsize=7.5
        )
        if value["estimate"] is None:
            continue
        if value["low"] is not None:
            _draw_interval(axes, place, value["low"], value["high"], (low, high))
        axes.plot(value["estimate"], place, marker="D", markersize=4, color=BLACK, zorder=3)
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(places, [label for label, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_interval(axes: Axes, place: float, low: float, high: float, limits: tuple[float, float]) -> None:
    shown = np.clip([low, high], *limits)
    axes.plot(shown, [place, place], color=BLUE, linewidth=1.6, solid_capstyle="butt", zorder=2)
    for end, shown_end, arrow in ((low, shown[0], "<"), (high, shown[1], ">")):
        marker = "|" if end == shown_end else arrow
        axes.plot(shown_end, place, marker=marker, markersize=5, color=BLUE, clip_on=False, zorder=2)
