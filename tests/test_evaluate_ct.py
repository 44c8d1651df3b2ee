"""CT tasks, against numbers worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate_factory import GRID, draw_quickly, estimates, metrics, run, scan, write_csv

from drrval.study.store import write_volume

HU = "evaluate_factory:HuScorer"
PER_SLICE = 20 * 10  # voxels of a lung


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_quickly(monkeypatch)


def test_lungs(tmp_path: Path) -> None:
    rows = []
    for name in ("a", "b", "c"):
        lungs = scan(tmp_path / f"{name}.nii.gz", 100)
        if name == "b":
            lungs[28:30, :, :30] = 0  # two of twenty slices of the right lung are not lung in truth
        write_volume(tmp_path / f"{name}_lungs.nii.gz", np.minimum(lungs, 1) if name == "c" else lungs, GRID)
        rows.append((f"{name}.nii.gz", name, f"{name}_lungs.nii.gz"))
    code, out = run("ct-lungs", write_csv(tmp_path / "t.csv", "path,patient,lungs", rows), scorer=HU)
    assert code == 0
    assert estimates(out, "both")["dice"] == pytest.approx((1 + 2 * 38 / (38 + 40) + 1) / 3)
    assert estimates(out, "right")["dice"] == pytest.approx((1 + 2 * 18 / (18 + 20)) / 2)  # c has no sides
    assert estimates(out, "left")["dice"] == 1.0
    assert estimates(out, "sides") == {"swapped_share": 0.0}
    document = metrics(out)
    assert document["results"][0]["details"] == {"n_swapped": 0, "n_with_sides": 2}
    assert document["results"][0]["numbers"]["both"]["dice"]["n_scans"] == 3
    run("ct-lungs", tmp_path / "t.csv", scorer="evaluate_factory:swapping")
    assert metrics(out)["results"][0]["details"]["n_swapped"] == 2
    assert estimates(out, "right")["dice"] == 0.0
    assert estimates(out, "both")["dice"] > 0.95


def test_a_mask_on_another_grid_fails_its_scan(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}_lungs.nii.gz", scan(tmp_path / f"{name}.nii.gz"), GRID)
    write_volume(tmp_path / "b_lungs.nii.gz", np.ones((5, 5, 5), np.uint8), GRID)
    rows = [(f"{name}.nii.gz", f"{name}_lungs.nii.gz") for name in ("a", "b", "gone")]
    code, out = run("ct-lungs", write_csv(tmp_path / "t.csv", "path,lungs", rows), scorer=HU)
    assert code == 1
    failed = {one["case"]: one["message"] for one in metrics(out)["failed"]}
    assert "Resample the mask to the CT" in failed["b.nii.gz"]
    assert "there is no such file or folder" in failed["gone.nii.gz"]


def test_slices_of_one_patient_get_no_interval(tmp_path: Path) -> None:
    # Diseased are two slices and a bit of the right lung: 10 to 12 of 40 from the feet, 29 to 27 from the head
    scan(tmp_path / "a.nii.gz", 2 * PER_SLICE + 50)
    rows = [("a.nii.gz", 39 - z, int(z in (10, 11, 12, 13)), GRID.origin_mm[2] + 5.0 * z) for z in range(40)]
    table = write_csv(tmp_path / "t.csv", "path,slice,label,z_mm", rows)
    code, out = run("ct-slices", table, scorer=HU)
    assert code == 0
    document = metrics(out)
    (result,) = document["results"]
    assert (document["n_scans"], document["n_slices"]) == (1, 40)
    assert result["notes"][0].startswith("No intervals: slices of one patient are not independent")
    found = estimates(out, "slices")
    # Three of four diseased slices are called, no other: 3/4 of the pairs won, 1/4 tied
    assert found["sensitivity"] == 0.75
    assert found["specificity"] == 1.0
    assert found["auc"] == pytest.approx(0.75 + 0.25 / 2)
    assert result["numbers"]["slices"]["auc"]["low"] is None
    assert "auc_clustered" not in found
    (by_scan,) = result["details"]["by_scan"]
    assert (by_scan["n_slices"], by_scan["n_diseased"], by_scan["auc"]) == (40, 4, pytest.approx(0.875))
    predicted = pd.read_csv(out / "predictions.csv")
    assert predicted.loc[predicted["probability"] > 0.5, "slice"].tolist() == [29, 28, 27]
    assert predicted["z_mm"].tolist() == pytest.approx([row[3] for row in rows])


def test_slices_of_several_patients(tmp_path: Path) -> None:
    rows = []
    for name in "abcd":
        scan(tmp_path / f"{name}.nii.gz", 3 * PER_SLICE)
        diseased = (10, 11, 12) if name != "d" else (10, 30)
        rows += [(f"{name}.nii.gz", name, 39 - z, int(z in diseased)) for z in range(8, 32)]
    code, out = run("ct-slices", write_csv(tmp_path / "t.csv", "path,patient,slice,label", rows), scorer=HU)
    assert code == 0
    number = metrics(out)["results"][0]["numbers"]["slices"]["sensitivity"]
    assert number["estimate"] == pytest.approx(10 / 11)
    assert number["low"] < 10 / 11 < number["high"]
    assert (number["n_slices"], number["n_patients"]) == (96, 4)


@pytest.mark.parametrize(
    ("slice_number", "z_mm", "message"),
    [
        (40, "", "row 3: slice 40 of a.nii.gz is beyond its 40 slices. Count from 0 at the head, to 39"),
        (3, 0, "row 3: slice 3 of a.nii.gz lies at z = 82.5 mm, the table says 0 mm"),
    ],
)
def test_slices_that_are_not_in_the_scan(
    tmp_path: Path, slice_number: int, z_mm: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scan(tmp_path / "a.nii.gz", 10)
    rows = [("a.nii.gz", 0, 0, ""), ("a.nii.gz", slice_number, 1, z_mm)]
    code, _ = run("ct-slices", write_csv(tmp_path / "t.csv", "path,slice,label,z_mm", rows), scorer=HU)
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_scorer_without_slices_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan(tmp_path / "a.nii.gz", 10)
    table = write_csv(tmp_path / "t.csv", "path,slice,label", [("a.nii.gz", 0, 0)])
    code, _ = run("ct-slices", table, scorer="opacity")
    assert code == 2
    assert "Scorer 'opacity' gives no probability of each slice. Name one with a slice classifier" in (
        capsys.readouterr().err
    )


def test_ratio_of_two_scorers(tmp_path: Path) -> None:
    rows = []
    for place, (right, left) in enumerate([(400, 0), (800, 400), (2000, 1200), (3000, 2800)]):
        lungs = scan(tmp_path / f"{place}.nii.gz", right, left)
        lesions = np.zeros_like(lungs)
        for label, n in ((1, right), (2, left)):
            inside = np.flatnonzero(lungs == label)
            lesions.flat[inside[: n + 200]] = 3  # of each lung 5 points more than the scorer finds
        write_volume(tmp_path / f"{place}_lungs.nii.gz", lungs, GRID)
        write_volume(tmp_path / f"{place}_lesions.nii.gz", lesions, GRID)
        rows.append((f"{place}.nii.gz", f"p{place}", f"{place}_lungs.nii.gz", f"{place}_lesions.nii.gz"))
    table = write_csv(tmp_path / "t.csv", "path,patient,lungs,lesions", rows)
    code, out = run("ct-ratio", table, "--scorer", HU, "--scorer", "evaluate_factory:swapping")
    assert code == 0
    first, second = metrics(out)["results"]
    assert (first["scorer"], second["scorer"]) == (HU, "evaluate_factory:swapping")
    for group in ("total", "right", "left"):
        numbers = first["numbers"][group]
        assert numbers["pearson_r"]["estimate"] == pytest.approx(1.0)
        assert numbers["mae"]["estimate"] == pytest.approx(5.0)
        assert numbers["bias"]["estimate"] == pytest.approx(-5.0)
        assert numbers["lower_limit"]["estimate"] == pytest.approx(-5.0)
    # With the sides exchanged the left lung's 0, 10, 30 and 70 % stand against the right one's true 15, 25, 55 and 80 %
    assert second["numbers"]["right"]["bias"]["estimate"] == pytest.approx((-15 - 15 - 25 - 10) / 4)
    predicted = pd.read_csv(out / "predictions.csv")
    assert len(predicted) == 8
    own = predicted[predicted["scorer"] == HU]
    assert own["true_ratio_percent"].tolist() == pytest.approx([10, 20, 45, 77.5])
    assert own["ratio_percent"].tolist() == pytest.approx([5, 15, 40, 72.5])
    kinds = {path.stem.partition("_")[2] for path in (out / "figures").glob("*HuScorer*.png")}
    assert kinds == {f"{kind}_{group}" for kind in ("scatter", "bland_altman") for group in ("total", "right", "left")}


def test_ratio_given_as_a_number(tmp_path: Path) -> None:
    rows = []
    for place, ratio in enumerate((4, 17, 33)):
        scan(tmp_path / f"{place}.nii.gz", 1600 * place)  # 0, 20 and 40 % of both lungs
        rows.append((f"{place}.nii.gz", ratio))
    code, out = run("ct-ratio", write_csv(tmp_path / "t.csv", "path,ratio_percent", rows), scorer=HU)
    assert code == 0
    assert list(metrics(out)["results"][0]["numbers"]) == ["total"]
    assert estimates(out, "total")["mae"] == pytest.approx((4 + 3 + 7) / 3)
