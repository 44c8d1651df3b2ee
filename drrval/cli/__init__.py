"""The ``drrval`` command: parse, call the library, map errors to exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from drrval import __version__
from drrval.errors import BackendError, DrrvalError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_BACKEND = 0, 1, 2, 127


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    from drrval.cli import (
        agree,
        check,
        doctor,
        evaluate,
        insert,
        render,
        run_study,
        score,
        score_ct,
        sensitivity,
        simulate,
        synthesize,
        train,
    )

    parser = argparse.ArgumentParser(prog="drrval", description="CT-to-DRR validation of chest-radiograph models.")
    parser.add_argument("--version", action="version", version=f"drrval {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listed = (run_study, check, score, score_ct, render, simulate, insert, synthesize)
    for module in (*listed, train, evaluate, agree, sensitivity, doctor):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 all fine; 1 some scan failed; 2 bad arguments, study file or input; 3 an acceptance criterion is not met
        (``run-study --enforce``); 127 a requested backend is missing.
    """
    try:
        arguments = build_parser().parse_args(argv)
        return int(arguments.run(arguments))
    except BackendError as error:
        print(f"drrval: {error}", file=sys.stderr)
        return EXIT_BACKEND
    except DrrvalError as error:
        print(f"drrval: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(f"drrval: {error}. Give another path.", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("drrval: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
