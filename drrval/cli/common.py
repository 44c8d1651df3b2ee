"""What several commands share: types of arguments, common options, checks of outputs, notes on the screen."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drrval.errors import StudyError

if TYPE_CHECKING:
    from drrval.intake import IntakeReport
    from drrval.volume import CTVolume


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


def check_out_folder(folder: Path) -> None:
    """Make sure, before any work is done, that files can be written into a folder; nothing is left behind.

    Raises:
        StudyError: it is a file, or neither it nor its nearest existing parent folder can be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"The output folder {folder} is a file. Give another place with --out.")
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise StudyError(f"The output {folder} would lie below {nearest}, which is a file. Give a folder with --out.")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise StudyError(
            f"The output {folder} cannot be written: {nearest} takes no files ({error.strerror}). Give a folder that "
            "can be written to with --out."
        ) from None


def check_out_file(path: Path, suffixes: Collection[str]) -> None:
    """Make sure, before any work is done, that a file can be written.

    Raises:
        StudyError: another suffix, a folder of that name, or a place that cannot be written to.
    """
    if not path.name.lower().endswith(tuple(suffixes)):
        raise StudyError(f"Cannot write {path.name!r}. Expected a name that ends in one of: {', '.join(suffixes)}.")
    if path.is_dir():
        raise StudyError(f"The output {path} is a folder. Give the name of a file with --out.")
    check_out_folder(path.parent)


def finding_lines(report: IntakeReport) -> list[str]:
    """What intake found out about a scan, a line per finding."""
    return [f"{finding.rule} ({finding.outcome}): {finding.message}" for finding in report.findings]


def read_ct_with_notes(path: Path, series_uid: str | None) -> CTVolume:
    """Read a CT and print a note for all that intake found out, such as repairs.

    Raises:
        IntakeError: as :func:`drrval.read_ct`.
    """
    from drrval.intake import IntakeReport, read_ct

    report = IntakeReport(path=str(path))
    ct = read_ct(path, series_uid=series_uid, report=report)
    for line in finding_lines(report):
        print(f"note: {line}")
    return ct


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
