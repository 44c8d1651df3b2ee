"""Test against reference with the fitted and the identity line (Amer et al. 2021, Fig. 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drrval.report.figures.scans import PlottedScans, draw_points, sample_text
from drrval.report.figures.style import BLACK, GREY, PAGE_MM, PALE, STYLE, new_figure, wrapped
from drrval.report.text import count, ends_text, number, p_text
from drrval.stats.resampling import Floats


def regression_figure(scans: PlottedScans, row: Mapping[str, Any]) -> Figure:
    """Test against reference, the least squares line, the identity line and the numbers with their intervals.

    Args:
        scans: what to draw.
        row: the results that belong to them: ``n_scans, n_patients, p_value`` and ``regression`` as in
            :func:`drrval.stats.agreement_results`.

    Returns:
        The figure, a page wide; one colour and marker per patient where there are few, numbers beside the plot.
    """
    x, y = (scans.courses[side].to_numpy(dtype=float) for side in ("reference", "test"))
    with mpl.rc_context(STYLE):
        figure = new_figure(PAGE_MM, 0.62 * PAGE_MM)
        axes = figure.add_subplot()
        handles = draw_points(axes, scans.courses["patient"], x, y, scans.links)
        _set_limits(axes, x, y)
        lines: list[Any] = [axes.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=1, label="identity")]
        if row["slope"] is not None:
            ends = np.array([x.min(), x.max()])
            fitted = row["intercept"] + row["slope"] * ends
            lines += axes.plot(ends, fitted, color=BLACK, linewidth=1.4, label="least squares line", zorder=2)
        axes.set_xlabel(scans.label(scans.reference), parse_math=False)
        axes.set_ylabel(scans.label(scans.test), parse_math=False)
        axes.set_title(wrapped(scans.title), loc="left", parse_math=False)
        axes.grid(color=PALE, linewidth=0.5)
        legend = figure.legend(
            handles=lines + handles, title=_numbers(row, scans.unit), alignment="left", loc="outside right upper"
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def _set_limits(axes: Axes, x: Floats, y: Floats) -> None:
    """Start axes without negative values at 0; where both are of one size, give both the same ends."""
    low = np.array([min(column.min(initial=0.0), 0.0) for column in (x, y)])
    high = np.array([column.max(initial=0.0) for column in (x, y)])
    size = np.where(high > low, high - low, 1.0)
    if 0.4 < size[0] / size[1] < 2.5:
        low[:], high[:], size[:] = low.min(), high.max(), size.max()
        axes.set_box_aspect(1)
    axes.set_xlim(low[0] - 0.02 * size[0], low[0] + 1.07 * size[0])
    axes.set_ylim(low[1] - 0.02 * size[1], low[1] + 1.07 * size[1])


def _numbers(row: Mapping[str, Any], unit: str) -> str:
    size = f"{count(row['n_patients'], 'patient')}, {count(row['n_scans'], 'scan')}{sample_text(row['n_scans'])}"
    if row["slope"] is None:
        return f"no regression\n{size}\n"
    known = row["regression"]["least_squares"]["numbers"]
    lines = [
        f"r = {number(row['pearson_r'])}{ends_text(known['pearson_r'])}",
        p_text(row["p_value"]),
        f"slope = {number(row['slope'])}{ends_text(known['slope'])}",
        f"intercept = {number(row['intercept'], 1)}{' ' if unit else ''}{unit}{ends_text(known['intercept'], 1)}",
        f"R\u00b2 = {number(row['r_squared'])}",
        size,
    ]
    if known["pearson_r"]["low"] is not None:
        lines.append(f"({known['pearson_r']['level']:.0%} intervals by patient)")
    return "\n".join([*lines, ""])
