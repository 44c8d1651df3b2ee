"""The part of a report on the CT scorers: how the others agree with the reference, and where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drrval.report.agreement import FIGURES_UP, comparison_figures, line_numbers, save_drawings
from drrval.report.figures import PlottedScans
from drrval.report.inputs import StudyOutput
from drrval.report.text import file_label, scan_link
from drrval.stats import without_flags
from drrval.stats.ct_scorers import DISAGREE_FLAG, pair_ct_scorers, scan_pairs

SHOWN = ("regression", "bland-altman")

Disagreements = dict[tuple[str, str], list[dict[str, Any]]]


def draw_ct_scorers(output: StudyOutput) -> tuple[list[dict[str, Any]], list[Path]]:
    """The rows of ct_scorers.json that have scans, with their figures inlined (``figures``), and the files written."""
    document = output.ct_scorers
    pairs = pair_ct_scorers(without_flags(output.measurements, document["exclude_flags"]), document["reference"])
    rows: list[dict[str, Any]] = []
    written: list[Path] = []
    for row in document["results"]:
        if not row["n_scans"]:
            continue
        chosen = pairs[pairs["scorer"] == row["scorer"]]
        links = [FIGURES_UP + scan_link(*scan) for scan in chosen[["subject", "session"]].itertuples(index=False)]
        scans = PlottedScans(
            scan_pairs(chosen),
            f"CT scorer {row['scorer']} against {row['reference']}",
            f"CT pneumonia ratio ({row['reference']})",
            f"CT pneumonia ratio ({row['scorer']})",
            (row["reference"], row["scorer"]),
            "CT pneumonia ratio",
            "%",
            links,
        )
        drawn = comparison_figures(scans, {**row, **line_numbers(row), "n_intervals": 0}, document["settings"])
        kept = (drawing for drawing in drawn if drawing.kind in SHOWN)
        figures, files = save_drawings(kept, output.folder, f"ct_scorer-{file_label(row['scorer'])}", scans.title)
        written += files
        rows.append({**row, "figures": figures})
    return rows, written


def disagreements_by_scan(document: Mapping[str, Any]) -> Disagreements:
    """The disagreements of ct_scorers.json by subject and session."""
    found: Disagreements = {}
    for one in document["disagreements"]:
        found.setdefault((one["subject"], one["session"]), []).append(one)
    return found


def flagged_scan(scan: Mapping[str, Any], found: Disagreements, reference: str) -> dict[str, Any]:
    """A scan's record with the disagreements of its CT scorers: on the scan, and on the rows of those scorers."""
    mine = found.get((scan["subject"], scan["session"]), [])
    scorers = {reference, *(one["scorer"] for one in mine)} if mine else set()
    rows = [
        {**row, "flags": ";".join(filter(None, [row.get("flags"), DISAGREE_FLAG]))}
        if row["modality"] == "CT" and row["scorer"] in scorers
        else row
        for row in scan.get("measurements") or []
    ]
    flags = [*(scan.get("flags") or []), *([DISAGREE_FLAG] if mine else [])]
    return {**scan, "flags": flags, "measurements": rows, "disagreements": mine}
