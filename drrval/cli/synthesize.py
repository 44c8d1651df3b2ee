"""``drrval synthesize CONFIG.yaml --out DIR``: labelled radiographs for training and testing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import add_job_options, log_on_screen


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "synthesize", help="make labelled radiographs from cohorts of CTs: images, masks, boxes, truth, COCO files"
    )
    parser.add_argument("settings", type=Path, help="synthesis file (YAML), such as studies/synthesis.yaml")
    parser.add_argument("--out", type=Path, required=True, help="output folder; finished scans in it are kept")
    parser.add_argument(
        "--data-root", type=Path, help="folder that the cohorts' paths are relative to (default: the file's folder)"
    )
    add_job_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.synthesis import load_synthesis, synthesize

    with log_on_screen():
        failed = synthesize(
            load_synthesis(arguments.settings),
            arguments.out,
            data_root=arguments.data_root or arguments.settings.parent,
            jobs=arguments.jobs,
            progress=False if arguments.no_progress else None,
        )
    return 1 if failed else 0
