"""Scoring radiograph files without a truth: ``drrval score``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from cxr_models.contract import CXRScorer
from drrval.errors import DrrvalError
from drrval.evaluation.cxr_scoring import SCORE_COLUMNS, chosen_view, score_cells, score_radiograph_file
from drrval.evaluation.radiographs import read_radiograph
from drrval.evaluation.task import PredictionRow
from drrval.study.measurements import MISSING
from drrval.study.store import write_text

COLUMNS = ("image", "scorer", "view", *SCORE_COLUMNS, "grey_values", "status", "message")


def score_files(
    scorer: CXRScorer, images: Sequence[Path], out: Path, view: str = "", progress: bool | None = None
) -> pd.DataFrame:
    """Score radiograph files and write ``scores.tsv``.

    Args:
        scorer: any radiograph scorer that needs the image alone.
        images: PNG, JPEG, TIFF or DICOM files (:func:`drrval.evaluation.radiographs.read_radiograph`).
        out: the table to write, tab-separated, missing values as ``n/a``.
        view: DICOM view position of all images; empty: what each file says, else PA.
        progress: show a progress bar; None: when the output is a terminal.

    Returns:
        What was written, one row per image: :data:`COLUMNS`; ``status`` is ``ok``, or ``failed`` and ``message`` says
        why.
    """
    shown = sys.stderr.isatty() if progress is None else progress
    rows = [_row(scorer, path, view) for path in tqdm(images, unit="image", disable=not shown)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text(out, table.to_csv(sep="\t", index=False, na_rep=MISSING, float_format="%.6g", lineterminator="\n"))
    return table


def _row(scorer: CXRScorer, path: Path, view: str) -> PredictionRow:
    row: PredictionRow = {"image": str(path), "scorer": scorer.name, "status": "failed"}
    try:
        radiograph = read_radiograph(path)
        row |= {"view": chosen_view(view, radiograph), "grey_values": radiograph.grey_values}
        _, score = score_radiograph_file(scorer, radiograph, row["view"], path)
    except DrrvalError as error:
        return row | {"message": " ".join(str(error).split())}
    return row | score_cells(score) | {"status": "ok"}
