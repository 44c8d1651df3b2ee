"""Figures of the evaluation, written to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from drrval.evaluation.figures import confusion_figure, overlap_figure, precision_figure, roc_figure
from drrval.evaluation.numbers import detection_numbers
from drrval.evaluation.task import Scored, Threshold
from drrval.report.figures import save_figure
from drrval.stats import roc_curve
from drrval.stats.resampling import Interval


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def written(figure: Figure, folder: Path) -> None:
    png, svg = save_figure(figure, folder / "figure")
    with Image.open(png) as picture:
        assert np.asarray(picture.convert("L")).std() > 20
    assert svg.stat().st_size > 1000


def test_roc(tmp_path: Path) -> None:
    table = pd.DataFrame({"p": [0.9, 0.6, 0.4, 0.5, 0.3, 0.1], "label": [1, 1, 1, 0, 0, 0], "patient": list("aabccd")})
    scored = Scored(table, "a scorer", Threshold(0.5, "test"), {"n_resamples": 100})
    scans, numbers = detection_numbers(scored, "p")
    figure = roc_figure(roc_curve(scans), numbers, scored)
    (axes,) = figure.axes
    curve, point = axes.lines[1], axes.lines[2]
    assert (curve.get_xdata()[-1], curve.get_ydata()[-1]) == (1, 1)  # type: ignore[index]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (1 - 2 / 3, 2 / 3)  # type: ignore[index]
    assert "threshold 0.50: sensitivity 0.67, specificity 0.67" in texts(figure)
    assert "area 0.89 (" in texts(figure)
    written(figure, tmp_path)


def test_confusion_matrix(tmp_path: Path) -> None:
    counts = np.zeros((9, 9))
    counts[2, 3], counts[8, 8] = 14, 3
    figure = confusion_figure(counts, "title $1", ("experts", "model"))
    places = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert places == {"14": (3, 2), "3": (8, 8)}
    written(figure, tmp_path)


def test_overlaps_and_precisions(tmp_path: Path) -> None:
    dice = {"both": pd.Series([0.9, 0.95, 0.97]), "right": pd.Series([], dtype=float)}
    figure = overlap_figure(dice, "title", "image")
    assert "both\nn = 3" in texts(figure)
    written(figure, tmp_path)
    points = {0.4: Interval(0.3, 0.2, 0.4), 0.45: Interval(0.2), 0.5: Interval(None)}
    figure = precision_figure(points, Interval(0.25, 0.2, 0.3), "title")
    assert "mAP 0.25 (0.20 to 0.30)" in texts(figure)
    written(figure, tmp_path)
