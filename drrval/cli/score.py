"""``drrval score IMAGE... --out scores.tsv``: score radiographs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("score", help="score radiographs: probability of pneumonia, ratios, severity")
    parser.add_argument("image", nargs="+", type=Path, help="PNG, JPEG, TIFF or DICOM files of frontal radiographs")
    parser.add_argument("--out", type=Path, required=True, help="table to write (tab-separated)")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="folder for a picture per image: lungs, localisation, numbers"
    )
    parser.add_argument(
        "--scorer",
        default="dlnet-light",
        metavar="NAME",
        help="installed scorer, or module:attribute of a module in the working folder (default: dlnet-light)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="folder of weights that the scorer takes, as trained"
    )
    parser.add_argument(
        "--view", default="", metavar="VIEW", help="PA, AP or 'AP supine'..., for all (default: as DICOM says, else PA)"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar (none is shown outside a terminal)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.evaluation import score_files
    from drrval.study.config import ScorerSpec
    from drrval.study.scan_loop import make_importable
    from drrval.study.scorers import load_cxr_scorer

    make_importable(Path("scorer.py"))  # the working folder
    options = {"folder": arguments.weights} if arguments.weights else {}
    scorer = load_cxr_scorer(ScorerSpec(use=arguments.scorer, options=options))
    progress = False if arguments.no_progress else None
    table = score_files(scorer, arguments.image, arguments.out, arguments.view, progress, arguments.pictures)
    for row in table[table["status"] != "ok"].itertuples():
        print(f"{row.status}: {row.message}")
    flagged = table[(table["status"] == "ok") & table["flags"].notna()]
    for row in flagged.itertuples():
        print(f"flagged: {row.image}: {row.flags}")
    n_scored = int((table["status"] == "ok").sum())
    remark = f", {len(flagged)} of them flagged (see docs/evaluation.md)" if len(flagged) else ""
    print(f"{n_scored} of {len(table)} images scored{remark}: {arguments.out}")
    return 0 if n_scored == len(table) else 1
