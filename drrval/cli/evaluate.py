"""``drrval evaluate TASK TABLE --out DIR``: how good a scorer is on real images or CTs whose truth is known."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import check_out_folder, positive, seed

TASKS = ("cxr-detection", "cxr-lungs", "cxr-severity", "cxr-localisation", "ct-lungs", "ct-slices", "ct-ratio")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate", help="hold a scorer against radiographs or CTs whose truth is known: numbers, intervals, figures"
    )
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("table", type=Path, help="CSV or TSV, see docs/evaluation.md; paths are relative to it")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json, predictions.csv and figures/")
    parser.add_argument(
        "--scorer",
        action="append",
        default=[],
        metavar="NAME",
        help="installed scorer, or module:attribute (in the working folder or beside the table); may be repeated "
        "(default: dlnet-light for radiographs, corona for CTs, with opacity beside it for ct-ratio)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="folder of weights that the scorers take, as trained"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="P", help="operating point in place of the scorer's own, 0-1"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the resamples (default 0)")
    parser.add_argument("--level", type=float, default=0.95, help="confidence level (default 0.95)")
    parser.add_argument(
        "--resamples", type=positive, default=2000, metavar="N", help="bootstrap resamples (default 2000)"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar (none is shown outside a terminal)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.evaluation import TASKS as tasks
    from drrval.evaluation import Request, evaluate, summary
    from drrval.study.config import ScorerSpec
    from drrval.study.scan_loop import make_importable

    check_out_folder(arguments.out)
    for file in (arguments.table, Path("scorer.py")):
        make_importable(file)  # the table's folder and the working folder
    task = tasks[arguments.task]
    options = {"folder": arguments.weights} if arguments.weights else {}
    request = Request(
        task=task,
        table=arguments.table,
        out=arguments.out,
        scorers=tuple(ScorerSpec(use=name, options=options) for name in arguments.scorer or task.scorers),
        threshold=arguments.threshold,
        how={"n_resamples": arguments.resamples, "level": arguments.level, "seed": arguments.seed},
    )
    document = evaluate(request, progress=False if arguments.no_progress else None)
    print("\n".join(summary(document)))
    print(arguments.out)
    return 1 if document["failed"] else 0
