"""``drrval sensitivity STUDY.yaml``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from drrval.cli.common import add_job_options, log_on_screen, positive


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "sensitivity", help="render a study's scans with one setting changed at a time, and write an error budget"
    )
    parser.add_argument("study", type=Path, help="study file (YAML)")
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="levels of each factor (YAML; default: built in)")
    parser.add_argument(
        "--scans", type=positive, metavar="N", help="sweep N scans, spread evenly over the cohort (default: all)"
    )
    parser.add_argument("--out", type=Path, help="output folder (default: out/NAME-sensitivity)")
    parser.add_argument(
        "--data-root", type=Path, help="folder that the cohort's paths are relative to (default: the study file's)"
    )
    add_job_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.study.sensitivity import run_sensitivity

    with log_on_screen():
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
