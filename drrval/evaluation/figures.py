"""Figures of an evaluation that the report of a study does not have."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drrval.evaluation.task import Numbers, Scored
from drrval.report.figures.style import BLACK, BLUE, COLUMN_MM, GREY, ORANGE, PALE, STYLE, new_figure, wrapped
from drrval.report.text import interval_text, number
from drrval.stats.resampling import Floats, Interval

_SPREAD = 0.16  # half the width that the points of a column are spread over


def roc_figure(curve: pd.DataFrame, numbers: Numbers, scored: Scored) -> Figure:
    """The ROC curve, its area with the interval, and the operating point.

    Args:
        curve: from :func:`drrval.stats.roc_curve`.
        numbers: from :func:`drrval.evaluation.numbers.detection_numbers`.
        scored: whose they are.
    """
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 88.0)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=0.8)
        area = f"area {interval_text(vars(numbers['auc']))}"
        axes.plot(1 - curve["specificity"], curve["sensitivity"], color=BLUE, linewidth=1.5, label=area)
        if scored.threshold is not None:
            found, spared = (float(numbers[name].estimate or 0.0) for name in ("sensitivity", "specificity"))
            text = f"threshold {number(scored.threshold.value)}: sensitivity {number(found)}, specificity"
            axes.plot(1 - spared, found, "o", color=ORANGE, label=f"{text} {number(spared)}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_box_aspect(1)
        axes.set_xlabel("1 − specificity")
        axes.set_ylabel("sensitivity")
        axes.set_title(wrapped(scored.label), loc="left", parse_math=False)
        axes.grid(color=PALE, linewidth=0.5)
        figure.legend(loc="outside lower left", ncols=1)
    return figure


def confusion_figure(counts: Floats, title: str, names: tuple[str, str]) -> Figure:
    """A confusion matrix with its counts.

    Args:
        counts: ``[reference, test]``.
        title: above the figure.
        names: what reference (rows) and test (columns) are.
    """
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 88.0)
        axes = figure.add_subplot()
        axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(float(counts.max()), 1.0))
        for (row, col), count in np.ndenumerate(counts):
            if count:
                dark = count > counts.max() / 2
                axes.text(col, row, f"{count:.0f}", ha="center", va="center", color="white" if dark else BLACK)
        axes.set_xticks(range(counts.shape[1]))
        axes.set_yticks(range(counts.shape[0]))
        axes.set_xlabel(names[1])
        axes.set_ylabel(names[0])
        axes.set_title(wrapped(title), loc="left", parse_math=False)
    return figure


def overlap_figure(values: Mapping[str, pd.Series], title: str, unit: str) -> Figure:
    """Dice of every image or scan in columns, a line at each median.

    Args:
        values: Dice, 0-1, by the name of the column.
        title: above the figure.
        unit: what a point is.
    """
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 70.0)
        axes = figure.add_subplot()
        for place, column in enumerate(values.values()):
            dice = np.sort(column.to_numpy(dtype=float))
            across = place + np.random.default_rng(0).uniform(-_SPREAD, _SPREAD, dice.size)
            axes.plot(across, dice, "o", color=BLUE, markersize=2.5, alpha=0.6)
            if dice.size:
                axes.plot([place - 0.3, place + 0.3], [np.median(dice)] * 2, color=ORANGE, linewidth=1.5)
        axes.set_xticks(range(len(values)), [f"{name}\nn = {len(column)}" for name, column in values.items()])
        axes.set_xlim(-0.6, len(values) - 0.4)
        axes.set_ylabel(f"Dice (a point is one {unit}; line: median)")
        axes.set_title(wrapped(title), loc="left", parse_math=False)
        axes.grid(axis="y", color=PALE, linewidth=0.5)
    return figure


def precision_figure(points: Mapping[float, Interval], overall: Interval, title: str) -> Figure:
    """Mean RSNA precision at each threshold of intersection over union, with intervals, and their mean (mAP)."""
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 70.0)
        axes = figure.add_subplot()
        values = np.array([[p.estimate, p.low, p.high] for p in points.values()], dtype=float)
        axes.vlines(list(points), values[:, 1], values[:, 2], color=BLUE, linewidth=1.0)
        axes.plot(list(points), values[:, 0], "o-", color=BLUE, markersize=4)
        if overall.estimate is not None:
            label = f"mAP {interval_text(vars(overall))}"
            axes.axhline(overall.estimate, color=ORANGE, linestyle="--", linewidth=1.0, label=label)
            figure.legend(loc="outside lower left")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("threshold of intersection over union")
        axes.set_ylabel("mean RSNA precision")
        axes.set_title(wrapped(title), loc="left", parse_math=False)
        axes.grid(color=PALE, linewidth=0.5)
    return figure
