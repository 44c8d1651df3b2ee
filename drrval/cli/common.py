"""What several commands share: types of arguments, common options, the log on the screen."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def seed(text: str) -> int:
    """A whole number from 0, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs`` and ``--no-progress``."""
    parser.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="scans worked on at the same time (default 1)"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar (none is shown outside a terminal)")


@contextmanager
def log_on_screen() -> Iterator[None]:
    """Print drrval's messages while the block runs."""
    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("drrval")
    log.addHandler(screen)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(screen)
