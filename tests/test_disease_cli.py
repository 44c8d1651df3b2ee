"""``drrval insert``: the files that it writes say the same as each other, and bad arguments are refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from drrval.cli import insert
from drrval.errors import StudyError

SPACING_MM = (3.0, 3.0, 4.0)
VOXEL_CM3 = 0.036


def write(path: Path, array: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``ct.nii.gz`` and ``lungs.nii.gz`` of an elliptic chest with two lungs."""
    folder = tmp_path_factory.mktemp("chest")
    z, y, x = np.ogrid[:50, :80, :110]
    lungs = np.zeros((50, 80, 110), np.uint8)
    for number, middle in ((1, 33), (2, 77)):
        lungs[((z - 25) / 22) ** 2 + ((y - 40) / 24) ** 2 + ((x - middle) / 17) ** 2 <= 1] = number
    body = np.broadcast_to(((y - 40) / 34) ** 2 + ((x - 55) / 50) ** 2 <= 1, lungs.shape)
    hu = np.where(lungs > 0, -850, np.where(body, 40, -1000)).astype(np.int16)
    hu[:, 66:72, 50:60] = 400  # spine: intake wants bone in a CT
    write(folder / "ct.nii.gz", hu)
    write(folder / "lungs.nii.gz", lungs)
    return folder


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    insert.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["insert", *map(str, arguments)])
    return int(parsed.run(parsed))


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_files_agree_with_each_other(chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ct, lungs, out = chest / "ct.nii.gz", chest / "lungs.nii.gz", tmp_path / "out"
    assert run(ct, "--lungs", lungs, "--out", out, "--pattern", "covid", "--extent", 6, "--seed", 3) == 0
    before, after, lesions = read(ct), read(out / "ct.nii.gz"), read(out / "lesions.nii.gz")
    assert after.dtype == np.int16
    assert sitk.ReadImage(str(out / "ct.nii.gz")).GetSpacing() == pytest.approx(SPACING_MM)
    truth = json.loads((out / "truth.json").read_text())
    assert truth["lesion_cm3"] == pytest.approx((lesions > 0).sum() * VOXEL_CM3)
    assert truth["ratio_percent"] == pytest.approx(6.0, rel=0.02)
    rise = (after - before)[lesions > 0].mean()
    assert truth["mean_rise_hu"] == pytest.approx(rise, abs=1.0)
    assert np.array_equal(after[read(lungs) == 0], before[read(lungs) == 0])
    assert "ratio_percent" in capsys.readouterr().out

    again = tmp_path / "again"
    assert run(ct, "--lungs", lungs, "--out", again, "--lesions", out / "lesions.yaml") == 0
    assert np.array_equal(read(again / "ct.nii.gz"), after)
    assert (again / "truth.json").read_bytes() == (out / "truth.json").read_bytes()


def test_lungs_are_found_when_no_mask_is_given(chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(chest / "ct.nii.gz", "--out", tmp_path, "--pattern", "lobar", "--extent", 5) == 0
    printed = capsys.readouterr().out
    assert "note: lungs found by the classical segmentation\n" in printed
    assert f"note: look at the lungs that were found: {tmp_path / 'lungs.nii.gz'}" in printed
    assert set(np.unique(read(tmp_path / "lungs.nii.gz"))) == {0, 1, 2}


def test_a_mask_with_one_label_is_split_and_the_command_says_so(
    chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lungs = read(chest / "lungs.nii.gz")
    both = write(tmp_path / "both.nii.gz", (lungs > 0).astype(np.uint8))
    assert run(chest / "ct.nii.gz", "--lungs", both, "--out", tmp_path / "out", "--extent", 5) == 0
    assert "they were split into right (1) and left (2)" in capsys.readouterr().out
    assert np.array_equal(read(tmp_path / "out" / "lungs.nii.gz"), lungs)


def test_lobes_are_reported_when_given(chest: Path, tmp_path: Path) -> None:
    lungs = read(chest / "lungs.nii.gz")
    lobes = np.where(lungs == 1, 3, np.where(lungs == 2, 5, 0)).astype(np.uint8)
    lobes[25:][lungs[25:] > 0] = np.where(lungs[25:][lungs[25:] > 0] == 1, 1, 4)
    lobe_file = write(tmp_path / "lobes.nii.gz", lobes)
    lungs_file = chest / "lungs.nii.gz"
    out = tmp_path / "out"
    run(chest / "ct.nii.gz", "--lungs", lungs_file, "--lobes", lobe_file, "--out", out, "--extent", 4)
    truth = json.loads((out / "truth.json").read_text())
    assert truth["ratio_rml_percent"] is None  # no such lobe
    assert truth["ratio_rll_percent"] > 0.0


def test_bad_arguments_are_refused(chest: Path, tmp_path: Path) -> None:
    ct, lungs = chest / "ct.nii.gz", chest / "lungs.nii.gz"
    with pytest.raises(StudyError, match="--lesions says where the disease is; --seed would draw it"):
        run(ct, "--lungs", lungs, "--out", tmp_path, "--lesions", "lesions.yaml", "--seed", 1)
    with pytest.raises(StudyError, match="Resample the mask to the CT"):
        run(ct, "--lungs", write(tmp_path / "short.nii.gz", read(lungs)[1:]), "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--extent", "-5", "does not lie above 0 and up to 90 percent"),
        ("--extent", "500", "500 does not lie above 0"),
        ("--seed", "-1", "-1 is negative"),
    ],
)
def test_bad_numbers_are_refused_by_the_parser(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("ct.nii.gz", "--out", "out", f"{option}={value}")
    assert message in capsys.readouterr().err


def test_outputs_and_lesion_files_are_checked_before_the_ct_is_read(chest: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out, message in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "out", "which is a file"),
        (tmp_path, "not of an earlier drrval insert, such as file"),
        (chest, "not of an earlier drrval insert, such as ct.nii.gz"),  # its names alone do not make it one
    ):
        with pytest.raises(StudyError, match=message):
            run("absent.nii.gz", "--out", out)
    with pytest.raises(StudyError, match=r"lesions\.yaml"):
        run("absent.nii.gz", "--out", tmp_path / "out", "--lesions", tmp_path / "lesions.yaml")


def test_an_earlier_output_is_written_over_but_not_while_it_is_the_input(chest: Path, tmp_path: Path) -> None:
    common = (chest / "ct.nii.gz", "--lungs", chest / "lungs.nii.gz", "--out", tmp_path / "out", "--extent")
    assert run(*common, 3) == run(*common, 6) == 0
    assert json.loads((tmp_path / "out/truth.json").read_text())["ratio_percent"] == pytest.approx(6.0, rel=0.02)
    with pytest.raises(StudyError, match="lies in the output folder"):
        run(tmp_path / "out/ct.nii.gz", *common[1:], 6)


@pytest.mark.parametrize("pattern", ["covid", "lobar", "broncho"])
def test_disease_is_drawn_in_the_lung_that_exists(chest: Path, tmp_path: Path, pattern: str) -> None:
    lungs = read(chest / "lungs.nii.gz")
    left = write(tmp_path / "left.nii.gz", np.where(lungs == 2, 2, 0).astype(np.uint8))
    assert run(chest / "ct.nii.gz", "--lungs", left, "--pattern", pattern, "--out", tmp_path / "out") == 0
    truth = json.loads((tmp_path / "out/truth.json").read_text())
    assert truth["ratio_left_percent"] == pytest.approx(10.0, rel=0.02)
    assert truth["ratio_right_percent"] is None
