"""Reference and test over time, one panel per patient (Amer et al. 2021, Fig. 13)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drrval.report.figures.scans import PlottedScans
from drrval.report.figures.style import AGREE, BLACK, DISAGREE, ORANGE, STYLE, new_figure
from drrval.report.text import accuracy_text, ends_text

MAX_COURSE_PATIENTS = 24
MAX_COURSE_SCANS = 24
"""Scans of one patient that a panel has room for, with their marks."""
_PANEL_MM = 44.5


def course_figure(scans: PlottedScans, row: Mapping[str, Any]) -> Figure:
    """Both values over time, one panel per patient, with a 1 (changes agree) or 0 under each interval.

    Time is days since the patient's first scan where every scan in the figure has a date, else the number of
    the scan. Of more than 24 patients a random sample is drawn, and of each at most the first 24 scans; the title
    says so.

    Args:
        scans: what to draw.
        row: the results that belong to them: ``trend_accuracy, n_intervals`` and ``trends`` as in
            :func:`drrval.stats.agreement_results`.
    """
    drawn = drawn_courses(scans.courses)
    shown = list(drawn.groupby("patient", sort=False, observed=True))
    dated = bool(len(drawn)) and bool(drawn["days"].notna().all())
    columns = min(4, max(2, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    with mpl.rc_context(STYLE):
        figure = new_figure(_PANEL_MM * columns, 42.0 * rows + (18 if columns > 2 else 22))
        for place, (patient, course) in enumerate(shown, start=1):
            axes = figure.add_subplot(rows, columns, place)
            _draw_course(axes, course, _course_times(course, dated))
            axes.set_title(f"patient {patient}", loc="left", parse_math=False)
        head = f"{scans.title}: {'' if columns > 2 else chr(10)}trend accuracy {accuracy_text(row)}{_interval(row)}"
        head += course_sample_text(scans.courses)
        figure.supxlabel("days since the first scan" if dated else "scan number", fontsize=8)
        figure.supylabel(scans.label(scans.quantity), fontsize=8)
        legend = figure.legend(
            handles=_legend(scans),
            title=head,
            alignment="left",
            loc="outside upper left",
            ncols=4 if columns > 2 else 2,
        )
        for text in (legend.get_title(), *legend.get_texts()):
            text.set_parse_math(False)
    return figure


def drawn_courses(courses: pd.DataFrame) -> pd.DataFrame:
    """The scans that are drawn, in their order, for the same courses always the same ones."""
    codes, names = pd.factorize(courses["patient"])
    chosen = np.arange(len(names))
    if len(names) > MAX_COURSE_PATIENTS:
        chosen = np.random.default_rng(len(names)).choice(len(names), MAX_COURSE_PATIENTS, replace=False)
    drawn = courses[np.isin(codes, chosen)]
    return drawn[drawn.groupby("patient", sort=False, observed=True).cumcount() < MAX_COURSE_SCANS]


def course_sample_text(courses: pd.DataFrame) -> str:
    """What the figure says about the patients and scans that it leaves out, or nothing."""
    sizes = courses["patient"].value_counts()
    text = f"; {MAX_COURSE_PATIENTS} random ones of {len(sizes)} patients" if len(sizes) > MAX_COURSE_PATIENTS else ""
    return text + (f"; first {MAX_COURSE_SCANS} scans of each" if sizes.max() > MAX_COURSE_SCANS else "")


def _interval(row: Mapping[str, Any]) -> str:
    found = row["trends"].get("trend_direction") if row["n_intervals"] else None
    if not found or found["numbers"]["trend_accuracy"]["low"] is None:
        return ""
    accuracy = found["numbers"]["trend_accuracy"]
    return f", {accuracy['level']:.0%} interval{ends_text(accuracy)}"


def _course_times(course: pd.DataFrame, dated: bool) -> np.ndarray:
    return course["days"].to_numpy(dtype=float) if dated else np.arange(1.0, len(course) + 1)


def _draw_course(axes: Axes, course: pd.DataFrame, times: np.ndarray) -> None:
    reference, test = (course[side].to_numpy(dtype=float) for side in ("reference", "test"))
    axes.plot(times, reference, color=BLACK, marker="o", markersize=3.5, linewidth=1.2)
    axes.plot(times, test, color=ORANGE, marker="s", markersize=3.5, linewidth=1.2, linestyle="--")
    values = np.concatenate([reference, test])
    bottom = min(values.min(), 0.0)
    span = max(values.max() - bottom, 1.0)
    # A strip below the values keeps the agreement marks clear of the lowest ones.
    axes.set_ylim(bottom - 0.24 * span, bottom + 1.1 * span)
    axes.axhline(bottom, color="#bdbdbd", linewidth=0.6, zorder=0)
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= bottom + 1.1 * span])
    if len(times) == 1 or len(set(times)) < len(times):
        axes.set_xlim(times.min() - 0.5, times.max() + 0.5)
    axes.set_xticks(_apart(np.unique(times)))
    agree = (np.diff(reference) > 0) == (np.diff(test) > 0)
    for place, same in enumerate(agree):
        axes.text(
            (times[place] + times[place + 1]) / 2,
            bottom - 0.12 * span,
            str(int(same)),
            color=AGREE if same else DISAGREE,
            fontweight="bold",
            ha="center",
            va="center",
        )


def _apart(times: np.ndarray) -> list[float]:
    """Times far enough apart that their labels do not touch, the first one always among them."""
    gap = 0.13 * (times[-1] - times[0])
    kept = [times[0]]
    for time in times[1:]:
        if time - kept[-1] >= gap:
            kept.append(time)
    return kept


def _legend(scans: PlottedScans) -> list[Line2D]:
    lines: list[tuple[str, dict[str, Any]]] = [
        (scans.short[0], {"color": BLACK, "marker": "o"}),
        (scans.short[1], {"color": ORANGE, "marker": "s", "linestyle": "--"}),
    ]
    marks = [("changes agree", AGREE, "$1$"), ("changes differ", DISAGREE, "$0$")]
    return [
        *(Line2D([], [], markersize=3.5, linewidth=1.2, label=label, **look) for label, look in lines),
        *(
            Line2D([], [], color=colour, marker=mark, linestyle="", markersize=5, label=label)
            for label, colour, mark in marks
        ),
    ]
