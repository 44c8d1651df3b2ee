"""Error budget: how much each factor moves the result, and in which direction."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drrval.report.figures.style import BLACK, BLUE, GREY, ORANGE, PAGE_MM, PALE, STYLE, new_figure, wrapped
from drrval.report.text import count, number
from drrval.stats.error_budget import TOTAL

_ROW_MM = 6.5


def error_budget_figure(budget: pd.DataFrame, title: str, unit: str = "") -> Figure:
    """Standard deviation and mean shift of each factor, with intervals, and the largest single shift.

    Args:
        budget: table of :func:`drrval.stats.error_budget.error_budget`: one row per factor, largest first, then the
            total.
        title: whose budget it is, such as ``PA view, dlnet, pneumonia ratio``; patients and scans are added.
        unit: of the values, such as ``%``; empty for a number without one.

    Returns:
        The figure, a page wide: standard deviations (bars, with their share of the variance) at the left; mean shifts
        (diamonds) and largest shifts (crosses) at the right.
    """
    table = budget.reset_index(drop=True)
    places = np.arange(len(table), dtype=float)
    with mpl.rc_context(STYLE):
        figure = new_figure(PAGE_MM, _ROW_MM * len(table) + 26)
        spread, shift = figure.subplots(1, 2, sharey=True)
        total = table["factor"] == TOTAL
        spread.barh(places, table["sd"], height=0.62, color=np.where(total, GREY, BLUE), zorder=2)
        _draw_ends(spread, places, table, "sd")
        _write_shares(spread, places, table)
        spread.set_xlabel(f"standard deviation{f', {unit}' if unit else ''} (share of variance)", parse_math=False)
        spread.set_yticks(places, [str(factor).replace("_", " ") for factor in table["factor"]])
        spread.set_ylim(len(table) - 0.4, -0.6)
        shift.axvline(0, color=GREY, linewidth=0.7, zorder=0)
        _draw_ends(shift, places, table, "bias")
        shift.plot(table["bias"], places, "D", color=BLACK, markersize=4, label="mean shift, with interval", zorder=3)
        shift.plot(table["max_shift"], places, "x", color=ORANGE, markersize=5, label="largest shift", zorder=3)
        shift.set_xlabel(f"shift from nominal settings{f', {unit}' if unit else ''}", parse_math=False)
        for axes in (spread, shift):
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color=PALE, linewidth=0.5)
            axes.set_axisbelow(True)
        size = f"{count(int(table['n_patients'].max()), 'patient')}, {count(int(table['n_scans'].max()), 'scan')}"
        spread.set_title(f"{wrapped(title)}; {size}", loc="left", parse_math=False)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _draw_ends(axes: Axes, places: np.ndarray, table: pd.DataFrame, name: str) -> None:
    known = table[[f"{name}_low", f"{name}_high"]].notna().all(axis=1).to_numpy()
    ends = table.loc[known, [f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)
    axes.hlines(places[known], ends[:, 0], ends[:, 1], color=BLACK, linewidth=1.0, zorder=3)


def _write_shares(axes: Axes, places: np.ndarray, table: pd.DataFrame) -> None:
    """Standard deviation and share beside each bar, clear of its interval."""
    ends = table[["sd", "sd_high"]].max(axis=1).to_numpy(dtype=float)
    for place, end, sd, share in zip(places, ends, table["sd"], table["variance_share"], strict=True):
        text = number(sd) if pd.isna(share) else f"{number(sd)} ({share:.0%})"
        axes.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_xlim(0, 1.35 * max(float(np.nanmax(ends, initial=0.0)), 1e-9))
