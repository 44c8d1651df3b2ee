"""``drrval score-ct``: tables, masks and pictures of every scan, whatever happens to the others."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import dicom_factory as factory
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from conftest import box_thorax
from PIL import Image

from ct_models.contract import CTInput, CTScore
from ct_models.lungs import LUNG_FLAGS
from ct_models.plausibility import PLAUSIBILITY_FLAGS
from drrval.cli import main
from drrval.ct_scoring import dicom_seg, one
from drrval.ct_scoring.flags import MEANINGS
from drrval.ct_scoring.scans import label_paths, plan_scans
from drrval.ct_scoring.tables import SCAN_SLICE_DICTIONARY, SCORE_DICTIONARY
from drrval.intake import read_ct
from drrval.study.store import write_volume
from drrval.volume import CTVolume

SCORER = "test_score_ct:LungsByValue"
FRAME_OF_REFERENCE = {"FrameOfReferenceUID": "1.2.3.5", "StudyTime": "120000", "StudyID": "1"}
calls: list[tuple[int, ...]] = []


class LungsByValue:
    """Right and left lung told apart by the phantom's values; the right lung above a height is diseased."""

    name = "by-value"

    def score(self, ct: CTInput) -> CTScore:
        calls.append(ct.hu.shape)
        lungs = np.select([ct.hu == -850, ct.hu == -840], [1, 2], 0).astype(np.uint8)
        if not lungs.any():
            raise ValueError("no lungs found")
        lesion = (lungs == 1) & (np.arange(len(lungs)) >= 20)[:, None, None]
        cm3 = float(np.prod(ct.spacing_mm)) / 1000
        sizes = [np.count_nonzero(lungs == side) for side in (1, 2)]
        return CTScore(
            lungs, lesion, 100 * lesion.sum() / sum(sizes), 100 * lesion.sum() / sizes[0], 0.0, sum(sizes) * cm3,
            lesion.sum() * cm3, 0.9, (lesion.any(axis=(1, 2)) * 0.9).astype(np.float32), ("lung_volume_small",),
        )  # fmt: skip


def run(*arguments: object) -> int:
    return main(["score-ct", *map(str, arguments), "--scorer", SCORER, "--no-progress"])


def scores(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "scores.tsv", sep="\t", keep_default_na=False, na_values=["n/a"]).set_index("scan")


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good scans and a bad one: a DICOM series, a volume stored head to feet, and a series with a hole."""
    folder = tmp_path_factory.mktemp("cts")
    factory.write_series(folder / "series", **FRAME_OF_REFERENCE)
    image = sitk.ReadImage(write_phantom(folder / "phantom.nii.gz"))
    sitk.WriteImage(sitk.Flip(image, [True, False, True]), str(folder / "phantom.nii.gz"))
    factory.write_series(folder / "holes", skip=range(8, 13))
    (folder / "phantom_lungs.nii.gz").write_bytes(b"a mask that is passed over")
    return folder


def write_phantom(path: Path) -> Path:
    ct = read_ct(factory.write_series(path.parent / ".scratch")[0].parent)
    write_volume(path, ct.hu.astype(np.int16), ct.grid)
    shutil.rmtree(path.parent / ".scratch")
    return path


@pytest.fixture(scope="module")
def scored(cts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scored") / "out"
    assert run(cts, "--out", out) == 1
    return out


def test_every_scan_has_a_row_and_a_bad_one_says_why(scored: Path) -> None:
    table = pd.read_csv(scored / "scores.tsv", sep="\t", keep_default_na=False)
    assert list(table.columns) == list(SCORE_DICTIONARY)
    assert table["scan"].tolist() == ["holes", "phantom", "series"]
    bad, *good = table.to_dict("records")
    assert bad["status"] == "failed"
    assert "holes was rejected by rule 'missing_slices': 5 slices are missing" in bad["message"]
    assert "Copy the whole series again" in bad["message"]
    assert bad["intake"] == "rejected"
    assert not (scored / "logs").exists()  # the message says it all
    assert not (scored / "holes").exists()
    for row in good:
        assert (row["status"], row["intake"], row["message"], row["scorer"]) == ("ok", "accepted", "n/a", SCORER)
        assert float(row["ratio_percent"]) == pytest.approx(
            100 * float(row["corona_cm3"]) / float(row["lung_cm3"]), rel=1e-5
        )
        assert float(row["seconds"]) >= 0
        assert "lung_volume_small" in row["flags"].split(";")


def test_the_same_scan_from_two_formats_scores_the_same(scored: Path) -> None:
    table = scores(scored)
    numbers = ["lung_cm3", "corona_cm3", "ratio_percent", "ratio_right_percent", "p_pneumonia"]
    assert table.loc["series", numbers].tolist() == table.loc["phantom", numbers].tolist()
    assert table.loc["series", "ratio_right_percent"] > table.loc["series", "ratio_percent"] > 0
    assert table.loc["series", "ratio_left_percent"] == 0


def test_slices_name_their_dicom_image(scored: Path, cts: Path) -> None:
    table = pd.read_csv(scored / "slices.tsv", sep="\t", dtype=str)
    assert list(table.columns) == list(SCAN_SLICE_DICTIONARY)
    series = table[table["scan"] == "series"]
    assert len(series) == factory.N_SLICES == (table["scan"] == "phantom").sum()
    assert series["z_mm"].astype(float).tolist() == factory.axial_positions()[:, 2].tolist()
    assert series["instance_number"].astype(int).tolist() == list(range(1, factory.N_SLICES + 1))
    assert series["sop_instance_uid"].nunique() == factory.N_SLICES
    assert table.loc[table["scan"] == "phantom", "sop_instance_uid"].isna().all()
    diseased = series["lesion_cm2"].astype(float) > 0
    assert (diseased == (series["probability"].astype(float) > 0)).all()
    assert series.index[diseased][0] - series.index[0] == 20
    volume = series["lesion_cm2"].astype(float).sum() * factory.SPACING / 10
    assert volume == pytest.approx(scores(scored).loc["series", "corona_cm3"], rel=1e-5)


def test_label_map_lies_on_the_voxels_of_the_file(scored: Path, cts: Path) -> None:
    ct = sitk.ReadImage(cts / "phantom.nii.gz")
    labels = sitk.ReadImage(scored / "phantom" / "ct_test-score-ct-LungsByValue_labels.nii.gz")
    assert labels.GetSize() == ct.GetSize()
    assert labels.GetOrigin() == pytest.approx(ct.GetOrigin())
    assert labels.GetDirection() == pytest.approx(ct.GetDirection())
    assert labels.GetSpacing() == pytest.approx(ct.GetSpacing())
    hu, codes = sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(labels)
    assert set(np.unique(codes)) == {0, 1, 2, 3}
    assert (np.isin(codes, (1, 3)) == (hu == -850)).all()
    assert ((codes == 2) == (hu == -840)).all()
    assert (codes[:8] == 3).any()  # stored head first
    assert not (codes[8:] == 3).any()


def test_files_of_a_scan(scored: Path) -> None:
    stem = "ct_test-score-ct-LungsByValue"
    found = {path.name for path in (scored / "series").iterdir()}
    assert {f"{stem}_labels.nii.gz", f"{stem}.png", "slices.tsv", "scan.json"} <= found
    assert (f"{stem}_seg.dcm" in found) == (dicom_seg.highdicom_version() is not None)
    assert not (scored / "phantom" / f"{stem}_seg.dcm").exists()
    with Image.open(scored / "series" / f"{stem}.png") as picture:
        assert picture.width > 1500
    assert not (scored / "work").exists()
    for name, dictionary in (("scores", SCORE_DICTIONARY), ("slices", SCAN_SLICE_DICTIONARY)):
        assert json.loads((scored / f"{name}.json").read_text()) == dictionary


def test_finished_scans_are_kept_and_a_mended_one_is_scored(cts: Path, scored: Path, tmp_path: Path) -> None:
    before = files(scored)
    calls.clear()
    assert run(cts, "--out", scored) == 1
    assert calls == []
    assert files(scored) == before
    mended, out = tmp_path / "mended", tmp_path / "out"
    shutil.copytree(cts, mended)
    shutil.copytree(scored, out)
    shutil.rmtree(mended / "holes")
    factory.write_series(mended / "holes", **FRAME_OF_REFERENCE)
    assert run(mended, "--out", out) == 0
    assert len(calls) == 1
    assert scores(out)["status"].tolist() == ["ok"] * 3


def test_an_unfinished_scan_is_scored_again(cts: Path, scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(scored, out)
    (out / "phantom" / "slices.tsv").unlink()
    calls.clear()
    run(cts, "--out", out)
    assert len(calls) == 1
    assert (out / "phantom" / "slices.tsv").is_file()


def test_other_scans_of_the_same_name_are_not_overwritten(cts: Path, scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(scored, out)
    factory.write_series(tmp_path / "series", factory.axial_positions(30))
    before = files(out / "series")
    assert run(tmp_path / "series", "--out", out) == 1
    assert "holds the results of another scan of that name" in scores(out).loc["series", "message"]
    assert files(out / "series") == before


def test_control_beside_the_scorer(tmp_path: Path) -> None:
    """The classical scorer finds no lesion in open lungs, so a scorer that does disagrees with it."""
    ct = box_thorax()
    hu = ct.hu.copy()
    hu[hu == -850] = np.broadcast_to(np.where(np.arange(hu.shape[2]) < 50, -850, -840), hu.shape)[hu == -850]
    write_volume(tmp_path / "ct.mha", hu, ct.grid)
    assert run(tmp_path / "ct.mha", "--out", tmp_path / "out") == 0
    row = scores(tmp_path / "out").loc["ct"]
    assert row["opacity_ratio_percent"] == pytest.approx(0, abs=1)
    assert row["ratio_percent"] > 20
    assert row["flags"].split(";") == ["lung_volume_small", "ct_scorers_disagree"]
    assert (tmp_path / "out" / "ct" / "ct_opacity_labels.nii.gz").is_file()


def test_a_control_that_fails_does_not_fail_the_scan(
    cts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(one, "CONTROL", "test_score_ct:Nothing")
    assert run(cts / "phantom.nii.gz", "--out", tmp_path / "out") == 0
    row = scores(tmp_path / "out").loc["phantom"]
    assert row["flags"].split(";") == ["lung_volume_small", "control_failed"]
    assert np.isnan(row["opacity_ratio_percent"])
    assert "RuntimeError: nothing here" in capsys.readouterr().out


class Nothing:
    name = "nothing"

    def score(self, ct: CTInput) -> CTScore:
        raise RuntimeError("nothing here")


def test_without_highdicom_a_note(
    cts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("dicom_seg", "one", "run"):
        monkeypatch.setattr(f"drrval.ct_scoring.{module}.highdicom_version", lambda: None)
    assert run(cts / "series", "--out", tmp_path / "out") == 0
    assert "Install drrval with the extra 'seg'" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*_seg.dcm"))
    assert scores(tmp_path / "out").loc["series", "status"] == "ok"


def test_headers_that_allow_no_segmentation_do_not_fail_the_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factory.write_series(tmp_path / "series")  # without a frame of reference
    assert run(tmp_path / "series", "--out", tmp_path / "out") == 0
    assert "no_dicom_seg" in scores(tmp_path / "out").loc["series", "flags"].split(";")
    assert "no DICOM segmentation: the headers of the series do not allow" in capsys.readouterr().out


def test_a_scorer_that_fails_is_named(cts: Path, tmp_path: Path) -> None:
    ct = box_thorax()
    write_volume(tmp_path / "other.nrrd", np.where(ct.hu == -850, -860, ct.hu), ct.grid)
    assert run(tmp_path / "other.nrrd", cts / "phantom.nii.gz", "--out", tmp_path / "out") == 1
    table = scores(tmp_path / "out")
    assert table["status"].tolist() == ["failed", "ok"]
    assert table["intake"].tolist() == ["accepted", "accepted"]
    assert "other.nrrd: ValueError: no lungs found" in table.loc["other", "message"]
    assert (tmp_path / "out" / "logs" / "crash-other.txt").read_text().startswith("Traceback")


def test_a_scan_without_a_ratio_is_incomplete_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ct = box_thorax()
    half = CTVolume(ct.hu[:, :, :50].copy(), replace(ct.grid, shape=(60, 90, 50)), ct.scanned[:, :50], "half")
    write_volume(tmp_path / "half.nii.gz", half.hu, half.grid)
    out = tmp_path / "out"
    assert main(["score-ct", str(tmp_path / "half.nii.gz"), "--scorer", "opacity", "--out", str(out)]) == 1
    row = scores(out).loc["half"]
    assert (row["status"], row["flags"]) == ("incomplete", "left_lung_missing")
    assert np.isnan(row[["ratio_percent", "ratio_left_percent", "opacity_ratio_percent"]].astype(float)).all()
    assert row["ratio_right_percent"] >= 0
    assert row["lung_cm3"] > 1000
    assert "There is no ratio of both lungs. The left lung was not found" in row["message"]
    printed = capsys.readouterr().out
    assert "half INCOMPLETE: There is no ratio of both lungs." in printed
    assert "0 of 1 scans scored (1 more without a ratio of both lungs)" in printed
    assert (out / "half" / "ct_opacity.png").is_file()


def test_a_repaired_scan_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ct = box_thorax()
    noisy = ct.hu + np.random.default_rng(0).normal(0, 8, ct.hu.shape)
    write_volume(tmp_path / "offset.nii.gz", (np.maximum(noisy, -1024) + 1024).astype(np.int16), ct.grid)
    assert main(["score-ct", str(tmp_path / "offset.nii.gz"), "--scorer", "opacity", "--out", str(tmp_path / "o")]) == 0
    assert scores(tmp_path / "o").loc["offset", "intake"] == "repaired"
    printed = capsys.readouterr().out
    assert "offset ok (repaired): ratio" in printed
    assert "offset.nii.gz was repaired by rule 'value_range'" in printed


def test_every_flag_has_a_meaning_in_the_docs() -> None:
    assert set(MEANINGS) >= {*LUNG_FLAGS, *PLAUSIBILITY_FLAGS}
    text = (Path(__file__).parents[1] / "docs" / "ct-scoring.md").read_text(encoding="utf-8")
    assert all(f"`{flag}`" in text for flag in MEANINGS)


@pytest.mark.slow
def test_workers_give_the_same_tables(cts: Path, scored: Path, tmp_path: Path) -> None:
    assert run(cts, "--out", tmp_path / "out", "--jobs", 2) == 1
    assert (tmp_path / "out" / "slices.tsv").read_bytes() == (scored / "slices.tsv").read_bytes()
    pd.testing.assert_frame_equal(
        scores(tmp_path / "out").drop(columns="seconds"), scores(scored).drop(columns="seconds")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CT", "--scorer", "nonsense"], "Unknown CT scorer 'nonsense'. Installed: .*opacity"),
        (["CT", "--scorer", "opacity", "--out", "SCORED"], "holds results of the scorer 'test_score_ct.*Give another"),
        (["CT", "--scorer", "opacity", "--out", "FOREIGN"], "holds foreign files. Give a new or empty folder"),
        (["CT", "--scorer", "opacity", "--out", "CT"], "is a file. Give a folder"),
        (["SCORED", "--scorer", SCORER, "--out", "SCORED"], "only files of the output folder"),
        (["CT", "NOWHERE", "--scorer", SCORER], "nowhere does not exist. Check the path"),
        (["EMPTY", "--scorer", SCORER], "No scan was found in .*empty: no DICOM image.*Name scans, or folders"),
    ],
)
def test_what_stops_the_command(
    cts: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"CT": cts / "phantom.nii.gz", "SCORED": scored, "FOREIGN": cts}
    places |= {"NOWHERE": tmp_path / "nowhere", "EMPTY": tmp_path / "empty"}
    given = [str(places.get(argument, argument)) for argument in arguments]
    assert main(["score-ct", *given, *([] if "--out" in given else ["--out", str(tmp_path / "out")])]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_installed_scorer_that_cannot_be_imported(
    cts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("broken", "no_such_package:Scorer", "drrval.ct_models")
    monkeypatch.setattr("drrval.study.scorers.entry_points", lambda group: [broken])
    assert main(["score-ct", str(cts / "phantom.nii.gz"), "--scorer", "broken", "--out", str(tmp_path / "out")]) == 2
    assert "Cannot load the scorer 'broken' (no_such_package:Scorer): No module" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_series_uid_chooses(tmp_path: Path) -> None:
    factory.write_series(tmp_path / "both", prefix="a", SeriesInstanceUID="1.2.8", **FRAME_OF_REFERENCE)
    factory.write_series(
        tmp_path / "both", factory.axial_positions(24), prefix="b", SeriesInstanceUID="1.2.9", **FRAME_OF_REFERENCE
    )
    assert run(tmp_path / "both", "--series-uid", "1.2.9", "--out", tmp_path / "out") == 0
    table = pd.read_csv(tmp_path / "out" / "slices.tsv", sep="\t")
    assert len(table) == 24
    assert table["instance_number"].tolist() == list(range(1, 25))


def test_scans_under_the_output_folder_are_not_scored(cts: Path, tmp_path: Path) -> None:
    shutil.copytree(cts / "series", tmp_path / "series")
    out = tmp_path / "out"
    assert run(tmp_path, "--out", out) == 0
    assert [scan.label for scan in plan_scans([tmp_path, tmp_path / "series"], out)] == ["series"]


def test_labels_are_short_and_differ() -> None:
    given = [
        "/d/a/ct.nii.gz",
        "/d/b/ct.nii.gz",
        "/d/b/x y.mha",
        "/d/lung.nii.gz",
        "/d/lung.mha",
        "/d/c/s+1",
        "/d/c/s 1",
    ]
    assert label_paths([Path(path) for path in given]) == [
        "a-ct", "b-ct", "x-y", "lung.nii.gz", "lung.mha", "s-1-2", "s-1-3",
    ]  # fmt: skip
    assert label_paths([Path("/ct.nii.gz")]) == ["ct"]
