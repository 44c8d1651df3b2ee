"""What the networks are trained on: lung targets and detection targets, and what they leave unknown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from PIL import Image

from cxr_models.data.balance import Balance, repeats
from cxr_models.data.detection import DetectionDataset
from cxr_models.data.lungs import LungDataset, lung_target, split_lungs
from cxr_models.data.synthetic import read_bits, read_synthetic
from cxr_models.data.tables import NIH_FINDINGS

Mask = npt.NDArray[np.bool_]


def _two_lungs() -> tuple[Mask, Mask]:
    right, left = np.zeros((100, 100), dtype=bool), np.zeros((100, 100), dtype=bool)
    right[20:80, 15:45] = True
    left[20:70, 60:85] = True
    return right, left


def test_split_lungs_by_their_place() -> None:
    right, left = _two_lungs()
    sides = split_lungs(right | left)
    assert np.array_equal(sides["right"], right)
    assert np.array_equal(sides["left"], left)
    with pytest.raises(ValueError, match=r"has 1 part\(s\) of at least 1 % of the image, and two are needed"):
        split_lungs(right)


def test_heart_in_masks_are_unknown_towards_the_mediastinum_only() -> None:
    right, left = _two_lungs()
    target = lung_target(right | left, "heart-in")
    assert (lung_target(right | left, "heart-out").known == 1).all()
    outside = ~(right | left)
    assert (target.known[:, outside] == 1).all()
    assert target.known[0, 70, 15] == 1  # outer border of the right lung
    assert target.known[0, 70, 44] == 0  # its border with the heart
    assert target.known[1, 60, 84] == 1
    assert target.known[1, 60, 60] == 0
    assert (target.known[:, 20:26] == 1).all()  # the apex
    with pytest.raises(ValueError, match="Lung-mask convention 'jsrt' is unknown"):
        lung_target(right | left, "jsrt")


def _save(path: Path, array: npt.NDArray[np.float64] | Mask) -> str:
    Image.fromarray((255 * np.asarray(array, dtype=float)).astype(np.uint8)).save(path)
    return str(path)


def _table(folder: Path) -> pd.DataFrame:
    right, left = _two_lungs()
    lungs = right | left
    image = _save(folder / "image.png", np.where(lungs, 0.3, 0.7))
    mask = _save(folder / "mask.png", lungs)
    row = {"image": image, "label": 0.0, "label_weight": 1.0, "lung_mask": mask, "lung_convention": "heart-out"}
    sick = {**row, "image": _save(folder / "sick.png", np.where(lungs, 0.5, 0.7)), "label": 1.0}
    return pd.DataFrame([row, sick, {**sick, "lung_mask": "", "label": np.nan}])


def test_lung_dataset_is_seeded_per_epoch(tmp_path: Path) -> None:
    dataset = LungDataset(_table(tmp_path), 64, seed=1, augmentation="abnormal")
    assert len(dataset) == 2
    first, again = dataset[0]["image"], dataset[0]["image"]
    dataset.set_epoch(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, dataset[0]["image"])
    item = dataset[1]
    assert item["lung"].shape == item["known"].shape == (2, 64, 64)
    with pytest.raises(ValueError, match=r"An image side of 450 pixels .* multiple of 32"):
        LungDataset(_table(tmp_path), 450)
    with pytest.raises(ValueError, match="No augmentation 'strong'"):
        LungDataset(_table(tmp_path), 64, augmentation="strong")


def test_detection_dataset_knows_what_it_does_not_know(tmp_path: Path) -> None:
    table = _table(tmp_path)
    healthy, sick, unlabelled = (DetectionDataset(table, None, 64)[i] for i in range(3))
    assert healthy["target"].max() == 0
    assert (healthy["known"] == 1).all()
    assert sick["target"].max() == 0
    assert 0 < sick["known"].mean() < 0.8  # outside the lungs only
    assert unlabelled["label_weight"] == 0
    assert unlabelled["known"].max() == 0


def test_detection_dataset_draws_boxes(tmp_path: Path) -> None:
    table = _table(tmp_path)
    boxes = pd.DataFrame([{"image": table["image"][1], "x": 0.25, "y": 0.25, "width": 0.25, "height": 0.5}])
    item = DetectionDataset(table, boxes, 64)[1]
    assert item["target"].shape == (8, 8)
    assert item["target"][3, 2] > 0.95
    assert item["target"][0, 6] == 0
    assert (item["known"] == 1).all()


def test_implants_turn_normal_images_into_positives_with_a_target(tmp_path: Path) -> None:
    dataset = DetectionDataset(_table(tmp_path)[:1], None, 64, implants=1.0, augment=True)
    strongest = []
    for epoch in range(6):
        dataset.set_epoch(epoch)
        assert dataset[0]["label"] == 1.0
        strongest.append(dataset[0]["target"].max().item())
    assert max(strongest) > 0.3
    assert DetectionDataset(_table(tmp_path)[:1], None, 64, implants=0.0, augment=True)[0]["label"] == 0.0


def test_repeats_decide_how_often_an_image_is_seen(tmp_path: Path) -> None:
    table = _table(tmp_path).assign(repeats=[2.0, 0.0, 0.5])
    dataset = DetectionDataset(table, None, 64)
    shown = []
    for epoch in range(200):
        dataset.set_epoch(epoch)
        weights = [dataset[i]["label_weight"].item() for i in range(len(dataset))] if epoch < 3 else []
        assert weights.count(1.0) in (0, 2)
        shown.append(len(dataset) - 2)
    assert set(shown) == {0, 1}
    assert 70 <= sum(shown) <= 130


def test_balance_knows_each_kind_of_image() -> None:
    plain = {"rsna_class": "", "ggo": "", "consolidation": "", "label": np.nan}
    rows = [
        {"source": "nih", "rsna_class": "Normal", "label": 0.0},
        {"source": "nih", "label": 0.0},
        {"source": "nih"},
        {"source": "covid", "consolidation": "c.png", "label": 1.0},
        {"source": "covid", "label": 1.0},
        {"source": "covid", "label": 0.0},
        {"source": "figure1"},
        {"source": "openist"},
        {"source": "synthetic"},
    ]
    table = pd.DataFrame([plain | row for row in rows])
    balance = Balance(*(float(n) for n in range(9)))
    assert repeats(table, balance).tolist() == list(range(9))


def test_findings_are_known_where_a_report_names_them(tmp_path: Path) -> None:
    table = _table(tmp_path).assign(findings=["No Finding", "Edema|Pneumothorax", np.nan])
    dataset = DetectionDataset(table, None, 64)
    none, two, unknown = (dataset[i] for i in range(3))
    assert (none["findings_weight"], none["findings"].sum()) == (1.0, 0.0)
    assert [NIH_FINDINGS[int(i)] for i in two["findings"].nonzero()] == ["Edema", "Pneumothorax"]
    assert unknown["findings_weight"] == 0.0


BITS = {"lung_field_right": 2, "lung_field_left": 3, "lesion_right": 4, "lesion_left": 5}


def _synthetic_set(folder: Path) -> Path:
    """One diseased frontal image with a lesion half behind the heart, a healthy one with dark bone, and a lateral."""
    right, left = _two_lungs()
    lesion = np.zeros_like(right)
    lesion[40:60, 70:100] = True  # cols 70 to 84 in the left lung field
    image = np.where(right | left, 60, 180).astype(np.uint8)
    healthy = (right * 4 + left * 8).astype(np.uint16)
    pictures = {"a": (image, healthy + lesion * np.uint16(32)), "b": (255 - image, healthy), "c": (image, healthy)}
    for name, (picture, bits) in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(bits).save(folder / f"{name}_labels.png")
    (folder / "dataset.json").write_text(json.dumps({"mask_bits": BITS}))
    pd.DataFrame(
        {
            "image": ["a.png", "b.png", "c.png"],
            "labels": ["a_labels.png", "b_labels.png", "c_labels.png"],
            "patient": ["1-x", "2-x", "3-y"],
            "subject": ["x", "x", "y"],
            "view": ["PA", "AP", "LL"],
            "inverted": [0, 1, 0],
            "ratio_percent": [9.0, 0.0, 0.0],
            "ct_ratio_percent": [5.0, 0.0, 0.0],
        }
    ).to_csv(folder / "images.csv", index=False)
    return folder


def test_synthetic_sets_are_read_with_their_exact_targets(tmp_path: Path) -> None:
    table = read_synthetic(_synthetic_set(tmp_path))
    assert table["label"].tolist() == [1.0, 0.0]
    assert table["split"][0] == table["split"][1]  # one anatomy, twice
    row = table.iloc[0]
    assert read_bits(Path(row["label_image"]), row["field_right_bits"]).sum() == 60 * 30
    sick, healthy = (DetectionDataset(table, None, 64)[i] for i in range(2))
    assert sick["target"][4, 6] > 0.9  # the middle of the left lung field
    assert sick["target"][4, 7] < 0.2
    assert sick["known"][4, 7] < 0.6  # behind the heart, nobody can tell
    assert sick["known"][4, 1] == 1.0
    assert healthy["target"].max() == 0
    assert (healthy["known"] == 1).all()
    assert (sick["image"] - healthy["image"]).abs().max() < 0.02  # dark bone was turned


def test_unfinished_sets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"mask_bits": BITS}))
    with pytest.raises(FileNotFoundError, match=r"images\.csv"):
        read_synthetic(tmp_path)
