"""``drrval simulate COHORT --out DIR``: a virtual cohort as files for any tool."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import add_job_options, log_on_screen, seed


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "simulate", help="write a virtual cohort: CTs with pneumonia that develops over days, label maps and the truth"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "cohort",
        type=Path,
        nargs="?",
        help="YAML file with simulate: {patients: ..., timepoints: ..., ...} or insert: {...}; a study file will do",
    )
    what.add_argument("--seed", type=seed, metavar="S", help="without a file: one scan of one patient, drawn from S")
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--format", choices=("nifti", "dicom"), default="nifti", help="of the CTs (default nifti); labels are NIfTI"
    )
    parser.add_argument(
        "--data-root", type=Path, help="folder of the real CTs of insert (default: the cohort file's folder)"
    )
    add_job_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.simulation import SimulateSettings
    from drrval.study.cohort_settings import CohortSettings, load_virtual_cohort
    from drrval.study.simulate import write_cohort

    if arguments.cohort is None:
        one = SimulateSettings(patients=1, timepoints=1, seed=arguments.seed)
        cohort, folder = CohortSettings(simulate=one), Path()
    else:
        cohort, folder = load_virtual_cohort(arguments.cohort), arguments.cohort.parent
    with log_on_screen():
        failed = write_cohort(
            cohort,
            arguments.out,
            data_root=arguments.data_root or folder,
            file_format=arguments.format,
            jobs=arguments.jobs,
            progress=False if arguments.no_progress else None,
        )
    return 1 if failed else 0
