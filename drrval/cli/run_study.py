"""``drrval run-study STUDY.yaml``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from drrval.cli.common import add_job_options, log_on_screen


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "run-study", help="render, score and compare every scan of a study, and write the report"
    )
    parser.add_argument("study", type=Path, help="study file (YAML)")
    parser.add_argument("--out", type=Path, help="output folder (default: the study's, else out/NAME)")
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder that the cohort's paths are relative to (default: the study file's)",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    mode.add_argument("--reports-only", action="store_true", help="rebuild tables, figures and pages; reads no CT")
    parser.add_argument(
        "--enforce",
        action="store_true",
        help="exit with 3 when a criterion of the study's `acceptance` is not met or cannot be computed",
    )
    add_job_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.study.run import run_study

    with log_on_screen():
        return run_study(
            arguments.study,
            out=arguments.out,
            data_root=arguments.data_root,
            jobs=arguments.jobs,
            dry_run=arguments.dry_run,
            reports_only=arguments.reports_only,
            enforce=arguments.enforce,
            progress=False if arguments.no_progress else None,
            command=shlex.join(sys.argv),
        )
