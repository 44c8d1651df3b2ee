"""``drrval score``: radiographs without a truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate_factory import picture
from PIL import Image
from test_evaluate_images import RAMP, dicom

from drrval.cli import main
from drrval.evaluation.score import COLUMNS

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
    assert "2 of 2 images scored" in capsys.readouterr().out


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
    code, table = score(tmp_path / "scores.tsv", picture(tmp_path / "a.png"), options=("--view", "ap"))
    assert (code, table["view"].tolist()) == (0, ["AP"])


def test_scorers_of_projected_masks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RAMP.astype(np.uint8)).save(path)
    out = tmp_path / "scores.tsv"
    assert main(["score", str(path), "--out", str(out), "--scorer", "projected-area"]) == 1
    assert "the scorer reads projected CT masks, and a plain image has none" in capsys.readouterr().out
