"""Percent opacity on lungs whose disease is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from ct_models.contract import CTInput, CTScorer
from ct_models.lungs import LungSegmentation
from ct_models.opacity import OpacityScorer

SPACING = (2.0, 1.5, 1.5)
SHAPE = (50, 60, 100)


def known_lungs(hu: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> LungSegmentation:
    """Two boxes that fill the volume but for a margin: the segmenter of these tests."""
    labels = np.zeros(hu.shape, np.uint8)
    labels[5:-5, 8:-8, 8:45] = 1
    labels[5:-5, 8:-8, 55:-8] = 2
    return LungSegmentation(labels, ("lung_volume_small",))


def normal() -> CTInput:
    """Lungs of -850 HU with a gradient to the back (80 HU), noise, and vessels of 2-3 mm radius, in soft tissue."""
    hu = np.full(SHAPE, 40.0, np.float32)
    inside = known_lungs(hu, SPACING).labels > 0
    gradient = np.linspace(-880.0, -800.0, SHAPE[1])[None, :, None]
    hu[inside] = np.broadcast_to(gradient, SHAPE)[inside]
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for column in (15, 25, 35, 65, 75, 85):
        vessel = np.hypot((y - 30) * SPACING[1], (x - column) * SPACING[2]) <= 2.5
        hu[:, vessel] = 40.0
    hu += np.random.default_rng(0).normal(0, 30, SHAPE).astype(np.float32)
    return CTInput(hu, SPACING)


def ball(centre: tuple[int, int, int], radius_mm: float) -> npt.NDArray[np.bool_]:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    squares = [((a - c) * s) ** 2 for a, c, s in zip((z, y, x), centre, SPACING, strict=True)]
    return sum(squares) <= radius_mm**2  # type: ignore[return-value]


def with_disease(hounsfield: float, radius_mm: float = 15.0) -> tuple[CTInput, npt.NDArray[np.bool_]]:
    """The normal lungs with one ball of disease in the right one, and the ball."""
    ct = normal()
    lesion = ball((25, 30, 25), radius_mm)
    return replace(ct, hu=np.where(lesion & (ct.hu < -500), np.float32(hounsfield), ct.hu)), lesion


def test_scorer_keeps_the_contract() -> None:
    assert isinstance(OpacityScorer(), CTScorer)
    score = OpacityScorer(segment=known_lungs).score(with_disease(-500.0)[0])
    assert score.lesion.dtype == np.bool_
    assert score.lesion.shape == SHAPE
    assert not (score.lesion & (score.lungs == 0)).any()
    assert np.isnan(score.p_pneumonia)
    assert score.flags == ("lung_volume_small",)


def test_normal_lungs_with_vessels_and_gradient_score_zero() -> None:
    score = OpacityScorer(segment=known_lungs).score(normal())
    assert score.ratio_percent == 0.0
    assert score.lesion_cm3 == 0.0


@pytest.mark.parametrize("hounsfield", [-600.0, -400.0, 30.0])
def test_lesion_volume_is_recovered(hounsfield: float) -> None:
    ct, lesion = with_disease(hounsfield)
    score = OpacityScorer(segment=known_lungs).score(ct)
    voxel_cm3 = np.prod(SPACING) / 1000.0
    right, left = (score.lungs == 1).sum(), (score.lungs == 2).sum()
    assert score.lesion_cm3 == pytest.approx(lesion.sum() * voxel_cm3, rel=0.1)
    assert score.lung_cm3 == pytest.approx((right + left) * voxel_cm3)
    assert score.ratio_right_percent == pytest.approx(100 * lesion.sum() / right, rel=0.1)
    assert score.ratio_left_percent == 0.0
    assert score.ratio_percent == pytest.approx(100 * score.lesion_cm3 / score.lung_cm3)


def test_threshold_vessel_radius_and_smallest_lesion_do_what_they_say() -> None:
    ct, _ = with_disease(-600.0)
    assert OpacityScorer(threshold_hu=-500.0, segment=known_lungs).score(ct).lesion_cm3 == 0.0
    assert OpacityScorer(smallest_cm3=20.0, segment=known_lungs).score(ct).lesion_cm3 == 0.0
    assert OpacityScorer(vessel_radius_mm=20.0, segment=known_lungs).score(ct).lesion_cm3 == 0.0
    assert OpacityScorer(vessel_radius_mm=0.0, segment=known_lungs).score(normal()).lesion_cm3 > 0.0


def test_coarse_voxels_still_lose_their_vessels() -> None:
    lungs = known_lungs(np.zeros(SHAPE, np.float32), SPACING).labels > 0
    ct = CTInput(np.where(lungs, np.float32(-850.0), np.float32(40.0)), (5.0, 5.0, 5.0))
    ct.hu[:, 30:32, 20:22] = 40.0  # thicker than the default radius, and thinner than three voxels
    assert OpacityScorer(segment=known_lungs).score(ct).ratio_percent == 0.0


def test_a_missing_lung_has_no_ratio() -> None:
    def right_only(hu: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> LungSegmentation:
        labels = known_lungs(hu, spacing_mm).labels
        return LungSegmentation(np.where(labels == 1, labels, 0).astype(np.uint8))

    score = OpacityScorer(segment=right_only).score(with_disease(-400.0)[0])
    assert np.isnan([score.ratio_left_percent, score.ratio_percent]).all()
    assert np.isnan(score.ratio_right_percent)  # the left lung was there, and was left out
    assert "left_lung_missing" in score.flags


def test_bad_arguments_and_empty_lungs_are_errors() -> None:
    with pytest.raises(ValueError, match=r"threshold_hu=100 .* between -1000 \(air\) and 0 HU"):
        OpacityScorer(threshold_hu=100.0)
    with pytest.raises(ValueError, match=r"vessel_radius_mm=-1 .* must not be negative"):
        OpacityScorer(vessel_radius_mm=-1.0)
    empty = OpacityScorer(segment=lambda hu, spacing_mm: LungSegmentation(np.zeros(hu.shape, np.uint8)))
    with pytest.raises(ValueError, match="no lungs found: the lung segmenter returned an empty mask"):
        empty.score(normal())


@pytest.mark.data
@pytest.mark.slow
def test_normal_ct_scores_low_and_covid_slices_stand_out(data_root: Path) -> None:
    def score(name: str) -> npt.NDArray[np.bool_]:
        folder = str(data_root / "ct" / name)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
        image = sitk.DICOMOrient(reader.Execute(), "LPS")
        sx, sy, sz = image.GetSpacing()
        result = OpacityScorer().score(CTInput(sitk.GetArrayFromImage(image).astype(np.float32), (sz, sy, sx)))
        ratios[name] = result.ratio_percent
        return result.lesion

    ratios: dict[str, float] = {}
    score("normal_001")
    assert ratios["normal_001"] < 2.0
    areas = score("covid_P001").sum(axis=(1, 2))[::-1]  # head to feet, as the table
    assert ratios["covid_P001"] > 2 * ratios["normal_001"]
    table = np.genfromtxt(
        data_root / "ct" / "slice_labels.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    infected = table["infected"][table["scan"] == "covid_P001"] > 0
    wins = areas[infected][:, None] > areas[~infected]
    ties = areas[infected][:, None] == areas[~infected]
    assert np.mean(wins + 0.5 * ties) > 0.9  # area under the ROC curve
