"""The sensitivity sweep, with scorers whose answers are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import box_thorax
from study_factory import results, study_file

from ct_models.contract import CTInput, CTScore
from cxr_models.contract import CXRContract, CXRInput, CXRScore
from drrval.cli import main
from drrval.intake import read_ct
from drrval.rendering import render
from drrval.study import sensitivity
from drrval.study.cohort import PlannedScan
from drrval.study.fingerprint import noise_seed
from drrval.study.store import write_volume

STUDY = """
name: small
seed: 3
cohort: {glob: {}}
views: [PA]
scorers:
  ct: [{use: "test_sensitivity:BoxLungs", name: box}]
  cxr:
    - projected-area
    - {use: "test_sensitivity:Constant", name: constant}
    - {use: "test_sensitivity:MeanImage", name: mean}
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


FEW = (
    SWEEP.replace("exposure_factor: [2]", "exposure_factor: []")
    .replace("repeats: 3", "repeats: 1")
    .replace("setup_repeats: 2", "setup_repeats: 0")
)


class BoxLungs:
    """Lungs of the box thorax, the lower half of the right one diseased."""

    name = "box"

    def score(self, ct: CTInput) -> CTScore:
        side = np.where(np.arange(ct.hu.shape[2]) < 50, 1, 2).astype(np.uint8)
        lungs = np.where(ct.hu == -850, side, 0).astype(np.uint8)
        lesion = (lungs == 1) & (np.arange(ct.hu.shape[0]) < 30)[:, None, None]
        return CTScore(lungs, lesion, 25.0, 50.0, 0.0, 100.0, 25.0)


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
    """Fails on images darker than :attr:`failing_mean`."""

    name = "not-dark"
    failing_mean = 0.0

    def score(self, radiograph: CXRInput) -> CXRScore:
        score = super().score(radiograph)
        if score.ratio_percent < self.failing_mean:
            raise ValueError("too dark")
        return score


def run(folder: Path, data: Path, *options: str, text: str = STUDY, sweep: str = SWEEP) -> int:
    """Sweep the scans in ``data`` into ``folder/out``."""
    study = study_file(folder, text)
    (folder / "sweep.yaml").write_text(sweep, encoding="utf-8")
    command = ["sensitivity", str(study), "--sweep", str(folder / "sweep.yaml"), "--data-root", str(data)]
    return main([*command, "--out", str(folder / "out"), "--no-progress", *options])


def table(out: Path, name: str) -> pd.DataFrame:
    read = pd.read_csv(out / f"{name}.tsv", sep="\t", na_values="n/a", dtype={"subject": str, "session": str})
    assert list(read.columns[:3]) == ["view", "scorer", "measure"] or name == "sensitivity"
    return read


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two scans, ``a.nii.gz`` and the larger ``b.nii.gz``."""
    folder = tmp_path_factory.mktemp("data")
    for name, spacing_mm in (("a", 4.0), ("b", 4.2)):
        ct = box_thorax(spacing_mm=spacing_mm)
        write_volume(folder / f"{name}.nii.gz", ct.hu.astype(np.int16), ct.grid)
    return folder


@pytest.fixture(scope="module")
def swept(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished sweep of both scans."""
    folder = tmp_path_factory.mktemp("sweep")
    assert run(folder, data) == 0
    return folder / "out"


def test_scans_are_spread_over_the_cohort() -> None:
    scans = [PlannedScan(str(n), "1", "", None, "") for n in range(12)]
    assert [s.subject for s in sensitivity._spread(scans, 4)] == ["0", "4", "7", "11"]
    assert [s.subject for s in sensitivity._spread(scans, 1)] == ["0"]
    assert sensitivity._spread(scans, None) == sensitivity._spread(scans, 99) == scans


def test_nominal_values_are_those_of_the_study(swept: Path, data: Path) -> None:
    found = table(swept, "sensitivity")
    chosen = found[(found["factor"] == "nominal") & (found["scorer"] == "mean") & (found["subject"] == "a")]
    drr = render(read_ct(data / "a.nii.gz"), "PA", seed=noise_seed(3, "sub-a_ses-01", "PA"))
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
    budget = table(swept, "error_budget").set_index(["scorer", "measure", "factor"]).sort_index()
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
    levels = table(swept, "level_shifts").set_index(["scorer", "factor", "level"]).sort_index()
    assert levels.loc[("mean", "kvp", "-20 kV"), "mean"] == pytest.approx(shift.mean(), abs=2e-4)
    budget = table(swept, "error_budget").set_index(["scorer", "factor"]).sort_index()
    # The variance of two values, nominal and swept, is half their squared difference.
    assert budget.loc[("mean", "kvp"), "sd"] == pytest.approx(np.sqrt((shift**2 / 2).mean()), rel=1e-3)


def test_precision_follows_from_the_table(swept: Path) -> None:
    found = table(swept, "sensitivity")
    precision = table(swept, "precision").query("measure == 'ratio_percent'")
    precision = precision.set_index(["scorer", "repeats", "quantity"]).sort_index()["estimate"]
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
    # The projected masks move with the patient.
    assert precision.loc[("projected-area", "noise", "within_sd")] == 0
    assert precision.loc[("projected-area", "setup", "within_sd")] > 0


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
    captions = json.loads((swept / "figures/captions.json").read_text())
    assert set(captions) == {path.stem for path in (swept / "figures").glob("*.png")}
    assert "2 patients, 2 scans, one setting changed at a time" in captions["error_budget_PA_mean_ratio-percent"]


def test_again_recomputes_nothing(swept: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(swept)
    assert run(swept.parent, data) == 0
    assert capsys.readouterr().out.count(" cached ") == 2
    assert results(swept) == before


@pytest.mark.slow
def test_two_jobs_give_the_same_bytes(swept: Path, data: Path, tmp_path: Path) -> None:
    assert run(tmp_path, data, "--jobs", "2") == 0
    assert results(tmp_path / "out") == results(swept)


@pytest.mark.slow
def test_simulated_scans_can_be_swept(tmp_path: Path) -> None:
    text = STUDY.replace("{glob: {}}", "{simulate: {patients: 1, timepoints: 1, spacing_mm: 4.0}}")
    text = text.replace('{use: "test_sensitivity:BoxLungs", name: box}', "opacity")
    assert run(tmp_path, tmp_path, text=text, sweep=FEW) == 0
    assert table(tmp_path / "out", "error_budget")["n_patients"].eq(1).all()


def test_another_sweep_is_computed_anew_and_without_noise_repeats_are_equal(
    swept: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(swept, tmp_path / "out")
    text = STUDY + "detector: {noise: false}\n"
    assert (
        run(tmp_path, data, "--scans", "1", text=text, sweep=SWEEP.replace("setup_repeats: 2", "setup_repeats: 0")) == 0
    )
    assert " cached " not in capsys.readouterr().out
    budget = table(tmp_path / "out", "error_budget").set_index(["scorer", "factor"]).sort_index()
    assert budget.loc[("mean", "exposure"), "variance_share"] == 0
    assert budget.loc[("mean", "noise"), "variance_share"] == 0
    assert budget.loc[("mean", "kvp"), "sd"] > 0
    precision = table(tmp_path / "out", "precision")
    assert precision.loc[precision["quantity"] == "within_sd", "estimate"].eq(0).all()
    assert set(precision["repeats"]) == {"noise"}


def test_a_bad_scan_does_not_stop_the_sweep_and_is_done_when_mended(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(data, tmp_path / "data")
    content = (copied / "b.nii.gz").read_bytes()
    (copied / "b.nii.gz").write_bytes(content[:3000])
    assert run(tmp_path, copied, sweep=FEW) == 1
    out = tmp_path / "out"
    assert "1 of 2 scans ok" in capsys.readouterr().out.splitlines()[-1]
    assert (out / "logs/crash-sub-b_ses-01.txt").exists()
    assert set(table(out, "sensitivity")["subject"]) == {"a"}
    assert table(out, "error_budget")["n_scans"].eq(1).all()

    (copied / "b.nii.gz").write_bytes(content)
    assert run(tmp_path, copied, sweep=FEW) == 0
    assert capsys.readouterr().out.count(" cached ") == 1
    assert set(table(out, "sensitivity")["subject"]) == {"a", "b"}
    assert not (out / "logs/crash-sub-b_ses-01.txt").exists()


def test_when_every_scan_fails_the_tables_are_empty(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.nii.gz").write_bytes(b"no CT")
    assert run(tmp_path, tmp_path / "data") == 1
    for name in ("sensitivity", "error_budget", "level_shifts", "precision"):
        assert table(tmp_path / "out", name).empty
    assert json.loads((tmp_path / "out/sensitivity.json").read_text())["scans"][0]["status"] == "failed"


def test_a_scorer_that_fails_at_one_level_keeps_the_other_values(
    swept: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = table(swept, "sensitivity")
    mean = found[(found["scorer"] == "mean") & (found["subject"] == "a")].set_index("factor")["value"]
    monkeypatch.setattr(NotDark, "failing_mean", float(mean[["nominal", "scatter"]].mean()))  # scatter-free is darker
    text = STUDY.replace(':MeanImage", name: mean', ':NotDark", name: mean')
    sweep = FEW.replace("kvp_change: [-20]", "kvp_change: []")
    assert run(tmp_path, data, "--scans", "1", text=text, sweep=sweep) == 1
    values = table(tmp_path / "out", "sensitivity")
    assert values.loc[values["value"].isna(), ["scorer", "factor"]].to_numpy().tolist() == [["mean", "scatter"]]
    budget = table(tmp_path / "out", "error_budget")
    assert "scatter" in set(budget.loc[budget["scorer"] == "constant", "factor"])
    assert "scatter" not in set(budget.loc[budget["scorer"] == "mean", "factor"])
    described = json.loads((tmp_path / "out/sensitivity.json").read_text())
    missing = {"view": "PA", "scorer": "mean", "measure": "ratio_percent", "n_missing": 1}
    assert described["missing_values"] == [missing]
    assert "At scatter none: " in described["scans"][0]["message"]


def test_refusals(swept: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*options: str, text: str = STUDY) -> str:
        command = ["sensitivity", str(study_file(tmp_path, text)), "--data-root", str(data)]
        assert main([*command, "--out", str(tmp_path / "out"), *options]) == 2
        return capsys.readouterr().err

    assert "names no radiograph scorer" in refused(text=STUDY[: STUDY.index("  cxr:")] + "  cxr: []\n")
    assert "Cannot read the sweep file" in refused("--sweep", str(tmp_path / "absent.yaml"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    described = (swept / "dataset_description.json").read_text().replace("small-sensitivity", "small")
    (tmp_path / "out/dataset_description.json").write_text(described)  # as of the study's own results
    assert "belongs to the study 'small'" in refused()
