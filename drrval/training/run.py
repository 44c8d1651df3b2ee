"""Training from a YAML file to stored weights."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from drrval.errors import StudyError
from drrval.training.card import model_card
from drrval.training.config import claim_folder, load_run
from drrval.training.kinds import KINDS

log = logging.getLogger("drrval")

#: Folder below the run's that the finished weights are stored in.
WEIGHTS_FOLDER = "weights"


def train(kind: str, config: Path, out: Path) -> Path:
    """Train, or go on with an interrupted training, and store the weights with their model card.

    Args:
        kind: one of :data:`drrval.training.kinds.KINDS`.
        config: YAML file with the settings of the kind's dataclass; its relative paths count from its folder.
        out: the run's folder: ``run.json`` (the settings), ``log.csv`` (a row per epoch), ``best.pt`` and ``last.pt``
            (checkpoints, from which the same command goes on), ``weights/`` (a store, see :mod:`neural.store`).

    Returns:
        The weight file.

    Raises:
        StudyError: settings, data or a folder that break a rule, or a training that does not converge; the checkpoints
            are kept.
    """
    run = load_run(kind, config)
    claim_folder(out, kind, run)
    _, function = KINDS[kind].load()
    try:
        trained = function(run, out, lambda line: log.info("%s", line))
    except (ValueError, KeyError, OSError) as error:
        crash = out / "crash.txt"
        crash.write_text(traceback.format_exc(), encoding="utf-8")
        raise StudyError(f"{kind} with {config} stopped: {type(error).__name__}: {error} (see {crash})") from error
    from neural.store import save_weights

    store = out / WEIGHTS_FOLDER
    use = KINDS[kind].use.format(name=trained.name, folder=str(store))
    card = model_card(kind, run, trained, out, use)
    file = save_weights(trained.network, store, trained.name, card, trained.settings)
    log.info("weights: %s (%.1f MB); use: %s", file, file.stat().st_size / 1e6, use)
    return file
