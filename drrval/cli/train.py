"""``drrval train KIND CONFIG.yaml --out DIR``: weights of your own, which a study can name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from drrval.cli.common import log_on_screen
from drrval.training.kinds import KINDS


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "train", help="train a network on your own data; the same command again goes on with an interrupted training"
    )
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=f"what to train: {', '.join(KINDS)}")
    parser.add_argument("config", type=Path, help="YAML file with the settings; studies/train holds one of each kind")
    parser.add_argument(
        "--out", type=Path, required=True, help="the training's folder: checkpoints, log.csv, and in the end weights/"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from drrval.training.run import train

    with log_on_screen():
        train(arguments.kind, arguments.config, arguments.out)
    return 0
