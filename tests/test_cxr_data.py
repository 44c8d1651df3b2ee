"""Targets, lung masks, ratios, preprocessing, tables and splits of the radiograph models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from cxr_models.data.split import split_of
from cxr_models.data.tables import read_covid, read_figure1, read_nih, read_nih_boxes, read_openist
from cxr_models.data.targets import TargetSettings, box_mask, shrink, soft_target
from cxr_models.postprocessing import LungMasks, lung_masks, pneumonia_ratio, to_shape
from cxr_models.preprocessing import clahe, to_unit
from cxr_models.severity import SeverityCalibration, continuous_extent, continuous_severity, fit_calibration

Mask = npt.NDArray[np.bool_]


def test_boxes_become_one_binary_image() -> None:
    mask = box_mask(np.array([[0.0, 0.0, 0.5, 0.25], [0.25, 0.0, 0.5, 0.5]]), 8)
    assert mask.sum() == 4 * 2 + 4 * 4 - 2 * 2  # two boxes less their overlap
    assert mask[0, 5]
    assert not mask[4].any()


def test_target_is_dilated_by_two_pixels_and_blurred() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[20, 20] = True
    sharp = soft_target(mask, TargetSettings(dilation=5, blur=0.0))
    assert sharp.sum() == 25
    assert sharp[18:23, 18:23].all()
    soft = soft_target(mask, TargetSettings(dilation=5, blur=0.05))
    assert soft.sum() == pytest.approx(25, rel=1e-3)  # a blur moves mass, it makes none
    assert 0 < soft[20, 16] < soft[20, 18] < soft[20, 20] < 1


def test_shrink_keeps_the_mean() -> None:
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert shrink(image, 4).tolist() == [[13.5, 17.5], [45.5, 49.5]]


def _two_lungs() -> tuple[Mask, Mask]:
    right, left = np.zeros((100, 100), dtype=bool), np.zeros((100, 100), dtype=bool)
    right[20:80, 15:45] = True
    left[20:70, 60:85] = True
    return right, left


def test_lung_masks_keep_the_largest_part_of_each_side_without_holes() -> None:
    right, left = _two_lungs()
    probability = np.stack([right, left]).astype(np.float32)
    probability[0, 40:45, 20:25] = 0.0  # a hole
    probability[0, 2:6, 90:99] = 1.0  # an island
    probability[1, 20:70, 40:45] = 0.9  # claimed by both: the right is more probable
    masks = lung_masks(probability)
    assert np.array_equal(masks.right, right)
    assert np.array_equal(masks.left, left)


def test_a_lung_of_a_few_pixels_was_not_found() -> None:
    probability = np.zeros((2, 100, 100), dtype=np.float32)
    probability[0, 10:19, 10:20] = 1.0
    assert not lung_masks(probability).right.any()


def test_pneumonia_ratio_is_equation_two() -> None:
    right, left = _two_lungs()
    lesion = np.zeros((100, 100), dtype=bool)
    lesion[20:50, :] = True  # 30 of the right's 60 rows, 30 of the left's 50
    ratio = pneumonia_ratio(lesion, LungMasks(right, left))
    assert ratio.right == pytest.approx(50.0)
    assert ratio.left == pytest.approx(60.0)
    assert ratio.total == pytest.approx(100 * (900 + 750) / (1800 + 1250))


def test_pneumonia_ratio_of_a_missing_lung() -> None:
    right, _ = _two_lungs()
    nothing = np.zeros_like(right)
    ratio = pneumonia_ratio(nothing, LungMasks(right, nothing))
    assert ratio.right == 0.0
    assert np.isnan([ratio.total, ratio.left]).all()  # one lung is not the whole
    ratio = pneumonia_ratio(nothing, LungMasks(nothing, nothing))
    assert np.isnan([ratio.total, ratio.right, ratio.left]).all()


def test_maps_are_resized_within_their_range() -> None:
    maps = np.zeros((2, 4, 4), dtype=np.float32)
    maps[1, :, 2:] = 1.0
    out = to_shape(maps, (30, 60))
    assert out.shape == (2, 30, 60)
    assert out[1, 15, 5] == 0.0
    assert out[1, 15, 55] == 1.0
    assert 0 < out[1, 15, 30] < 1


def test_clahe_raises_local_contrast_and_ignores_the_display_window() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.1, 0.9, 256, dtype=np.float32)[None, :].repeat(256, axis=0)
    detail = ramp + 0.01 * rng.standard_normal(ramp.shape).astype(np.float32)
    first, second = clahe(detail), clahe(0.5 * detail + 0.2)
    assert np.abs(first - second).max() < 0.02
    block = (slice(96, 128), slice(96, 128))
    flat = detail[block] - ramp[block]
    assert (first[block] - np.poly1d(np.polyfit(ramp[96, 96:128], first[block].mean(axis=0), 1))(ramp[block])).std() > (
        1.3 * flat.std()
    )


def test_to_unit_stretches_to_the_networks_square() -> None:
    unit = to_unit(np.full((300, 200), 51.0, dtype=np.float32), 64)
    assert unit.shape == (64, 64)
    assert unit.dtype == np.float32
    assert np.allclose(unit, 0.2)


def test_split_is_by_patient_and_of_the_stated_shares() -> None:
    splits = pd.Series([split_of("nih", str(n)) for n in range(4000)]).value_counts(normalize=True)
    assert splits["test"] == pytest.approx(0.20, abs=0.02)
    assert splits["validation"] == pytest.approx(0.15, abs=0.02)
    assert split_of("nih", "17") == split_of("nih", "17")
    assert len({split_of(source, "17") for source in "abcdefgh"}) > 1


def _write(path: Path, text: str) -> None:
    path.write_text(text.replace(" ", ""))


def test_nih_table_prefers_radiologists_and_leaves_children_out(tmp_path: Path) -> None:
    columns = "filename,Finding Labels,Patient Age,Patient Gender,View Position,rsna_id,rsna_class,patient,file\n"
    rows = [
        "a.png,No Finding,40,F,PA,1,Lung Opacity,0001,a.jpg",
        "b.png,Pneumonia,40,F,PA,,,0001,b.jpg",
        "c.png,No Finding,17,F,AP,,,0002,c.jpg",
        "d.png,No Finding,18,F,AP,,,0003,d.jpg",
        "e.png,Nodule,55,M,AP,,,0004,e.jpg",
    ]
    (tmp_path / "nih.csv").write_text(columns + "\n".join(rows) + "\n")
    table = read_nih(tmp_path)
    assert [Path(p).name for p in table["image"]] == ["a.jpg", "b.jpg", "d.jpg", "e.jpg"]
    np.testing.assert_array_equal(table["label"], [1.0, np.nan, 0.0, np.nan])
    assert table["label_weight"].tolist() == [1.0, 0.8, 0.8, 0.8]
    assert table["patient"][0] == "0001"
    assert table["split"][0] == table["split"][1]


def test_boxes_are_shares_of_the_image(tmp_path: Path) -> None:
    _write(tmp_path / "nih_rsna_boxes_1024px.csv", "file,x,y,width,height\na.jpg,256,512,128,64\n")
    box = read_nih_boxes(tmp_path).iloc[0]
    assert box[["x", "y", "width", "height"]].tolist() == [0.25, 0.5, 0.125, 0.0625]


def test_covid_table_says_that_its_masks_include_the_heart(tmp_path: Path) -> None:
    header = "file,ggo,consolidation,right_lung,left_lung,patient,age,view,finding,lung_mask\n"
    rows = "a.jpg,g.png,,r.png,l.png,5,,AP Supine,COVID-19,\nb.jpg,,,,,6,30,PA,No Finding,m.png\n"
    (tmp_path / "covid.csv").write_text(header + rows)
    table = read_covid(tmp_path)
    assert table["label"].tolist() == [1.0, 0.0]
    assert table["view"].tolist() == ["AP", "PA"]
    assert table["lung_convention"].tolist() == ["", "heart-in"]
    assert Path(table["ggo"][0]).name == "g.png"
    assert table["consolidation"][0] == ""


def test_openist_and_figure1_tables(tmp_path: Path) -> None:
    _write(tmp_path / "openist.csv", "file,lung_mask,source_file\na.jpg,a.png,x\n")
    assert read_openist(tmp_path)["lung_convention"].tolist() == ["heart-out"]
    (tmp_path / "figure1.csv").write_text(
        "patientid,age,finding,view\nCOVID-00003a,28,COVID-19,AP erect\nCOVID-00003b,50+,,\nCOVID-4,9,No finding,PA\n"
    )
    table = read_figure1(tmp_path)
    assert table["patient"].tolist() == ["COVID-00003", "COVID-00003"]
    assert table["age"].tolist() == [28, 50]
    assert table["view"].tolist() == ["AP", ""]


def test_continuous_extent_agrees_with_the_steps_in_the_middle_of_each() -> None:
    assert continuous_extent(np.array([0.0, 12.5, 37.5, 62.5, 87.5, 100.0])).tolist() == [0, 1, 2, 3, 4, 4]
    assert continuous_extent(np.array([25.0])).tolist() == [1.5]


def test_continuous_severity_rises_with_the_map_and_needs_both_lungs() -> None:
    calibration = SeverityCalibration(gain=2.0, power=1.0)
    assert continuous_severity(0.0, 0.0, calibration) == 0.0
    assert continuous_severity(0.125, 0.0, calibration) == pytest.approx(1.5)
    assert continuous_severity(0.5, 0.9, calibration) == 8.0
    assert np.isnan(continuous_severity(float("nan"), 0.1, calibration))


def test_calibration_is_found_again() -> None:
    means = np.linspace(0.0, 0.6, 40)
    ratios = 100.0 * SeverityCalibration(1.6, 1.3).share(means)
    found = fit_calibration(means, ratios)
    assert found is not None
    assert (found.gain, found.power) == pytest.approx((1.6, 1.3), rel=0.02)
    assert fit_calibration(means[:19], ratios[:19]) is None
