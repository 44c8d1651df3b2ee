"""Training from a YAML file to stored weights."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drrval.errors import StudyError
from drrval.study.store import held_folder
from drrval.training.card import model_card
from drrval.training.config import WEIGHTS_FOLDER, claim_folder, load_run, release_folder
from drrval.training.inputs import check_inputs
from drrval.training.kinds import KINDS

if TYPE_CHECKING:
    from neural.training import Trained

log = logging.getLogger("drrval")

_PACKAGES = ("ct_models", "cxr_models", "neural")


def train(kind: str, config: Path, out: Path) -> Path:
    """Train, or go on with an interrupted training, and store the weights with their model card.

    Args:
        kind: one of :data:`drrval.training.kinds.KINDS`.
        config: YAML file with the settings of the kind's dataclass; its relative paths count from its folder.
        out: the run's folder: ``run.json`` (the settings), ``log.csv`` (a row per epoch), ``best.pt`` and ``last.pt``
            (checkpoints, from which the same command goes on), ``weights/`` (a store, see :mod:`neural.store`),
            ``crash.txt`` (the traceback, if the last run ended with an error that is neither in data nor in settings).

    Returns:
        The weight file.

    Raises:
        StudyError: settings, data or a folder that break a rule, a folder in which another run works, or a training
            that does not converge; the checkpoints are kept.
    """
    run = load_run(kind, config)
    check_inputs(kind, run, config)
    with held_folder(out):
        claim_folder(out, kind, run)
        trained = _trained(kind, run, config, out)
        return _store(kind, run, trained, out)


def _trained(kind: str, run: Any, config: Path, out: Path) -> Trained:
    """Train; an error becomes one that says what to mend, or where its traceback lies."""
    _, function = KINDS[kind].load()
    crash = out / "crash.txt"
    crash.unlink(missing_ok=True)
    try:
        trained: Trained = function(run, out, lambda line: log.info("%s", line))
    except Exception as error:
        stopped = f"{kind} with {config} stopped: "
        if _is_explained(error):
            release_folder(out)
            raise StudyError(f"{stopped}{_told(error)}") from error
        crash.write_text(traceback.format_exc(), encoding="utf-8")
        raise StudyError(f"{stopped}{type(error).__name__}: {error} (see {crash})") from error
    return trained


def _is_explained(error: Exception) -> bool:
    """Whether the error is about a file, or one that the model packages raise on data and settings, with the remedy."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0]
    return isinstance(error, OSError) or (isinstance(error, ValueError) and raised_in in _PACKAGES)


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}. Put the file there, or correct the path that names it."
    return str(error)


def _store(kind: str, run: Any, trained: Trained, out: Path) -> Path:
    from neural.store import save_weights

    store = out / WEIGHTS_FOLDER
    use = KINDS[kind].use.format(name=trained.name, folder=str(store))
    card = model_card(kind, run, trained, out, use)
    file = save_weights(trained.network, store, trained.name, card, trained.settings)
    log.info("weights: %s (%.1f MB); use: %s", file, file.stat().st_size / 1e6, use)
    return file
