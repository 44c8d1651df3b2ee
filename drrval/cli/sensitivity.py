"""``drrval sensitivity STUDY.yaml``."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "sensitivity", help="render a study's scans with one setting changed at a time, and write an error budget"
    )
    parser.add_argument("study", type=Path, help="study file (YAML)")
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="levels of each factor (YAML; default: built in)")
    parser.add_argument(
        "--scans", type=_positive, metavar="N", help="sweep N scans, spread evenly over the cohort (default: all)"
    )
    parser.add_argument("--out", type=Path, help="output folder (default: out/NAME-sensitivity)")
    parser.add_argument(
        "--data-root", type=Path, help="folder that the cohort's paths are relative to (default: the study file's)"
    )
    parser.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="scans worked on at the same time (default 1)"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar (none is shown outside a terminal)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.study.sensitivity import run_sensitivity

    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("drrval")
    log.addHandler(screen)
    try:
        return run_sensitivity(
            arguments.study,
            sweep_file=arguments.sweep,
            n_scans=arguments.scans,
            out=arguments.out,
            data_root=arguments.data_root,
            jobs=arguments.jobs,
            progress=False if arguments.no_progress else None,
            command=shlex.join(sys.argv),
        )
    finally:
        log.removeHandler(screen)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value
