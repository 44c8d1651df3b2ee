"""Whole sets: files, tables, splits, leakage, COCO, resuming and reproducibility."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from synthesis_factory import chest, settings, write_scans

from cxr_models.severity import severity_score
from drrval.cli.synthesize import add_parser
from drrval.errors import DrrvalError, StudyError
from drrval.synthesis import area_ratios, read_map, read_masks, synthesize
from drrval.synthesis.settings import SplitSettings
from drrval.synthesis.splits import assign_splits

SPLIT = {"train": 0.34, "val": 0.33, "test": 0.33, "twin_correlation": 0.985}  # these chests are much alike
SETTINGS = settings(split=SPLIT)


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def decoded(segmentation: dict[str, object]) -> np.ndarray:
    """COCO's compressed run lengths, decoded character by character."""
    text, runs, place = str(segmentation["counts"]), [], 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[place]) - 48
            value |= (bits & 31) << shift
            more, place, shift = bool(bits & 32), place + 1, shift + 5
            if not more and bits & 16:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    rows, columns = segmentation["size"]  # type: ignore[misc]
    return flat.reshape(columns, rows).T


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scans = {"A": chest(1, ("right",)), "B": chest(2, ("right", "left")), "C": chest(3, ())}
    return write_scans(tmp_path_factory.mktemp("data"), scans)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set") / "out"
    assert synthesize(SETTINGS, out, data_root=data) == []
    return out


@pytest.fixture(scope="module")
def table(made: Path) -> pd.DataFrame:
    return pd.read_csv(made / "images.csv", dtype={"subject": str, "session": str})


def test_every_image_has_its_files_and_its_row(made: Path, table: pd.DataFrame) -> None:
    assert len(table) == 6
    described = json.loads((made / "images.json").read_text())
    assert list(described) == list(table.columns)
    for row in table.itertuples():
        with Image.open(made / row.image) as picture:
            assert (picture.size, picture.mode) == ((row.columns, row.rows), "L")
        assert max(row.rows, row.columns) == SETTINGS.size
        assert read_masks(made / row.labels)["lung_right"].shape == (row.rows, row.columns)


def test_ratios_are_those_of_the_written_masks(made: Path, table: pd.DataFrame) -> None:
    for row in table.itertuples():
        masks = read_masks(made / row.labels)
        for name, value in area_ratios(masks).items():
            assert getattr(row, name) == pytest.approx(value, rel=1e-5)
        right, left = masks["lung_field_right"], masks["lung_field_left"]
        sick = (right & masks["lesion_right"]).sum() + (left & masks["lesion_left"]).sum()
        assert row.ratio_percent == pytest.approx(100.0 * sick / (right.sum() + left.sum()), rel=1e-5)
        assert row.score_0_8 == severity_score(row.ratio_right_percent, row.ratio_left_percent)
    healthy = table[table["subject"] == "C"]
    assert (healthy[["ratio_percent", "ct_ratio_percent", "score_0_8", "boxes"]] == 0).all(axis=None)
    assert (table[table["subject"] == "A"]["ratio_left_percent"] == 0).all()


def test_maps_are_written_in_the_stated_units(made: Path, table: pd.DataFrame) -> None:
    row = table[table["subject"] == "A"].iloc[0]
    thickness, density, masks = (
        read_map(made / row.thickness),
        read_map(made / row.density),
        read_masks(made / row.labels),
    )
    assert thickness[masks["lesion_right"]].min() >= 1.0 - 0.0005  # the threshold, and half a grey level
    assert 0 < density.max() < 1.1 * thickness.max()
    with pytest.raises(DrrvalError, match=r"no lesion map. Give a file that ends in _thickness.png"):
        read_map(made / row.image)
    with pytest.raises(DrrvalError, match="Expected a 16-bit PNG"):
        read_masks(made / row.image)


def test_the_set_describes_itself(made: Path) -> None:
    described = json.loads((made / "dataset.json").read_text())
    assert described["seed"] == SETTINGS.seed
    assert described["mask_bits"]["lung_right"] == 0
    assert described["settings"]["acquisition"]["beams"][0]["kvp"] == 120.0


def test_patients_are_in_one_part_each(table: pd.DataFrame) -> None:
    assert len(table[["patient", "split"]].drop_duplicates()) == table["patient"].nunique()
    assert set(table["split"]) == {"train", "val", "test"}


def test_splits_keep_chests_together_and_follow_the_shares() -> None:
    chests = [(f"p{n}", f"ct{n // 2}") for n in range(200) for _ in range(3)]
    parts = assign_splits(chests, SplitSettings(), seed=1)
    by_chest: dict[str, set[str]] = {}
    for (_, ct), part in zip(chests, parts, strict=True):
        by_chest.setdefault(ct, set()).add(part)
    assert all(len(found) == 1 for found in by_chest.values())
    assert {s: parts.count(s) / len(parts) for s in ("train", "val", "test")} == pytest.approx(
        {"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.015
    )
    assert parts == assign_splits(chests, SplitSettings(), seed=1)
    assert parts != assign_splits(chests, SplitSettings(), seed=2)


def test_scans_of_one_file_are_never_parted(data: Path, tmp_path: Path) -> None:
    rows = (data / "scans.tsv").read_text().splitlines()
    twice = [*rows, rows[1].replace("A\t", "A2\t", 1), rows[1].replace("A\t", "A3\t", 1)]
    (data / "twice.tsv").write_text("\n".join(twice) + "\n")
    same = settings(split=SPLIT, views_per_scan=1, cohorts=[{"labelled": {"table": "twice.tsv"}}])
    synthesize(same, tmp_path / "out", data_root=data)
    found = pd.read_csv(tmp_path / "out" / "images.csv")
    assert len(set(found[found["subject"].isin(["A", "A2", "A3"])]["split"])) == 1


def test_a_planted_twin_is_caught(tmp_path: Path) -> None:
    scan = chest(1)
    noise = np.random.default_rng(0).normal(0, 15, scan.volume.hu.shape).astype(np.float32)
    copy = replace(scan, volume=replace(scan.volume, hu=np.maximum(scan.volume.hu + noise, -1024.0)))
    folder = write_scans(tmp_path, {"A": scan, "B": chest(2), "TWIN": copy})
    alike = settings(split=SPLIT, views_per_scan=1)
    with pytest.raises(StudyError, match=r"splits leak, 1 time.*\n.*show the same chest"):
        synthesize(alike, tmp_path / "out", data_root=folder)
    assert not (tmp_path / "out" / "images.csv").exists()


def test_coco_boxes_and_masks_are_those_of_the_labels(made: Path, table: pd.DataFrame) -> None:
    boxes = pd.read_csv(made / "boxes.csv")
    for split in ("train", "val", "test"):
        coco = json.loads((made / "annotations" / f"{split}.json").read_text())
        names = {category["id"]: category["name"] for category in coco["categories"]}
        assert {image["file_name"] for image in coco["images"]} == set(table[table["split"] == split]["image"])
        for image in coco["images"]:
            masks = read_masks(made / image["file_name"].replace(".png", "_labels.png"))
            own = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
            shadows = np.zeros((image["height"], image["width"]), bool)
            for one in own:
                mask = decoded(one["segmentation"])
                rows, columns = np.nonzero(mask)
                tight = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
                assert one["bbox"] == tight
                assert one["area"] == mask.sum()
                if "attributes" in one:
                    shadows |= mask
                else:
                    assert np.array_equal(mask, masks[names[one["category_id"]]])
            sides = [masks[f"lesion_{side}"] & masks[f"lung_field_{side}"] for side in ("right", "left")]
            assert np.array_equal(shadows, sides[0] | sides[1])
            listed = boxes[boxes["image"] == image["file_name"]][["x", "y", "width", "height"]].to_numpy().tolist()
            assert sorted(listed) == sorted(a["bbox"] for a in own if "attributes" in a)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_coco_tools_read_the_files(made: Path) -> None:
    for split in ("train", "val", "test"):
        loaded = COCO(str(made / "annotations" / f"{split}.json"))
        for one in loaded.anns.values():
            assert np.array_equal(loaded.annToMask(one).astype(bool), decoded(one["segmentation"]))


def test_a_run_of_two_jobs_that_was_cut_off_goes_on_where_it_stopped(data: Path, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    synthesize(SETTINGS, out, data_root=data, jobs=2)
    whole = contents(out)
    kept, lost = (
        out / "cohort-1" / "sub-A" / "ses-01" / "scan.json",
        out / "cohort-1" / "sub-B" / "ses-01" / "001_PA.png",
    )
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (out / "images.csv").unlink()
    synthesize(SETTINGS, out, data_root=data)
    assert kept.stat().st_mtime_ns == before
    assert contents(out) == whole == contents(made)


def test_other_settings_make_the_images_anew(data: Path, tmp_path: Path) -> None:
    small = settings(split=SPLIT, views_per_scan=1)
    synthesize(small, tmp_path / "out", data_root=data)
    first = contents(tmp_path / "out")
    synthesize(small.model_copy(update={"seed": 8}), tmp_path / "out", data_root=data)
    image = "cohort-1/sub-A/ses-01/001_PA.png"
    assert contents(tmp_path / "out")[image] != first[image]


def test_all_formats_show_the_same_image(data: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    every = settings(split=SPLIT, views_per_scan=1, formats=["png8", "png16", "nifti"], lesion_maps=False)
    synthesize(every, tmp_path / "out", data_root=data)
    folder = tmp_path / "out" / "cohort-1" / "sub-A" / "ses-01"
    with Image.open(folder / "001_PA.png") as small, Image.open(folder / "001_PA_16bit.png") as deep:
        bits8, bits16 = np.asarray(small, dtype=int), np.asarray(deep, dtype=int)
    assert np.abs(bits8 - bits16 / 257.0).max() <= 0.51
    nifti = sitk.ReadImage(str(folder / "001_PA.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(nifti)[0], bits16)
    assert not list(folder.glob("*thickness*"))


def test_a_scan_that_fails_leaves_the_others(data: Path, tmp_path: Path) -> None:
    rows = (data / "scans.tsv").read_text().splitlines()
    broken = [rows[0], rows[1], rows[2].replace("B_lungs", "C_lesions")]
    (data / "broken.tsv").write_text("\n".join(broken) + "\n")
    one = settings(split=SPLIT, views_per_scan=1, cohorts=[{"labelled": {"table": "broken.tsv"}}])
    assert synthesize(one, tmp_path / "out", data_root=data) == ["cohort-1_sub-B_ses-01"]
    assert len(pd.read_csv(tmp_path / "out" / "images.csv")) == 1
    crash = (tmp_path / "out" / "logs" / "crash-cohort-1_sub-B_ses-01.txt").read_text()
    assert "It must hold 0, 1 (right), 2 (left)" in crash


def test_a_row_without_labels_is_refused(data: Path, tmp_path: Path) -> None:
    (data / "bare.tsv").write_text("subject\tpath\nA\tA.nii.gz\n")
    with pytest.raises(StudyError, match=r"has no lungs map\. Fill in the column 'lungs'"):
        synthesize(settings(cohorts=[{"labelled": {"table": "bare.tsv"}}]), tmp_path / "out", data_root=data)


def test_a_folder_of_something_else_is_refused(data: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds foreign files"):
        synthesize(SETTINGS, tmp_path, data_root=data)
    with pytest.raises(StudyError, match=r"is a file\. Give a folder"):
        synthesize(SETTINGS, tmp_path / "note.txt", data_root=data)
    with pytest.raises(StudyError, match="holds the set 'small', not 'other'"):
        synthesize(SETTINGS.model_copy(update={"name": "other"}), made, data_root=data)


def test_plain_cts_get_labels_from_the_scorer(data: Path, tmp_path: Path) -> None:
    found = settings(views_per_scan=1, cohorts=[{"glob": {"pattern": "A.nii.gz"}}])
    synthesize(found, tmp_path / "out", data_root=data)
    (row,) = pd.read_csv(tmp_path / "out" / "images.csv").itertuples()
    assert row.label_source == "scorer"
    assert row.ct_ratio_right_percent > 1.0


def test_the_command_makes_the_set(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    file = tmp_path / "set.yaml"
    file.write_text(yaml.safe_dump(settings(views_per_scan=1).model_dump(mode="json")), encoding="utf-8")
    arguments = parser.parse_args(
        ["synthesize", str(file), "--out", str(tmp_path / "out"), "--data-root", str(data), "--no-progress"]
    )
    assert arguments.run(arguments) == 0
    assert "3 images of 3 scans" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "out" / "images.csv")) == 3
