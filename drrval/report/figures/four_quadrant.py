"""Change of the test against change of the reference between successive scans, with the zone that does not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from drrval.report.figures.scans import PlottedScans, draw_points, sample_text
from drrval.report.figures.style import AGREE, COLUMN_MM, GREY, STYLE, new_figure, wrapped
from drrval.report.text import count, interval_text, number
from drrval.stats import change_table


def four_quadrant_figure(scans: PlottedScans, row: Mapping[str, Any], zone: float = 0.0) -> Figure:
    """Four-quadrant plot: in the shaded quadrants both changes have the same sign.

    Args:
        scans: what to draw.
        row: the results that belong to them; of ``trends``, ``four_quadrant``.
        zone: half width of the square whose changes are left out of the concordance, in the unit of the scans.

    Returns:
        The figure, a column wide.
    """
    changes = change_table(scans.courses)
    x, y = (changes[f"{side}_change"].to_numpy(dtype=float) for side in ("reference", "test"))
    end = 1.1 * max(np.abs(np.concatenate([x, y, [zone]])).max(), 1e-9)
    concordance = row["trends"]["four_quadrant"]["numbers"]["concordance"]
    with mpl.rc_context(STYLE):
        figure = new_figure(COLUMN_MM, 88.0)
        axes = figure.add_subplot()
        for corner in ((0.0, 0.0), (-end, -end)):
            axes.add_patch(Rectangle(corner, end, end, color=AGREE, alpha=0.08, linewidth=0, zorder=0))
        axes.axline((0, 0), slope=1, color=GREY, linestyle="--", linewidth=0.8, zorder=1)
        axes.axhline(0, color=GREY, linewidth=0.7, zorder=1)
        axes.axvline(0, color=GREY, linewidth=0.7, zorder=1)
        if zone > 0:
            square = Rectangle((-zone, -zone), 2 * zone, 2 * zone, facecolor="#d0d0d0", edgecolor=GREY, linewidth=0.7)
            axes.add_patch(square).set_zorder(1)
        draw_points(axes, changes["patient"], x, y)
        axes.set_xlim(-end, end)
        axes.set_ylim(-end, end)
        axes.set_box_aspect(1)
        axes.set_xlabel(scans.label(f"change of {scans.reference}"), parse_math=False)
        axes.set_ylabel(scans.label(f"change of {scans.test}"), parse_math=False)
        size = f"{count(len(changes), 'interval')}{sample_text(len(changes))} of "
        size += count(concordance["n_patients"], "patient")
        left_out = f", both within {number(zone, 1)} left out" if zone > 0 else ""
        head = f"{wrapped(scans.title)}\nsame sign: {interval_text(concordance)}\n{wrapped(size + left_out)}"
        axes.set_title(head, loc="left", parse_math=False)
    return figure
