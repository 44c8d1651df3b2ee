"""The sensitivity sweep: conditions against geometry done by hand, results against scorers with known answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from study_factory import results, study_file

from cxr_models.contract import CXRContract, CXRInput, CXRScore
from drrval.cli import main
from drrval.errors import StudyError
from drrval.geometry import view_geometry
from drrval.study import sensitivity
from drrval.study.cohort import PlannedScan
from drrval.study.config import Study
from drrval.study.sweep import SensitivitySettings, conditions, load_sweep

CENTRE = np.array([12.0, -30.0, 250.0])
SCORERS = """
scorers:
  cxr:
    - projected-area
    - {use: "test_sensitivity:Constant", name: constant}
    - {use: "test_sensitivity:MeanImage", name: mean}
"""
STUDY = f"""
name: small
seed: 3
cohort:
  simulate: {{patients: 2, timepoints: 1, seed: 11, spacing_mm: 4.0}}
views: [PA]
{SCORERS}
"""
SWEEP = """
kvp_change: [-20]
sid_change_percent: []
rotation_deg: []
shift_mm: []
exposure_factor: [2]
grid_ratio: []
air_threshold_change_hu: []
soft_tissue_threshold_change_hu: []
noise_repeats: 3
setup_repeats: 2
"""


class Constant:
    """Says 7 % to every image, and nothing else."""

    name = "constant"
    contract = CXRContract()

    def score(self, radiograph: CXRInput) -> CXRScore:
        return CXRScore(7.0)


class MeanImage:
    """Mean brightness of the image, in percent of the brightest."""

    name = "mean"
    contract = CXRContract(value_range=(0.0, 100.0))

    def score(self, radiograph: CXRInput) -> CXRScore:
        return CXRScore(float(radiograph.image.mean(dtype=np.float64)))


class NotDark(MeanImage):
    """Fails on an image without grey values between, which no noise ever leaves."""

    name = "not-dark"
    failing_mean = 0.0

    def score(self, radiograph: CXRInput) -> CXRScore:
        score = super().score(radiograph)
        if score.ratio_percent < self.failing_mean:
            raise ValueError("too dark")
        return score


def a_study(**changes: Any) -> Study:
    return Study.model_validate({"name": "s", "cohort": {"glob": {}}, **changes})


def by_factor(
    study: Study | None = None, sweep: SensitivitySettings | None = None, view: str = "PA"
) -> dict[str, list]:
    found: dict[str, list] = {}
    for condition in conditions(study or a_study(), sweep or SensitivitySettings(), "sub-1_ses-1", view):
        found.setdefault(condition.factor, []).append(condition)
    return found


def run(folder: Path, text: str = STUDY, sweep: str = SWEEP, *options: str) -> int:
    study = study_file(folder, text)
    (folder / "sweep.yaml").write_text(sweep, encoding="utf-8")
    command = ["sensitivity", str(study), "--sweep", str(folder / "sweep.yaml"), "--out", str(folder / "out")]
    return main([*command, "--no-progress", *options])


def table(out: Path, name: str) -> pd.DataFrame:
    read = pd.read_csv(out / f"{name}.tsv", sep="\t", na_values="n/a", dtype={"subject": str, "session": str})
    assert list(read.columns[:3]) == ["view", "scorer", "measure"] or name == "sensitivity"
    return read


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished sweep of two simulated scans."""
    folder = tmp_path_factory.mktemp("sweep")
    assert run(folder) == 0
    return folder / "out"


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
        ("kvp: [3]", "kvp: got .*Extra inputs"),
        ("kvp_change: 10", "kvp_change: got 10"),
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


def test_scans_are_spread_over_the_cohort() -> None:
    scans = [PlannedScan(str(n), "1", "", None, "") for n in range(12)]
    assert [s.subject for s in sensitivity._spread(scans, 4)] == ["0", "4", "7", "11"]
    assert [s.subject for s in sensitivity._spread(scans, 1)] == ["0"]
    assert sensitivity._spread(scans, None) == sensitivity._spread(scans, 99) == scans


def test_nominal_values_are_those_of_the_study(swept: Path) -> None:
    """Image made step by step, without the sweep."""
    from drrval.intake import read_ct
    from drrval.rendering import render
    from drrval.study.fingerprint import noise_seed

    found = table(swept, "sensitivity")
    chosen = found[(found["factor"] == "nominal") & (found["scorer"] == "mean") & (found["subject"] == "01")]
    drr = render(read_ct(swept / "sourcedata/sub-01/ses-01/ct.nii.gz"), "PA", seed=noise_seed(3, "sub-01_ses-01", "PA"))
    assert chosen["value"].item() == pytest.approx(100 * drr.image.mean() / 255, rel=1e-5)


def test_table_holds_every_level_once(swept: Path) -> None:
    found = table(swept, "sensitivity")
    assert list(found) == ["factor", "level", "subject", "session", "view", "scorer", "measure", "value"]
    assert not found.duplicated([c for c in found if c != "value"]).any()
    levels = found[found["scorer"] == "constant"].groupby("subject")["factor"].agg(list)
    expected = ["nominal", "kvp", "exposure", "scatter", "noise", "noise", "setup", "setup"]
    assert levels.tolist() == [expected, expected]
    assert set(found.loc[found["scorer"] == "constant", "measure"]) == {"ratio_percent"}  # it gives no other


def test_budget_of_known_scorers(swept: Path) -> None:
    budget = table(swept, "error_budget").set_index(["scorer", "measure", "factor"])
    constant = budget.loc[("constant", "ratio_percent")]
    assert (constant["sd"] == 0).all()
    assert constant["variance_share"].isna().all()
    # The projected masks know nothing of the beam.
    assert (budget.loc[("projected-area", "ratio_percent"), "sd"] == 0).all()
    mean = budget.loc[("mean", "ratio_percent")]
    assert "setup" not in mean.index
    assert mean.loc["kvp", "sd"] > 0
    assert mean.loc["exposure", "variance_share"] < 0.01 < mean.loc["scatter", "variance_share"]
    assert mean.drop("total")["variance_share"].sum() == pytest.approx(1)


def test_budget_and_shifts_follow_from_the_table(swept: Path) -> None:
    found = table(swept, "sensitivity")
    mean = found[found["scorer"] == "mean"].pivot_table(index="subject", columns="factor", values="value")
    shift = mean["kvp"] - mean["nominal"]
    levels = table(swept, "level_shifts").set_index(["scorer", "factor", "level"])
    assert levels.loc[("mean", "kvp", "-20 kV"), "mean"] == pytest.approx(shift.mean(), abs=2e-4)
    budget = table(swept, "error_budget").set_index(["scorer", "factor"])
    # The variance of two values, nominal and swept, is half their squared difference.
    assert budget.loc[("mean", "kvp"), "sd"] == pytest.approx(np.sqrt((shift**2 / 2).mean()), rel=1e-3)


def test_precision_follows_from_the_table(swept: Path) -> None:
    found = table(swept, "sensitivity")
    precision = table(swept, "precision").set_index(["scorer", "repeats", "quantity"])["estimate"]
    repeats = {"noise": ["nominal", "noise"], "setup": ["setup"]}
    for name, factors in repeats.items():
        values = found[(found["scorer"] == "mean") & found["factor"].isin(factors)].groupby("subject")["value"]
        within = float(np.sqrt(values.var().mean()))
        assert precision.loc[("mean", name, "within_sd")] == pytest.approx(within, rel=0.05, abs=5e-5)
        coefficient = precision.loc[("mean", name, "repeatability_coefficient")]
        assert coefficient == pytest.approx(1.96 * np.sqrt(2) * precision.loc[("mean", name, "within_sd")], rel=1e-4)
        assert precision.loc[("mean", name, "minimal_detectable_change")] == coefficient
    assert 0 < precision.loc[("mean", "noise", "within_sd")] < precision.loc[("mean", "setup", "within_sd")]
    assert precision.loc[("constant", "setup", "within_sd")] == 0


def test_description_and_figures(swept: Path) -> None:
    described = json.loads((swept / "sensitivity.json").read_text())
    swept_factors = set(table(swept, "sensitivity")["factor"])
    assert swept_factors <= set(described["definitions"]["factors"])
    assert described["sweep"]["kvp_change"] == [-20]
    assert described["study"]["seed"] == 3
    assert len(described["provenance"]["code_sha256"]) == 64
    assert [s["status"] for s in described["scans"]] == ["ok", "ok"]
    for suffix in ("png", "svg"):
        assert (swept / f"figures/error_budget_PA_mean_ratio-percent.{suffix}").stat().st_size > 1000


def test_again_recomputes_nothing_and_another_sweep_all(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(swept)
    assert run(swept.parent) == 0
    assert capsys.readouterr().out.count(" cached ") == 2
    assert results(swept) == before


def test_two_jobs_give_the_same_bytes(swept: Path, tmp_path: Path) -> None:
    assert run(tmp_path, STUDY, SWEEP, "--jobs", "2") == 0
    assert results(tmp_path / "out") == results(swept)


def test_without_noise_repeats_are_equal_and_exposure_has_no_share(tmp_path: Path) -> None:
    text = STUDY + "detector: {noise: false}\n"
    assert run(tmp_path, text, SWEEP.replace("setup_repeats: 2", "setup_repeats: 0"), "--scans", "1") == 0
    budget = table(tmp_path / "out", "error_budget").set_index(["scorer", "factor"])
    assert budget.loc[("mean", "exposure"), "variance_share"] == 0
    assert budget.loc[("mean", "noise"), "variance_share"] == 0
    assert budget.loc[("mean", "kvp"), "sd"] > 0
    precision = table(tmp_path / "out", "precision").set_index(["scorer", "repeats", "quantity"])
    assert precision.loc[("mean", "noise", "within_sd"), "estimate"] == 0
    assert "noise" in set(precision.index.get_level_values("repeats"))
    assert "setup" not in set(precision.index.get_level_values("repeats"))


def test_a_bad_scan_does_not_stop_the_sweep_and_is_done_when_mended(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(swept / "sourcedata/sub-01/ses-01/ct.nii.gz", data / "a.nii.gz")
    content = (swept / "sourcedata/sub-02/ses-01/ct.nii.gz").read_bytes()
    (data / "b.nii.gz").write_bytes(content[:3000])
    text = f"name: two\ncohort: {{glob: {{}}}}\nviews: [PA]\n{SCORERS}"
    sweep = SWEEP.replace("setup_repeats: 2", "setup_repeats: 0").replace("noise_repeats: 3", "noise_repeats: 1")
    assert run(tmp_path, text, sweep, "--data-root", str(data)) == 1
    out = tmp_path / "out"
    assert "1 of 2 scans ok" in capsys.readouterr().out.splitlines()[-1]
    assert (out / "logs/crash-sub-b_ses-01.txt").exists()
    assert set(table(out, "sensitivity")["subject"]) == {"a"}
    assert table(out, "error_budget")["n_scans"].eq(1).all()

    (data / "b.nii.gz").write_bytes(content)
    assert run(tmp_path, text, sweep, "--data-root", str(data)) == 0
    log = capsys.readouterr().out
    assert log.count(" cached ") == 1
    assert set(table(out, "sensitivity")["subject"]) == {"a", "b"}
    assert not (out / "logs/crash-sub-b_ses-01.txt").exists()


def test_a_scorer_that_fails_at_one_level_keeps_the_other_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swept: Path
) -> None:
    found = table(swept, "sensitivity")
    mean = found[(found["scorer"] == "mean") & (found["subject"] == "01")].set_index("factor")["value"]
    dark = mean.drop("setup").sort_values()
    monkeypatch.setattr(NotDark, "failing_mean", float(dark.iloc[:2].mean()))  # one level is darker than that
    text = STUDY.replace(':MeanImage", name: mean', ':NotDark", name: mean')
    assert run(tmp_path, text, SWEEP.replace("setup_repeats: 2", "setup_repeats: 0"), "--scans", "1") == 1
    values = table(tmp_path / "out", "sensitivity")
    mean_rows = values[values["scorer"] == "mean"]
    assert mean_rows.loc[mean_rows["value"].isna(), "factor"].tolist() == [dark.index[0]]
    budget = table(tmp_path / "out", "error_budget")
    assert dark.index[0] not in set(budget.loc[budget["scorer"] == "mean", "factor"])
    assert dark.index[0] in set(budget.loc[budget["scorer"] == "constant", "factor"])
    described = json.loads((tmp_path / "out/sensitivity.json").read_text())
    assert described["missing_values"] == [{"view": "PA", "scorer": "mean", "measure": "ratio_percent", "n_missing": 1}]
    assert f"At {dark.index[0]} " in described["scans"][0]["message"]


def test_refusals(swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(text: str, *options: str, out: Callable[[Path], Path] = lambda folder: folder / "out") -> str:
        study = study_file(tmp_path, text)
        assert main(["sensitivity", str(study), "--out", str(out(tmp_path)), *options]) == 2
        return capsys.readouterr().err

    assert "names no radiograph scorer" in refused(STUDY.replace(SCORERS, "\nscorers: {cxr: []}\n"))
    assert "Cannot read the sweep file" in refused(STUDY, "--sweep", str(tmp_path / "absent.yaml"))
    shutil.copytree(swept, tmp_path / "own", ignore=shutil.ignore_patterns("sub-*"))
    described = tmp_path / "own" / "dataset_description.json"
    described.write_text(described.read_text().replace("small-sensitivity", "small"))  # the study's own results
    assert "belongs to the study 'small'" in refused(STUDY, out=lambda folder: folder / "own")
    assert not (tmp_path / "out").exists()


def test_moves_are_told_from_changes_of_the_beam() -> None:
    found = by_factor()
    assert not any(c.moves for name in ("nominal", "kvp", "scatter", "noise") for c in found[name])
    assert all(c.moves for name in ("sid", "rotation_x", "shift_z", "setup") for c in found[name])
    assert replace(found["nominal"][0], shift_mm=(0.0, 1.0, 0.0)).moves
