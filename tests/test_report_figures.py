"""Figures of a study, from made-up numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_report import measurement

from drrval.report import course_figure, regression_figure, save_figure
from drrval.stats import agreement_table, pair_measurements


def fake_pairs(n_patients: int, dated: bool = True) -> tuple[pd.DataFrame, dict[str, Any]]:
    rows = []
    for patient in range(1, n_patients + 1):
        for place in range(3):
            date = f"2020-03-{1 + 4 * place + patient % 4:02d}" if dated else None
            ratio = 5.0 + (7 * patient + 11 * place * patient) % 40
            rows += [measurement(str(patient), str(place), date, ratio, "opacity", "n/a"),  # type: ignore[arg-type]
                     measurement(str(patient), str(place), date, ratio * 0.9 + 2, "a$b$", "PA")]  # type: ignore[arg-type]  # fmt: skip
    table = pd.DataFrame(rows)
    return pair_measurements(table, "opacity"), agreement_table(table, "opacity")["results"][0]


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_regression_figure_shows_points_line_and_numbers() -> None:
    pairs, row = fake_pairs(4)
    figure = regression_figure(pairs, row)
    axes = figure.axes[0]
    offsets = np.concatenate([points.get_offsets() for points in axes.collections])
    assert sorted(map(tuple, offsets)) == sorted(
        zip(pairs["ct_ratio_percent"], pairs["cxr_ratio_percent"], strict=True)
    )
    x, y = axes.lines[1].get_data()
    np.testing.assert_allclose(y, 0.9 * np.asarray(x) + 2)
    assert axes.collections[0].get_urls() == ["sub-1.html#ses-0", "sub-1.html#ses-1", "sub-1.html#ses-2"]
    title = figure.legends[0].get_title().get_text()
    assert "slope = 0.90\nintercept = 2.0 %" in title
    assert "4 patients, 12 scans" in title
    assert [t.get_text() for t in figure.legends[0].get_texts()][2:] == ["sub-1", "sub-2", "sub-3", "sub-4"]


def test_many_patients_share_one_legend_entry_and_the_course_says_what_it_leaves_out(tmp_path: Path) -> None:
    pairs, row = fake_pairs(61)
    legend = regression_figure(pairs, row).legends[0]
    assert [t.get_text() for t in legend.get_texts()][2:] == ["colour and shape: patient"]
    figure = course_figure(pairs, row)
    assert len(figure.axes) == 60
    assert any("first 60 of 61 patients" in text for text in texts(figure))


@pytest.mark.parametrize(("dated", "times", "label"), [(True, [0, 4, 8], "days"), (False, [1, 2, 3], "scan number")])
def test_course_figure(dated: bool, times: list[float], label: str) -> None:
    pairs, row = fake_pairs(2, dated)
    figure = course_figure(pairs, row)
    assert len(figure.axes) == 2
    panel = figure.axes[0]
    np.testing.assert_allclose(panel.lines[0].get_xdata(), times)
    np.testing.assert_allclose(panel.lines[0].get_ydata(), pairs["ct_ratio_percent"][:3])
    np.testing.assert_allclose(panel.lines[1].get_ydata(), pairs["cxr_ratio_percent"][:3])
    assert [text.get_text() for text in panel.texts] == ["1", "1"]
    assert [text.get_position()[0] for text in panel.texts] == [(times[0] + times[1]) / 2, (times[1] + times[2]) / 2]
    assert any(text.startswith(label) for text in texts(figure))


def test_figure_without_regression(tmp_path: Path) -> None:
    pairs, row = fake_pairs(1)
    short = pairs.iloc[:1]
    row = {**row, "slope": None, "n_scans": 1, "trend_labels": [], "trend_accuracy": None}
    figure = regression_figure(short, row)
    assert figure.legends[0].get_title().get_text().startswith("no regression\n1 patient, 1 scan")
    save_figure(figure, tmp_path / "a")
    save_figure(course_figure(short, row), tmp_path / "b")


def test_saved_figures_are_deterministic_and_leave_no_global_state(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    pairs, row = fake_pairs(3)
    for folder in ("one", "two"):
        png, svg = save_figure(regression_figure(pairs, row), tmp_path / folder / "figure.v1")
        assert (png.name, svg.name) == ("figure.v1.png", "figure.v1.svg")
    assert dict(mpl.rcParams) == before
    for name in ("figure.v1.png", "figure.v1.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one/figure.v1.png") as picture:
        assert picture.size == (1140, 735)
    assert "a$b$" in (tmp_path / "one/figure.v1.svg").read_text(encoding="utf-8")
