"""``drrval score``: radiographs without a truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate_factory import SIZE, picture
from PIL import Image
from test_evaluate_images import RAMP, dicom

from drrval.cli import main
from drrval.evaluation.picture import PANEL_WIDTH
from drrval.evaluation.score import COLUMNS
from drrval.report.overlays import LESION_COLOUR, LUNG_COLOUR

SCORER = "evaluate_factory:GreyScorer"


def score(out: Path, *images: Path, options: tuple[str, ...] = ()) -> tuple[int, pd.DataFrame]:
    paths = [str(image) for image in images]
    code = main(["score", *paths, "--out", str(out), "--scorer", SCORER, "--no-progress", *options])
    return code, pd.read_csv(out, sep="\t").set_index("image")


def test_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = {"right": (20, 60, 0, 50), "left": (20, 60, 50, 100), "lesion": (20, 30, 0, 50)}
    first, second = picture(tmp_path / "a.png", 70, 3.2, **boxes), dicom(tmp_path / "b", ViewPosition="AP")
    code, table = score(tmp_path / "scores.tsv", first, second)
    assert code == 0
    assert ["image", *table.columns] == list(COLUMNS)
    row = table.loc[str(first)]
    found = row[["p_pneumonia", "ratio_percent", "ratio_right_percent", "ratio_left_percent", "score_0_8", "severity"]]
    assert found.to_list() == pytest.approx([0.7, 12.5, 25, 0, 3, 3.2])
    assert (row["status"], row["view"], row["scorer"], row["grey_values"]) == ("ok", "PA", "grey", "8 bit")
    assert table.loc[str(second), "view"] == "AP"
    assert "stretched" in table.loc[str(second), "grey_values"]
    assert (row["threshold"], row["pneumonia"]) == (0.5, "yes")
    assert table["flags"].isna().all()
    assert "2 of 2 images scored: " in capsys.readouterr().out


def test_the_call_is_the_scorers_threshold(tmp_path: Path) -> None:
    below, at = picture(tmp_path / "below.png", 49), picture(tmp_path / "at.png", 50)
    _, table = score(tmp_path / "scores.tsv", below, at)
    assert table["pneumonia"].tolist() == ["no", "yes"]


def test_flags_and_rejected_images_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flagged = picture(tmp_path / "flagged.png", 70, lesion=(0, 1, 3, 4))
    turned = picture(tmp_path / "turned.png", 70, lesion=(0, 1, 4, 5))
    code, table = score(tmp_path / "scores.tsv", flagged, turned)
    assert code == 1
    assert table["status"].tolist() == ["ok", "rejected"]
    assert table.loc[str(flagged), "flags"] == "odd_picture;lungs_uncertain"
    assert "turn it" in table.loc[str(turned), "message"]
    assert np.isnan(table.loc[str(turned), "p_pneumonia"])
    printed = capsys.readouterr().out
    assert f"flagged: {flagged}: odd_picture;lungs_uncertain" in printed
    assert "rejected: " in printed
    assert "1 of 2 images scored, 1 of them flagged" in printed


def test_pictures_show_lungs_disease_and_numbers(tmp_path: Path) -> None:
    boxes = {"right": (20, 80, 5, 45), "left": (20, 80, 55, 95), "lesion": (30, 60, 10, 40)}
    first, second = picture(tmp_path / "a" / "x.png", 70, **boxes), picture(tmp_path / "b" / "x.png", 20, **boxes)
    options = ("--pictures", str(tmp_path / "look"))
    _, table = score(tmp_path / "scores.tsv", first, second, tmp_path / "none.png", options=options)
    assert [Path(name).name for name in table["picture"].dropna()] == ["a-x-png.png", "b-x-png.png"]
    for path, colour in ((first, LESION_COLOUR), (second, (240, 228, 66))):  # yellow: below the threshold
        with Image.open(table.loc[str(path), "picture"]) as opened:
            pixels = np.asarray(opened)
        rim = (pixels == colour).all(axis=-1)
        rows, cols = np.where(rim)
        scale = PANEL_WIDTH / SIZE
        found = (rows.min(), rows.max() + 1, cols.min() - PANEL_WIDTH - 6, cols.max() + 1 - PANEL_WIDTH - 6)
        assert np.array(found) / scale == pytest.approx([30, 60, 10, 40], abs=1)
        assert (pixels == LUNG_COLOUR).all(axis=-1).any()
        assert pixels[PANEL_WIDTH:].max() > 200  # the numbers


def test_folders_and_volumes_point_to_score_ct(tmp_path: Path) -> None:
    volume = tmp_path / "ct.nii.gz"
    volume.touch()
    _, table = score(tmp_path / "scores.tsv", tmp_path, volume)
    assert f"drrval score-ct {tmp_path} --out" in table.loc[str(tmp_path), "message"]
    assert f"{tmp_path}/*.png" in table.loc[str(tmp_path), "message"]
    assert f"drrval score-ct {volume} --out" in table.loc[str(volume), "message"]


def test_failed_images_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, lateral = picture(tmp_path / "a.png", 70), dicom(tmp_path / "b.dcm", RAMP, ViewPosition="LL")
    code, table = score(tmp_path / "scores.tsv", good, tmp_path / "none.png", lateral)
    assert code == 1
    assert table["status"].tolist() == ["ok", "failed", "failed"]
    assert np.isnan(table.loc[str(lateral), "p_pneumonia"])
    assert "the scorer accepts views ('PA', 'AP')" in table.loc[str(lateral), "message"]
    printed = capsys.readouterr().out
    assert f"failed: {tmp_path / 'none.png'}: " in printed
    assert "1 of 3 images scored" in printed


def test_the_view_can_be_given(tmp_path: Path) -> None:
    code, table = score(tmp_path / "scores.tsv", picture(tmp_path / "a.png"), options=("--view", "ap supine"))
    assert (code, table["view"].tolist()) == (0, ["AP"])
    assert main(["score", "a.png", "--out", str(tmp_path / "s.tsv"), "--scorer", SCORER, "--view", "oblique"]) == 2


def test_scorers_of_projected_masks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RAMP.astype(np.uint8)).save(path)
    out = tmp_path / "scores.tsv"
    assert main(["score", str(path), "--out", str(out), "--scorer", "projected-area"]) == 1
    assert "the scorer reads projected CT masks, and a plain image has none" in capsys.readouterr().out
