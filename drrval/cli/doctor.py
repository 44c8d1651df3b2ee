"""``drrval doctor``: what this installation has and lacks, and how to mend it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "doctor", help="show versions, backends, GPU, scorers and weights, and what is missing"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    """Print the report; 0 where drrval can render, else 1."""
    from drrval.diagnosis import core_works, diagnose

    report = diagnose()
    works = core_works(report)
    if arguments.json:
        sections = {section: [asdict(check) for check in checks] for section, checks in report.items()}
        print(json.dumps({"core_works": works, **sections}, indent=2))
        return 0 if works else 1
    for section, checks in report.items():
        print(section if checks else f"{section}: none")
        for check in checks:
            print(f"  {'ok' if check.ok else 'no':<3} {check.name}: {check.detail}")
            if check.remedy:
                print(f"      {check.remedy}")
    print(
        "drrval can render." if works else "drrval cannot render: see the lines marked 'no' under packages, backends."
    )
    return 0 if works else 1
