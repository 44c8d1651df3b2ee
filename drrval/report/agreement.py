"""The agreement part of a report: figures with captions, and the table of the main numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from drrval.report.embed import inline_svg
from drrval.report.figures import (
    MAX_POINTS,
    PlottedScans,
    bland_altman_figure,
    course_figure,
    course_sample_text,
    forest_figure,
    four_quadrant_figure,
    regression_figure,
    save_figure,
)
from drrval.report.headlines import HEADLINES, Headline
from drrval.report.inputs import StudyOutput
from drrval.report.text import MISSING, count, file_label, interval_text, p_text
from drrval.stats import pair_measurements, without_flags
from drrval.stats.comparison import SECTIONS

FIGURES_UP = "../"  # figure files lie one folder below the pages they link to
_TITLES = {"regression": "Regression", "agreement": "Agreement", "trends": "Trends"}


@dataclass(frozen=True)
class Drawing:
    """A figure of one comparison, with the caption that says what was done and on how many."""

    kind: str
    figure: Figure
    caption: str


def comparison_figures(scans: PlottedScans, row: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Drawing]:
    """Draw every figure that one comparison gives.

    Args:
        scans: reference and test of each scan.
        row: the results that belong to them, as of :func:`drrval.stats.agreement_results`.
        settings: those of the agreement document.

    Yields:
        ``regression``, ``bland-altman`` and ``forest``; with times also ``course`` and, with two scans of some
        patient, ``four-quadrant``. Nothing without a scan.
    """
    if not row["n_scans"]:
        return
    basis = f"{count(row['n_scans'], 'scan')} of {count(row['n_patients'], 'patient')}"
    intervals = (
        f"{settings['level']:.0%} intervals: bias-corrected and accelerated bootstrap of "
        f"{settings['n_resamples']} resamples that draw patients, not scans"
    )
    lines = "Solid: ordinary least squares line; dashed: identity" if row["slope"] is not None else "Dashed: identity"
    yield Drawing(
        "regression",
        regression_figure(scans, row),
        f"Regression of {scans.test} on {scans.reference}: {basis}. {lines}.{_sampled(row['n_scans'], 'scan')} "
        f"{intervals}.",
    )
    if row["trends"]:
        yield Drawing("course", course_figure(scans, row), f"{_course_caption(scans, row)} {intervals}.")
    yield Drawing(
        "bland-altman",
        bland_altman_figure(scans, row),
        f"Difference ({scans.test} minus {scans.reference}) against the mean of the two: {basis}. Solid: bias; dashed: "
        "95 % limits of agreement for repeated measures (Bland & Altman 2007); bands: their intervals; dotted: least "
        f"squares line of the difference on the mean.{_sampled(row['n_scans'], 'scan')} {intervals}; those of the "
        "limits are widened to Zou's (2013) where these reach farther.",
    )
    if row["n_intervals"]:
        zone = _zone(settings)
        left_out = f"; changes both within {zone:g} (grey square) do not count" if zone else ""
        yield Drawing(
            "four-quadrant",
            four_quadrant_figure(scans, row, zone),
            f"Changes between successive scans: {count(row['n_intervals'], 'interval')}. Shaded: both changes have the "
            f"same sign{left_out}.{_sampled(row['n_intervals'], 'interval')} {intervals}.",
        )
    yield Drawing(
        "forest",
        forest_figure(row, scans.title, scans.unit),
        f"Main numbers with their intervals: {basis}, {count(row['n_intervals'], 'interval')} between successive "
        f"scans. {intervals}; arrow: runs farther.",
    )


def draw_results(output: StudyOutput) -> tuple[list[dict[str, Any]], list[Path]]:
    """The rows of agreement.json with their figures inlined (``figures``), and the figure files written."""
    counted = without_flags(output.measurements, output.agreement["exclude_flags"])
    pairs = pair_measurements(counted, output.agreement["reference"])
    results: list[dict[str, Any]] = []
    written: list[Path] = []
    for row in output.agreement["results"]:
        scans = PlottedScans.of_study(pairs, row, FIGURES_UP)
        label = f"view-{file_label(row['view'])}_scorer-{file_label(row['scorer'])}"
        drawings = comparison_figures(scans, row, output.agreement["settings"])
        figures, files = save_drawings(drawings, output.folder, label, scans.title)
        written += files
        results.append({**row, "figures": figures})
    return results, written


def save_drawings(
    drawings: Iterable[Drawing], folder: Path, label: str, title: str
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Write figures below ``folder/figures`` and make them ready to stand in a page.

    Args:
        drawings: what to write.
        folder: of the study's output.
        label: end of the file names.
        title: what the figures are of, for readers who do not see them.

    Returns:
        Per figure its ``kind``, ``svg``, ``caption`` and ``files``; and the paths written.
    """
    figures: list[dict[str, Any]] = []
    written: list[Path] = []
    for drawing in drawings:
        stem = f"{drawing.kind}_{label}"
        files = save_figure(drawing.figure, folder / "figures" / stem)
        written += files
        svg = files[1].read_text(encoding="utf-8")
        figures.append(
            {
                "kind": drawing.kind,
                "svg": inline_svg(svg, stem, f"{title}: {drawing.caption}", FIGURES_UP),
                "caption": drawing.caption,
                "files": [path.relative_to(folder).as_posix() for path in files],
            }
        )
    return figures, written


def line_numbers(sections: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of the least squares line under the names of a study's results, as the figures take them."""
    line = sections["regression"]["least_squares"]["numbers"]
    return {name: line[name]["estimate"] for name in ("pearson_r", "p_value", "slope", "intercept", "r_squared")}


def headline_table(
    results: Sequence[Mapping[str, Any]], sections: Sequence[str] = SECTIONS
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """The main numbers of all results with their intervals, as text.

    Args:
        results: of a study.
        sections: of the results, those wanted.

    Returns:
        Per section its title and its rows: a label and one cell per result.
    """
    return [
        (
            _TITLES[section],
            [
                (f"{line.label}{', points' if line.has_unit else ''}", [_cell(row, line) for row in results])
                for line in lines
            ],
        )
        for section, lines in groupby(HEADLINES, key=lambda line: line.section)
        if section in sections
    ]


def _cell(row: Mapping[str, Any], line: Headline) -> str:
    analysis = row[line.section].get(line.analysis)
    if not analysis:
        return MISSING
    found = analysis["numbers"][line.number]
    if line.number == "p_value":
        return p_text(found["estimate"]).removeprefix("p ").removeprefix("= ")
    return interval_text(found, 1 if line.has_unit else 2)


def _course_caption(scans: PlottedScans, row: Mapping[str, Any]) -> str:
    return (
        f"Courses of {scans.reference} and {scans.test}: {count(row['n_patients'], 'patient')}"
        f"{course_sample_text(scans.courses)}. Each panel has its own scale. Under each interval "
        f"({row['n_intervals']} in all): 1 if both change in the same direction, 0 if not."
    )


def _sampled(n: int, noun: str) -> str:
    return (
        f" Drawn: a random sample of {MAX_POINTS} of the {n} {noun}s; all numbers are of all." if n > MAX_POINTS else ""
    )


def _zone(settings: Mapping[str, Any]) -> float:
    return float(max(settings["reference_zone"], settings["test_zone"] or 0.0))
