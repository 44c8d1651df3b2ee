"""``drrval agree TABLE --reference COL --test COL --patient COL``: agreement of any two columns of any table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import check_out_folder
from drrval.errors import StudyError


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("agree", help="agreement of two columns of a table: numbers with intervals, figures")
    parser.add_argument("table", type=Path, help="tab- or comma-separated table (.tsv, .csv), one row per scan")
    parser.add_argument("--reference", required=True, metavar="COL", help="column with the reference, such as the CT's")
    parser.add_argument("--test", required=True, metavar="COL", help="column with what is compared with it")
    parser.add_argument("--patient", required=True, metavar="COL", help="column with the patient of each row")
    parser.add_argument(
        "--time",
        metavar="COL",
        help="column with dates (2020-03-05), days (numbers) or labels in order; without it there are no trends",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for agreement.json, tables and figures")
    parser.add_argument("--unit", default="", help="unit of both columns, for the figures")
    parser.add_argument("--resamples", type=int, default=2000, metavar="N", help="bootstrap resamples (default 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the resamples (default 0)")
    parser.add_argument("--level", type=float, default=0.95, help="confidence level (default 0.95)")
    parser.add_argument(
        "--error-ratio", type=float, default=1.0, help="Deming: error variance of reference by that of test (default 1)"
    )
    parser.add_argument("--margin", type=float, default=5.0, help="difference that does not matter (default 5)")
    parser.add_argument("--zone", type=float, default=0.0, help="change that may be measurement error (default 0)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.report.tables import write_comparison
    from drrval.stats import ComparisonSettings

    if arguments.seed < 0:
        raise StudyError(f"--seed must be 0 or more, got {arguments.seed}.")
    check_out_folder(arguments.out)
    settings = ComparisonSettings(
        n_resamples=arguments.resamples,
        level=arguments.level,
        seed=arguments.seed,
        error_ratio=arguments.error_ratio,
        margin=arguments.margin,
        reference_zone=arguments.zone,
    )
    columns = {role: getattr(arguments, role) for role in ("reference", "test", "patient", "time")}
    document, written = write_comparison(arguments.table, columns, arguments.out, settings, arguments.unit)
    print(summary(document))
    print(f"{len(written)} files in {arguments.out}")
    return 0


def summary(document: dict[str, Any]) -> str:
    """The main numbers with their intervals, one a line, as the command prints them."""
    from drrval.report.agreement import headline_table

    row = document["results"][0]
    rows = document["rows"]
    lines = [
        f"{row['n_scans']} scans of {row['n_patients']} patients, {row['n_intervals']} intervals between scans",
        f"{rows['left_out']} of {rows['read']} rows left out: no value of reference or test",
    ]
    if document["columns"]["time"]:
        lines.append(f"time read as {document['time_read_as']}")
    for title, numbers in headline_table([row]):
        if row[title.lower()]:
            lines += ["", title, *(f"  {label:<36} {cells[0]}" for label, cells in numbers)]
    if row["note"]:
        lines += ["", row["note"]]
    return "\n".join(lines)
