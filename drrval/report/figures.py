"""The paper's two figures: radiograph ratio on CT ratio (Fig. 12) and courses per patient (Fig. 13).

Figures are made without pyplot: no window, no backend and no other global state is touched.
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drrval.report.text import accuracy_text, count, number, p_text, scan_link

# Okabe and Ito, "Color Universal Design" (2008): told apart under all common colour-vision deficiencies.
BLACK, GREY = "#000000", "#6b6b6b"
PATIENT_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
PATIENT_MARKERS = "osD^vPX<>"
AGREE, DISAGREE = "#007A5A", "#C03A00"
MAX_LEGEND_PATIENTS = 18
MAX_COURSE_PATIENTS = 60
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def regression_figure(pairs: pd.DataFrame, agreement_row: dict[str, Any], link_root: str = "") -> Figure:
    """Radiograph ratio against CT ratio with the fitted and the identity line.

    Args:
        pairs: output of :func:`drrval.stats.pair_measurements`; rows of other views and scorers are ignored.
        agreement_row: one result of :func:`drrval.stats.agreement`; says which view and scorer.
        link_root: what to put before the address that each point links to (``sub-01.html#ses-01``).

    Returns:
        The figure; one colour and marker per patient, numbers beside the plot.
    """
    chosen = _rows_of(pairs, agreement_row)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 4.9), layout="constrained")
        axes = figure.add_subplot()
        handles = _scatter(axes, chosen, link_root)
        _set_ratio_limits(axes, chosen)
        identity = axes.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=1, label="identity")
        lines: list[Any] = [identity]
        if agreement_row["slope"] is not None:
            ends = np.array([chosen["ct_ratio_percent"].min(), chosen["ct_ratio_percent"].max()])
            fitted = agreement_row["intercept"] + agreement_row["slope"] * ends
            lines += axes.plot(ends, fitted, color=BLACK, linewidth=1.8, label="fitted line (OLS)", zorder=2)
        axes.set_xlabel(f"CT pneumonia ratio ({agreement_row['reference']}), %", parse_math=False)
        axes.set_ylabel("radiograph pneumonia ratio, %")
        axes.set_title(f"{agreement_row['view']} view, {agreement_row['scorer']}", loc="left", parse_math=False)
        axes.grid(color="#e4e4e4", linewidth=0.6)
        legend = figure.legend(
            handles=lines + handles,
            title=_regression_numbers(agreement_row),
            alignment="left",
            loc="outside right upper",
            fontsize=9,
            title_fontsize=9.5,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def course_figure(pairs: pd.DataFrame, agreement_row: dict[str, Any]) -> Figure:
    """Both ratios over time, one panel per patient, with a 1 (agree) or 0 under each interval.

    Time is days since the patient's first scan where every scan in the figure has a date, else the number of
    the scan. At most 60 patients are drawn, the first ones; the title says so.

    Args:
        pairs, agreement_row: as for :func:`regression_figure`.
    """
    chosen = _rows_of(pairs, agreement_row)
    courses = list(chosen.groupby("subject", sort=False))
    shown = courses[:MAX_COURSE_PATIENTS]
    dated = bool(len(chosen)) and bool((chosen["date"].fillna("") != "").all())
    columns = min(4, max(2, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.45 * columns, 2.25 * rows + 0.75), layout="constrained")
        for place, (subject, course) in enumerate(shown, start=1):
            axes = figure.add_subplot(rows, columns, place)
            intervals = [i for i in agreement_row["trend_labels"] if i["subject"] == subject]
            _draw_course(axes, course, intervals, _course_times(course, dated))
            axes.set_title(f"sub-{subject}", loc="left", parse_math=False)
        head = f"{agreement_row['view']} view, {agreement_row['scorer']}: "
        head += f"trend accuracy {accuracy_text(agreement_row)}"
        if len(courses) > len(shown):
            head += f"; first {len(shown)} of {len(courses)} patients"
        figure.supxlabel("days since the first scan" if dated else "scan number", fontsize=10)
        figure.supylabel("pneumonia ratio, %", fontsize=10)
        legend = figure.legend(
            handles=_course_legend(),
            title=head,
            alignment="left",
            loc="outside upper left",
            ncols=4,
            fontsize=9,
            title_fontsize=10,
        )
        legend.get_title().set_parse_math(False)
    return figure


def svg_text(figure: Figure, name: str) -> str:
    """The figure as SVG, the same bytes for the same figure; ``name`` keeps its element ids apart."""
    stream = BytesIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue().decode("utf-8")


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.png`` (150 dpi) and ``stem.svg``; the same figure gives the same bytes.

    Args:
        figure: what to write.
        stem: path without ending; its folder is made when missing.

    Returns:
        The paths of the PNG and the SVG file.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    with mpl.rc_context(_STYLE):
        figure.savefig(png, format="png", dpi=150)
    svg.write_text(svg_text(figure, stem.name), encoding="utf-8")
    return png, svg


def _rows_of(pairs: pd.DataFrame, row: dict[str, Any]) -> pd.DataFrame:
    return pairs[(pairs["view"] == row["view"]) & (pairs["scorer"] == row["scorer"])]


def _scatter(axes: Axes, chosen: pd.DataFrame, link_root: str) -> list[Any]:
    """Draw the points, each with a link; return one legend entry per patient (one for all if many)."""
    courses = list(chosen.groupby("subject", sort=False))
    handles: list[Any] = []
    for place, (subject, course) in enumerate(courses):
        points = axes.scatter(
            course["ct_ratio_percent"],
            course["cxr_ratio_percent"],
            s=54,
            color=PATIENT_COLOURS[place % len(PATIENT_COLOURS)],
            marker=PATIENT_MARKERS[place % len(PATIENT_MARKERS)],
            edgecolors="white",
            linewidths=0.7,
            label=f"sub-{subject}",
            zorder=3,
        )
        points.set_urls([link_root + scan_link(str(subject), str(session)) for session in course["session"]])
        handles.append(points)
    if len(handles) <= MAX_LEGEND_PATIENTS:
        return handles
    return [Line2D([], [], linestyle="", marker="o", color=GREY, label="colour and shape: patient")]


def _set_ratio_limits(axes: Axes, chosen: pd.DataFrame) -> None:
    """Start both axes at 0 and, where the two ratios are of one size, give both the same end."""
    x_end = chosen["ct_ratio_percent"].max() if len(chosen) else 0.0
    y_end = chosen["cxr_ratio_percent"].max() if len(chosen) else 0.0
    x_end, y_end = (1.07 * end if end > 0 else 1.0 for end in (x_end, y_end))
    if 0.4 < x_end / y_end < 2.5:
        x_end = y_end = max(x_end, y_end)
        axes.set_box_aspect(1)
    axes.set_xlim(-0.02 * x_end, x_end)
    axes.set_ylim(-0.02 * y_end, y_end)


def _regression_numbers(row: dict[str, Any]) -> str:
    size = f"{count(row['n_patients'], 'patient')}, {count(row['n_scans'], 'scan')}"
    if row["slope"] is None:
        return f"no regression\n{size}\n"
    return (
        f"r = {number(row['pearson_r'])} ({p_text(row['p_value'])})\n"
        f"slope = {number(row['slope'])}\n"
        f"intercept = {number(row['intercept'], 1)} %\n"
        f"R\u00b2 = {number(row['r_squared'])}\n"
        f"{size}\n"
    )


def _course_times(course: pd.DataFrame, dated: bool) -> np.ndarray:
    if not dated:
        return np.arange(1.0, len(course) + 1)
    dates = pd.to_datetime(course["date"], format="%Y-%m-%d")
    return (dates - dates.iloc[0]).dt.days.to_numpy(dtype=float)


def _draw_course(axes: Axes, course: pd.DataFrame, intervals: list[dict[str, Any]], times: np.ndarray) -> None:
    axes.plot(times, course["ct_ratio_percent"], color=BLACK, marker="o", markersize=5, linewidth=1.6)
    axes.plot(
        times,
        course["cxr_ratio_percent"],
        color="#D55E00",
        marker="s",
        markersize=5,
        linewidth=1.6,
        linestyle="--",
    )
    top = max(course["ct_ratio_percent"].max(), course["cxr_ratio_percent"].max(), 1.0)
    # A strip below zero keeps the agreement marks clear of ratios near 0.
    axes.set_ylim(-0.24 * top, 1.1 * top)
    axes.axhline(0, color="#bdbdbd", linewidth=0.8, zorder=0)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.1 * top])
    if len(times) == 1 or len(set(times)) < len(times):
        axes.set_xlim(times.min() - 0.5, times.max() + 0.5)
    axes.set_xticks(sorted(set(times)))
    for place, interval in enumerate(intervals):
        axes.text(
            (times[place] + times[place + 1]) / 2,
            -0.12 * top,
            str(interval["agree"]),
            color=AGREE if interval["agree"] else DISAGREE,
            fontweight="bold",
            ha="center",
            va="center",
        )


def _course_legend() -> list[Line2D]:
    return [
        Line2D([], [], color=BLACK, marker="o", markersize=5, linewidth=1.6, label="CT"),
        Line2D(
            [],
            [],
            color="#D55E00",
            marker="s",
            markersize=5,
            linewidth=1.6,
            linestyle="--",
            label="radiograph",
        ),
        Line2D([], [], color=AGREE, marker="$1$", linestyle="", markersize=7, label="trends agree"),
        Line2D([], [], color=DISAGREE, marker="$0$", linestyle="", markersize=7, label="trends differ"),
    ]
