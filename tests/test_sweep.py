"""The conditions of a sensitivity sweep, against geometry done by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from drrval.errors import StudyError
from drrval.geometry import view_geometry
from drrval.study.config import Study
from drrval.study.sweep import Condition, SensitivitySettings, conditions, load_sweep

CENTRE = np.array([12.0, -30.0, 250.0])


def a_study(**changes: Any) -> Study:
    return Study.model_validate({"name": "s", "cohort": {"glob": {}}, **changes})


def by_factor(
    study: Study | None = None, sweep: SensitivitySettings | None = None, view: str = "PA"
) -> dict[str, list[Condition]]:
    found: dict[str, list[Condition]] = {}
    for condition in conditions(study or a_study(), sweep or SensitivitySettings(), "sub-1_ses-1", view):
        found.setdefault(condition.factor, []).append(condition)
    return found


def test_default_factors_each_change_one_thing_by_the_stated_amount() -> None:
    found = by_factor()
    nominal = found.pop("nominal")[0]
    assert [c.spectrum.kvp for c in found["kvp"]] == [110, 130]
    assert [c.detector.photons_per_pixel for c in found["exposure"]] == [5e4, 2e5]
    assert [c.scatter.model for c in found["scatter"]] == ["none"]
    assert [c.scatter.grid_ratio for c in found["grid_ratio"]] == [8, 10]
    assert [c.materials.air_max_hu for c in found["air_threshold"]] == [-850, -750]
    assert [c.materials.soft_tissue_max_hu for c in found["soft_tissue_threshold"]] == [300, 400]
    assert [c.level for c in found["rotation_y"]] == ["-5 deg", "-3 deg", "+3 deg", "+5 deg"]
    for factor, levels in found.items():
        if factor in ("noise", "setup"):
            assert len({c.seed for c in levels} | {nominal.seed}) == len(levels) + 1
            continue
        for condition in levels:
            changed = {k for k, v in vars(condition).items() if v != getattr(nominal, k)} - {"factor", "level"}
            assert len(changed) == 1, factor
    assert len(found["noise"]) == 4  # the nominal image is the first of five


def test_an_air_kerma_is_scaled_in_place_of_the_photons() -> None:
    levels = by_factor(a_study(detector={"air_kerma_ugy": 8.0}))["exposure"]
    assert [(c.detector.air_kerma_ugy, c.detector.photons_per_pixel) for c in levels] == [(4.0, None), (16.0, None)]


@pytest.mark.parametrize(
    ("settings", "view", "absent"),
    [
        ({}, "AP", {"grid_ratio"}),  # the bedside preset has no grid
        ({"scatter": {"model": "none"}}, "PA", {"scatter", "grid_ratio"}),
        ({"scatter": {"grid_selectivity": 6}}, "PA", {"grid_ratio"}),
    ],
)
def test_levels_that_would_change_nothing_are_left_out(settings: dict[str, Any], view: str, absent: set[str]) -> None:
    assert set(by_factor()) - set(by_factor(a_study(**settings), view=view)) == absent


@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_a_moved_patient_is_imaged_where_the_moved_points_are(view: str) -> None:
    preset = a_study(views=[view]).preset(view)
    points = CENTRE + np.random.default_rng(1).uniform(-100, 100, (20, 3))
    still = view_geometry(view, isocentre_mm=CENTRE, preset=preset)
    for factor, levels in by_factor(a_study(views=[view]), view=view).items():
        for condition in levels:
            turn = Rotation.from_rotvec(np.deg2rad(condition.rotation_deg))
            moved = turn.apply(points - CENTRE) + CENTRE + condition.shift_mm
            geometry = condition.geometry(view, preset, CENTRE)
            if factor == "sid":
                still_at = view_geometry(view, isocentre_mm=CENTRE, sid_mm=still.sid_mm * condition.sid_factor)
                assert geometry.sid_mm == pytest.approx(still.sid_mm * (0.95 if "-" in condition.level else 1.05))
            else:
                still_at = still
            assert geometry.project_points(points) == pytest.approx(still_at.project_points(moved), abs=1e-9)


def test_directions_of_shift_and_rotation_in_the_pa_image() -> None:
    study = a_study()
    found = by_factor(study)

    def imaged(factor: str, level: str, point: list[float]) -> np.ndarray:
        condition = next(c for c in found[factor] if c.level == level)
        return condition.geometry("PA", "chest-pa", CENTRE).project_points(CENTRE + point) - 511.5

    pixels = 10 * 1800 / (1800 - 170) / 0.42
    assert imaged("shift_x", "+10 mm", [0, 0, 0]) == pytest.approx([0, pixels])  # patient's left: right of the image
    assert imaged("shift_z", "+10 mm", [0, 0, 0]) == pytest.approx([-pixels, 0])  # towards the head: up
    # Turned to their left (+z), the sternum, in front of the centre, goes to the patient's left.
    assert imaged("rotation_z", "+5 deg", [0, -100, 0])[1] > 0
    # A patient who moves to the front comes nearer to the panel of a PA view.
    forward = next(c for c in found["shift_y"] if c.level == "-10 mm").geometry("PA", "chest-pa", CENTRE)
    assert forward.isocentre_to_detector_mm == pytest.approx(160)


def test_nominal_geometry_is_the_one_that_render_makes() -> None:
    nominal = by_factor()["nominal"][0]
    assert nominal.geometry("PA", "chest-pa", CENTRE) == view_geometry("PA", isocentre_mm=CENTRE, preset="chest-pa")


def test_setup_repeats_have_the_stated_spread() -> None:
    sweep = SensitivitySettings(
        setup_repeats=1000, setup_rotation_sd_deg=2, setup_shift_sd_mm=6, setup_exposure_cv_percent=20
    )
    repeats = by_factor(sweep=sweep)["setup"]
    # Standard error of a standard deviation of 1000 numbers: 2.2 %; five of them.
    assert np.std([c.rotation_deg for c in repeats], axis=0) == pytest.approx([2] * 3, rel=0.11)
    assert np.std([c.shift_mm for c in repeats], axis=0) == pytest.approx([6] * 3, rel=0.11)
    exposure = np.array([c.detector.photons_per_pixel for c in repeats])
    assert np.median(exposure) == pytest.approx(1e5, rel=0.04)
    assert np.std(exposure) / np.mean(exposure) == pytest.approx(0.2, rel=0.12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kvp: [3]", "kvp: unknown key. Expected one of: kvp_change, sid_change_percent"),
        ("kvp_change: [5]\nkvp_change: [-5]", "given twice"),
        ("kvp_change: 10", "kvp_change: got 10. It must be a list"),
        ("kvp_change: [5, 5]", "lists a level twice"),
        ("kvp_change: [.nan]", "finite number"),
        ("exposure_factor: [0]", "greater than 0"),
        ("rotation_deg: [90]", "less than or equal to 45"),
        ("- 1", "must hold a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_sweep_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        load_sweep(path)


def test_a_level_beyond_its_setting_and_a_missing_file_are_refused() -> None:
    with pytest.raises(StudyError, match=r"Level kvp \+40 kV .* kvp 160: .*less than or equal to 150"):
        conditions(a_study(), SensitivitySettings(kvp_change=(40,)), "s", "PA")
    with pytest.raises(StudyError, match="Cannot read the sweep file"):
        load_sweep(Path("absent.yaml"))


def test_moves_are_told_from_changes_of_the_beam() -> None:
    found = by_factor()
    assert not any(c.moves for name in ("nominal", "kvp", "scatter", "noise") for c in found[name])
    assert all(c.moves for name in ("sid", "rotation_x", "shift_z", "setup") for c in found[name])
    assert replace(found["nominal"][0], shift_mm=(0.0, 1.0, 0.0)).moves
