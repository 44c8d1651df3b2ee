"""What the figures draw: scans with reference and test value, and how their points look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from drrval.report.figures.style import BLUE, wrapped
from drrval.report.text import scan_link
from drrval.stats import courses_of_pairs
from drrval.stats.resampling import Floats

PATIENT_COLOURS = [BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
PATIENT_MARKERS = "osD^vPX<>"
MAX_LEGEND_PATIENTS = 18
MAX_POINTS = 5000
"""Of more points a random sample of this many is drawn: they would cover each other, and fill the file."""
_SMALL_FROM = 1000


@dataclass(frozen=True)
class PlottedScans:
    """Reference and test value of each scan, and what they are called.

    Attributes:
        courses: columns of :data:`drrval.stats.courses.COURSE_COLUMNS`, in time order within each patient.
        title: whose scans they are, such as ``PA view, dlnet``.
        reference, test: what the two values are, for the axes.
        short: the same in a word, for legends.
        quantity: what both measure, for an axis that shows both.
        unit: of both, such as ``%``; may be empty.
        links: address that the point of each scan opens, ``[scan]``; empty: none.
    """

    courses: pd.DataFrame
    title: str
    reference: str
    test: str
    short: tuple[str, str] = ("reference", "test")
    quantity: str = "value"
    unit: str = ""
    links: Sequence[str] = ()

    @classmethod
    def of_study(cls, pairs: pd.DataFrame, row: Mapping[str, Any], link_root: str = "") -> PlottedScans:
        """Scans of one view and scorer.

        Args:
            pairs: output of :func:`drrval.stats.pair_measurements`; rows of other views and scorers are ignored.
            row: one result of :func:`drrval.stats.agreement_results`.
            link_root: what to put before the address that each point links to (``sub-01.html#ses-01``).
        """
        chosen = pairs[(pairs["view"] == row["view"]) & (pairs["scorer"] == row["scorer"])]
        scans = chosen[["subject", "session"]].astype(str).itertuples(index=False)
        return cls(
            courses_of_pairs(chosen),
            f"{row['view']} view, {row['scorer']}",
            f"CT pneumonia ratio ({row['reference']})",
            "radiograph pneumonia ratio",
            ("CT", "radiograph"),
            "pneumonia ratio",
            "%",
            [link_root + scan_link(subject, session) for subject, session in scans],
        )

    def label(self, what: str) -> str:
        """``what`` with the unit behind it, in lines short enough for a column."""
        return wrapped(f"{what}, {self.unit}" if self.unit else what)


def draw_points(axes: Axes, patients: pd.Series, x: Floats, y: Floats, links: Sequence[str] = ()) -> list[Any]:
    """Draw one point per row of :func:`drawn_rows`, each patient in a colour and shape of its own if at most 18.

    Args:
        axes: where.
        patients: label of each row, ``[row]``.
        x, y: ``[row]``.
        links: address that each point opens, ``[row]``, or empty.

    Returns:
        Legend entries: one per patient, or one for all.
    """
    codes, names = pd.factorize(patients)
    few, drawn = len(names) <= MAX_LEGEND_PATIENTS, drawn_rows(len(codes))
    groups = [drawn[codes[drawn] == code] for code in range(len(names))] if few else [drawn]
    small = len(drawn) > _SMALL_FROM
    handles: list[Any] = []
    for place, rows in enumerate(groups):
        points = axes.scatter(
            x[rows],
            y[rows],
            s=4 if small else 26 if few else 14,
            color=PATIENT_COLOURS[place % len(PATIENT_COLOURS)],
            marker=PATIENT_MARKERS[place % len(PATIENT_MARKERS)],
            edgecolors="none" if small else "white",
            linewidths=0.5,
            alpha=0.5 if small else None,
            label=f"patient {names[place]}" if few else "scan",
            zorder=1.5 if small else 3,  # a cloud of points would hide the lines
        )
        if links:
            points.set_urls([links[int(row)] for row in rows])
        handles.append(points)
    return handles if few else [Line2D([], [], linestyle="", marker="o", markersize=4, color=BLUE, label="scan")]


def drawn_rows(n_rows: int) -> npt.NDArray[np.intp]:
    """Rows that are drawn, in order: all, or a random sample of :data:`MAX_POINTS`, the same one every time."""
    if n_rows <= MAX_POINTS:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(n_rows).choice(n_rows, MAX_POINTS, replace=False))


def sample_text(n_rows: int) -> str:
    """What a figure says about the points that it leaves out: `` (5000 drawn)``, or nothing."""
    return f" ({MAX_POINTS} drawn)" if n_rows > MAX_POINTS else ""
