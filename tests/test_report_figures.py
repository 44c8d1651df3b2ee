"""Figures of a study, from made-up numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image
from report_factory import measurement

from drrval.report import (
    PlottedScans,
    bland_altman_figure,
    course_figure,
    detection_figure,
    error_budget_figure,
    forest_figure,
    four_quadrant_figure,
    regression_figure,
    save_figure,
)
from drrval.report.agreement import comparison_figures
from drrval.report.figures.style import COLUMN_MM, PAGE_MM, spread_apart
from drrval.stats import ComparisonSettings, agreement_document, fit_detection, pair_measurements
from drrval.stats.error_budget import error_budget

SETTINGS = {"level": 0.95, "n_resamples": 100, "reference_zone": 0.0, "test_zone": None}


def fake_scans(n_patients: int, dated: bool = True) -> tuple[PlottedScans, dict[str, Any]]:
    """Three scans per patient on the line 0.9 x + 2 but for a small wobble where ``n_patients`` is above 4."""
    rows = []
    for patient in range(1, n_patients + 1):
        for place in range(3):
            date = f"2020-03-{1 + 4 * place + patient % 4:02d}" if dated else None
            ratio = 5.0 + (7 * patient + 11 * place * patient) % 40
            test = ratio * 0.9 + 2 + wobble(patient, place, n_patients)
            rows += [measurement(str(patient), str(place), date, ratio, "opacity", "n/a"),  # type: ignore[arg-type]
                     measurement(str(patient), str(place), date, test, "a$b$", "PA")]  # type: ignore[arg-type]  # fmt: skip
    table = pd.DataFrame(rows)
    row = agreement_document(table, "opacity", settings=ComparisonSettings(n_resamples=100))["results"][0]
    return PlottedScans.of_study(pair_measurements(table, "opacity"), row), row


def wobble(patient: int, place: int, n_patients: int) -> float:
    return 0.0 if n_patients <= 4 else ((5 * patient + 3 * place) % 7 - 3.0)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def line_at(axes: Any, value: float) -> bool:
    """Whether a horizontal line is drawn at a value."""
    return any(np.allclose(line.get_ydata(), value) for line in axes.lines)


def test_regression_figure_shows_points_line_and_numbers() -> None:
    scans, row = fake_scans(4)
    figure = regression_figure(scans, row)
    axes = figure.axes[0]
    offsets = np.concatenate([points.get_offsets() for points in axes.collections])
    assert sorted(map(tuple, offsets)) == sorted(zip(scans.courses["reference"], scans.courses["test"], strict=True))
    x, y = axes.lines[1].get_data()
    np.testing.assert_allclose(y, 0.9 * np.asarray(x) + 2)
    assert axes.collections[0].get_urls() == ["sub-1.html#ses-0", "sub-1.html#ses-1", "sub-1.html#ses-2"]
    title = figure.legends[0].get_title().get_text()
    assert "slope = 0.90\n" in title
    assert "intercept = 2.0 %\n" in title
    assert "4 patients, 12 scans" in title
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names[2:] == ["patient 1", "patient 2", "patient 3", "patient 4"]


def test_many_patients_share_one_colour_and_the_course_says_what_it_leaves_out() -> None:
    scans, row = fake_scans(61)
    figure = regression_figure(scans, row)
    assert [t.get_text() for t in figure.legends[0].get_texts()][2:] == ["scan"]
    assert len(figure.axes[0].collections) == 1
    assert len(figure.axes[0].collections[0].get_urls()) == 183
    title = figure.legends[0].get_title().get_text()
    low, high = (row["regression"]["least_squares"]["numbers"]["slope"][end] for end in ("low", "high"))
    assert f"slope = {row['slope']:.2f} ({low:.2f} to {high:.2f})" in title
    assert "(95% intervals by patient)" in title
    figure = course_figure(scans, row)
    assert len(figure.axes) == 24
    assert any("24 random ones of 61 patients" in text for text in texts(figure))
    panels = [axes.get_title(loc="left").removeprefix("patient ") for axes in figure.axes]
    assert panels == sorted(panels, key=int)
    assert panels == [axes.get_title(loc="left").removeprefix("patient ") for axes in course_figure(scans, row).axes]


def test_a_long_course_is_drawn_in_part_and_says_so() -> None:
    times = np.arange(30.0)
    courses = pd.DataFrame({"patient": "1", "time": times, "days": times, "reference": times, "test": times})
    _, row = fake_scans(2)
    figure = course_figure(PlottedScans(courses, "long", "a", "b"), row)
    assert len(figure.axes[0].lines[0].get_xdata()) == 24
    assert any("first 24 scans of each" in text for text in texts(figure))


@pytest.mark.parametrize(("dated", "times", "label"), [(True, [0, 4, 8], "days"), (False, [1, 2, 3], "scan number")])
def test_course_figure(dated: bool, times: list[float], label: str) -> None:
    scans, row = fake_scans(2, dated)
    figure = course_figure(scans, row)
    assert len(figure.axes) == 2
    panel = figure.axes[0]
    np.testing.assert_allclose(panel.lines[0].get_xdata(), times)
    np.testing.assert_allclose(panel.lines[0].get_ydata(), scans.courses["reference"][:3])
    np.testing.assert_allclose(panel.lines[1].get_ydata(), scans.courses["test"][:3])
    assert [text.get_text() for text in panel.texts] == ["1", "1"]
    assert [text.get_position()[0] for text in panel.texts] == [(times[0] + times[1]) / 2, (times[1] + times[2]) / 2]
    assert any(text.startswith(label) for text in texts(figure))


def test_marks_of_the_courses_are_the_papers_labels() -> None:
    scans, row = fake_scans(6)
    marks = [text.get_text() for axes in course_figure(scans, row).axes for text in axes.texts]
    assert marks == [str(interval["agree"]) for interval in row["trend_labels"]]
    assert "0" in marks


def test_bland_altman_figure_draws_what_was_computed() -> None:
    scans, row = fake_scans(9)
    figure = bland_altman_figure(scans, row)
    axes = figure.axes[0]
    numbers = row["agreement"]["limits_of_agreement"]["numbers"]
    for name in ("bias", "lower_limit", "upper_limit"):
        assert line_at(axes, numbers[name]["estimate"])
    drawn = np.concatenate([points.get_offsets() for points in axes.collections])
    x, y = (scans.courses[side].to_numpy() for side in ("reference", "test"))
    assert sorted(map(tuple, drawn)) == sorted(zip((x + y) / 2, y - x, strict=True))
    bands = sorted((patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches)
    np.testing.assert_allclose(bands, sorted((n["low"], n["high"]) for n in list(numbers.values())[:3]))
    assert any("9 patients, 27 scans" in text for text in texts(figure))


def test_four_quadrant_figure_draws_changes_and_zone() -> None:
    scans, row = fake_scans(9)
    figure = four_quadrant_figure(scans, row, zone=4.0)
    axes = figure.axes[0]
    drawn = np.concatenate([points.get_offsets() for points in axes.collections])
    assert len(drawn) == row["n_intervals"] == 18
    assert axes.patches[2].get_bbox().bounds == (-4, -4, 8, 8)
    said = " ".join(" ".join(texts(figure)).split())
    assert "18 intervals of 9 patients, both within 4.0 left out" in said


def test_forest_figure_prints_every_interval_and_cuts_long_ones() -> None:
    scans, row = fake_scans(9)
    numbers = row["regression"]["deming"]["numbers"]
    numbers["slope"] |= {"estimate": 0.9, "low": -80.0, "high": 1.1}
    numbers["intercept"] |= {"estimate": None, "low": None, "high": None}
    figure = forest_figure(row, scans.title, scans.unit)
    shown = texts(figure)
    assert "0.90 (−80.00 to 1.10)" in shown
    assert "n/a" in shown
    assert figure.axes[0].get_xlim()[0] > -10
    assert any("9 patients, 27 scans; 95% intervals by patient" in text for text in shown)


def test_detection_figure_with_and_without_a_model() -> None:
    draw = np.random.default_rng(2)
    table = pd.DataFrame({"patient": np.repeat(np.arange(30), 4), "extent": draw.gamma(1.5, 8, 120)})
    table["call"] = (draw.random(120) < 1 / (1 + np.exp(2 - 0.3 * table["extent"]))).astype(int)
    model = fit_detection(table, call="call", extent="extent", patient="patient")
    extents = np.linspace(0, 40, 41)
    figure = detection_figure(model.curve(extents), model.limit_of_detection(), table)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), model.curve(extents)["probability"])
    limit = model.limit_of_detection()["extent"][0]
    assert any(f"50%: {limit:.1f}" in text for text in texts(figure))
    none = fit_detection(table.assign(call=0), call="call", extent="extent", patient="patient")
    empty = detection_figure(none.curve(extents), none.limit_of_detection(), table)
    assert not empty.axes[0].lines


def test_error_budget_figure_has_a_bar_per_factor() -> None:
    draw = np.random.default_rng(3)
    rows = [("nominal", "", s, 1, 20.0) for s in range(5)]
    rows += [(f, level, s, 1, 20 + size * draw.normal()) for f, size in (("kvp", 1), ("pose", 3))
             for level in "ab" for s in range(5)]  # fmt: skip
    budget = error_budget(pd.DataFrame(rows, columns=["factor", "level", "subject", "session", "value"]))
    figure = error_budget_figure(budget, "PA view, dlnet, ratio", "%")
    spread, shift = figure.axes
    assert (spread.get_xlabel(), shift.get_xlabel()) == (
        "standard deviation, % (share of variance)",
        "shift from nominal settings, %",
    )
    assert spread.get_title(loc="left") == "PA view, dlnet, ratio; 5 patients, 5 scans"
    assert error_budget_figure(budget, "probability").axes[1].get_xlabel() == "shift from nominal settings"
    np.testing.assert_allclose([bar.get_width() for bar in spread.patches], budget["sd"])
    assert [label.get_text() for label in spread.get_yticklabels()] == ["pose", "kvp", "total"]
    np.testing.assert_allclose(shift.lines[1].get_xdata()[:2], budget["bias"][:2])


def test_all_text_is_legible_in_print(tmp_path: Path) -> None:
    scans, row = fake_scans(9)
    figures = {
        PAGE_MM: [regression_figure(scans, row), course_figure(scans, row), forest_figure(row, scans.title)],
        COLUMN_MM: [bland_altman_figure(scans, row), four_quadrant_figure(scans, row)],
    }
    for width, drawn in figures.items():
        for figure in drawn:
            assert figure.get_figwidth() * 25.4 <= width + 1e-6
            figure.draw_without_rendering()
            ticks = [text for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
            visible = [text for text in figure.findobj(Text) if text.get_text() and text not in ticks]
            assert min(text.get_fontsize() for text in ticks) >= 7
            assert min(text.get_fontsize() for text in visible) >= 7
            box = figure.bbox
            for text in visible:
                extent = text.get_window_extent()
                assert extent.x0 >= box.x0 - 1, text
                assert extent.x1 <= box.x1 + 1, text


def test_labels_are_spread_only_as_far_as_needed() -> None:
    np.testing.assert_allclose(spread_apart(np.array([0.0, 10.0]), 2.0), [0, 10])
    np.testing.assert_allclose(spread_apart(np.array([0.0, 1.0]), 2.0), [-0.5, 1.5])
    assert np.diff(spread_apart(np.array([0.0, 0.1, 0.2]), 1.0)).min() > 0.99


def test_figures_of_one_scan(tmp_path: Path) -> None:
    rows = [measurement("1", "0", "2020-03-01", 5.0, "opacity", "n/a"),
            measurement("1", "0", "2020-03-01", 7.0, "dlnet", "PA")]  # fmt: skip
    table = pd.DataFrame(rows)
    row = agreement_document(table, "opacity", settings=ComparisonSettings(n_resamples=100))["results"][0]
    scans = PlottedScans.of_study(pair_measurements(table, "opacity"), row)
    figure = regression_figure(scans, row)
    assert figure.legends[0].get_title().get_text().startswith("no regression\n1 patient, 1 scan")
    others = (course_figure(scans, row), bland_altman_figure(scans, row), forest_figure(row, "one"))
    for place, drawn in enumerate((figure, *others)):
        save_figure(drawn, tmp_path / str(place))


def test_of_a_large_table_a_random_sample_is_drawn(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    x = draw.uniform(0, 50, 20_000)
    courses = pd.DataFrame(
        {"patient": np.arange(20_000) // 4, "time": 0, "days": np.nan, "reference": x, "test": x + 1}
    )
    _, row = fake_scans(9)
    scans = PlottedScans(courses, "many", "a", "b")
    figure = bland_altman_figure(scans, row | {"n_scans": 20_000})
    drawn = figure.axes[0].collections[0].get_offsets()
    assert drawn.shape == (5000, 2)
    assert np.isin(drawn[:, 0], (x + (x + 1)) / 2).all()
    # Of a random sample of 5000, the mean is known to 14.4 / sqrt(5000).
    assert drawn[:, 0].mean() == pytest.approx(25.5, abs=4 * 14.4 / np.sqrt(5000))
    np.testing.assert_array_equal(bland_altman_figure(scans, row).axes[0].collections[0].get_offsets(), drawn)
    assert any("20000 scans (5000 drawn)" in text for text in texts(figure))
    captions = {d.kind: d.caption for d in comparison_figures(scans, row | {"n_scans": 20_000}, SETTINGS)}
    for kind in ("regression", "bland-altman"):
        assert "Drawn: a random sample of 5000 of the 20000 scans; all numbers are of all." in captions[kind]
    _, svg = save_figure(figure, tmp_path / "many")
    assert svg.stat().st_size < 2_000_000


def test_saved_figures_are_deterministic_and_leave_no_global_state(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    scans, row = fake_scans(3)
    for folder in ("one", "two"):
        png, svg = save_figure(regression_figure(scans, row), tmp_path / folder / "figure.v1")
        assert (png.name, svg.name) == ("figure.v1.png", "figure.v1.svg")
    assert dict(mpl.rcParams) == before
    for name in ("figure.v1.png", "figure.v1.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one/figure.v1.png") as picture:
        assert picture.width == pytest.approx(PAGE_MM / 25.4 * 300, abs=1)
    assert "a$b$" in (tmp_path / "one/figure.v1.svg").read_text(encoding="utf-8")
