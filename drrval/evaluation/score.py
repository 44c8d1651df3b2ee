"""Scoring radiograph files without a truth: ``drrval score``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cxr_models.contract import CXRScore, CXRScorer
from drrval.errors import DrrvalError, StudyError
from drrval.evaluation.cxr_scoring import SCORE_COLUMNS, chosen_view, score_cells, score_radiograph_file
from drrval.evaluation.picture import picture_names, score_picture
from drrval.evaluation.radiographs import read_radiograph
from drrval.evaluation.task import PredictionRow
from drrval.evaluation.views import KNOWN, view_position
from drrval.study.measurements import MISSING
from drrval.study.scorers import RejectedImageError
from drrval.study.store import write_picture, write_text

_PROBABILITY, *_OTHERS = SCORE_COLUMNS
COLUMNS = (
    *("image", "scorer", "view", _PROBABILITY, "threshold", "pneumonia", *_OTHERS),
    *("flags", "grey_values", "picture", "status", "message"),
)


def score_files(
    scorer: CXRScorer,
    images: Sequence[Path],
    out: Path,
    view: str = "",
    progress: bool | None = None,
    pictures: Path | None = None,
) -> pd.DataFrame:
    """Score radiograph files and write ``scores.tsv``.

    Args:
        scorer: any radiograph scorer that needs the image alone.
        images: PNG, JPEG, TIFF or DICOM files (:func:`drrval.evaluation.radiographs.read_radiograph`).
        out: the table to write, tab-separated, missing values as ``n/a``.
        view: view position of all images; empty: what each file says, else PA.
        progress: show a progress bar; None: when the output is a terminal.
        pictures: folder for a picture of every scored image (:func:`drrval.evaluation.picture.score_picture`), or None.

    Returns:
        What was written, one row per image: :data:`COLUMNS`. ``status`` is ``ok``; ``rejected`` for an image that is no
        readable frontal chest radiograph; or ``failed`` for a file that cannot be read or scored. ``message`` says why.

    Raises:
        StudyError: an unknown view.
    """
    position = view_position(view)
    if position is None:
        raise StudyError(f"--view {view!r} is no view position. Expected {KNOWN}.")
    shown = sys.stderr.isatty() if progress is None else progress
    names: dict[Path, str] = {}
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        names = picture_names(images)
    rows = []
    for path in tqdm(images, unit="image", disable=not shown):
        picture = None if pictures is None else pictures / names[path]
        rows.append(_row(scorer, path, position, picture))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text(out, table.to_csv(sep="\t", index=False, na_rep=MISSING, float_format="%.6g", lineterminator="\n"))
    return table


def _row(scorer: CXRScorer, path: Path, view: str, picture: Path | None) -> PredictionRow:
    row: PredictionRow = {"image": str(path), "scorer": scorer.name}
    try:
        radiograph = read_radiograph(path)
        row |= {"view": chosen_view(view, radiograph), "grey_values": radiograph.grey_values}
        _, score = score_radiograph_file(scorer, radiograph, row["view"], path)
    except DrrvalError as error:
        status = "rejected" if isinstance(error, RejectedImageError) else "failed"
        return row | {"status": status, "message": " ".join(str(error).split())}
    row |= score_cells(score) | _call(scorer, score) | {"flags": ";".join(score.flags) or None, "status": "ok"}
    if picture is not None:
        area = getattr(scorer, "area_threshold", getattr(scorer, "localisation_threshold", None))
        threshold = getattr(scorer, "detection_threshold", None)
        write_picture(picture, score_picture(radiograph.image, score, threshold, area))
        row["picture"] = str(picture)
    return row


def _call(scorer: CXRScorer, score: CXRScore) -> dict[str, Any]:
    """The scorer's threshold and what it makes of the probability; nothing where either is missing."""
    threshold = getattr(scorer, "detection_threshold", None)
    if threshold is None:
        return {}
    known = bool(np.isfinite(score.p_pneumonia))
    called = "yes" if score.p_pneumonia >= threshold else "no"
    return {"threshold": float(threshold), "pneumonia": called if known else None}
