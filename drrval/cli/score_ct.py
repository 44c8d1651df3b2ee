"""``drrval score-ct CT... --out DIR``: the disease of CT scans, in tables, masks and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import add_job_options, log_on_screen


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "score-ct",
        help="score CTs: volumes, pneumonia ratio, slices, masks (NIfTI, DICOM SEG) and pictures",
    )
    parser.add_argument(
        "ct", nargs="+", type=Path, help="DICOM folder, NIfTI, NRRD or MHA file, or a folder of such scans"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder; finished scans in it are kept")
    parser.add_argument(
        "--scorer",
        default="corona",
        metavar="NAME",
        help="CT scorer: name or module:attribute (default corona)",
    )
    parser.add_argument("--series-uid", default="", help="DICOM series to take where a folder holds several")
    add_job_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.ct_scoring import score_cts

    with log_on_screen():
        failed = score_cts(
            arguments.ct,
            arguments.out,
            scorer=arguments.scorer,
            series_uid=arguments.series_uid,
            jobs=arguments.jobs,
            progress=False if arguments.no_progress else None,
        )
    return 1 if failed else 0
