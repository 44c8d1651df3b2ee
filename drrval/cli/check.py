"""``drrval check CT...``: the intake report, without rendering anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from drrval.cli.common import finding_lines


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("check", help="say whether CTs can be used: accepted, repaired or rejected, and why")
    parser.add_argument(
        "ct", nargs="+", type=Path, help="DICOM folder, NIfTI, NRRD or MHA file, or a folder of such scans"
    )
    parser.add_argument("--series-uid", help="DICOM series to take where a folder holds several")
    parser.add_argument("--tsv", type=Path, help="also write the intake table to this file")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import pandas as pd

    from drrval.intake import check_ct, find_scans, is_mask_name
    from drrval.intake.volume_file import volume_suffix

    scans = [scan for path in arguments.ct for scan in (find_scans(path) if path.is_dir() else [path])]
    for path in (p for folder in arguments.ct if folder.is_dir() for p in sorted(folder.rglob("*"))):
        if volume_suffix(path) and is_mask_name(path):
            print(f"skipped   {path} (named as a mask; give the file itself to check it)")
    if not scans:
        print(f"drrval: no CT found in {', '.join(map(str, arguments.ct))}", file=sys.stderr)
        return 1
    rows = []
    rejected = 0
    for scan in scans:
        _, report = check_ct(scan, series_uid=arguments.series_uid)
        rejected += report.status == "rejected"
        rows.append(report.to_row())
        print(f"{report.status:<9} {scan}")
        for line in finding_lines(report):
            print(f"          {line}")
    if arguments.tsv:
        pd.DataFrame(rows).to_csv(arguments.tsv, sep="\t", index=False, na_rep="n/a")
    return 1 if rejected else 0
