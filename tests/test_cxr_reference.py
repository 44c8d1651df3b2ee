"""The projected-lesion reference on shadows whose areas and path lengths are known."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from cxr_models.contract import CXRInput, CXRScorer, ProjectedAnatomy
from cxr_models.reference import ProjectedAreaScorer, ProjectedThicknessScorer
from cxr_models.severity import severity_score

Image = npt.NDArray[np.float32]


def zeros() -> Image:
    return np.zeros((20, 40), np.float32)


def boxes(**paths_cm: Image) -> CXRInput:
    """Right lung 10x10 pixels of 8 cm, left lung 5x10 pixels of 4 cm, no lesion, unless given."""
    right, left = zeros(), zeros()
    right[5:15, 5:15] = 8.0
    left[5:10, 25:35] = 4.0
    given = {"lung_right_cm": right, "lung_left_cm": left, "lesion_right_cm": zeros(), "lesion_left_cm": zeros()}
    return CXRInput(zeros(), 0.42, "PA", ProjectedAnatomy(**{**given, **paths_cm}))


def lesion_in_right(thickness_cm: float = 2.0) -> Image:
    """Forty of the hundred pixels of the right lung."""
    lesion = zeros()
    lesion[5:9, 5:15] = thickness_cm
    return lesion


@pytest.mark.parametrize("scorer", [ProjectedAreaScorer(), ProjectedThicknessScorer()])
def test_contract(scorer: CXRScorer) -> None:
    assert isinstance(scorer, CXRScorer)
    assert scorer.contract.needs_projection
    assert scorer.contract.views == ("PA", "AP", "LL")
    score = scorer.score(boxes(lesion_right_cm=lesion_in_right()))
    assert math.isnan(score.p_pneumonia)
    assert score.lung_mask is not None
    assert score.lesion_mask is not None
    assert score.lung_mask.sum() == 150
    np.testing.assert_array_equal(score.lesion_mask, lesion_in_right() > 0)


def test_area_ratio_counts_pixels() -> None:
    score = ProjectedAreaScorer().score(boxes(lesion_right_cm=lesion_in_right()))
    assert score.ratio_right_percent == pytest.approx(40.0)
    assert score.ratio_left_percent == 0.0
    assert score.ratio_percent == pytest.approx(100 * 40 / 150)
    assert score.score == 2.0


def test_thickness_ratio_weights_by_path_length() -> None:
    score = ProjectedThicknessScorer().score(boxes(lesion_right_cm=lesion_in_right()))
    assert score.ratio_right_percent == pytest.approx(100 * 40 * 2 / (100 * 8))
    assert score.ratio_left_percent == 0.0
    assert score.ratio_percent == pytest.approx(100 * 40 * 2 / (100 * 8 + 50 * 4))
    assert score.score == 1.0


def test_thin_lesion_and_thin_lung_cast_no_shadow() -> None:
    thin = boxes(lesion_right_cm=lesion_in_right(0.9))
    assert ProjectedAreaScorer().score(thin).ratio_percent == 0.0
    assert ProjectedAreaScorer(min_lesion_cm=0.5).score(thin).ratio_right_percent == pytest.approx(40.0)
    assert ProjectedThicknessScorer().score(thin).ratio_percent > 0.0
    without_left = ProjectedAreaScorer(min_lung_cm=5.0).score(boxes(lesion_right_cm=lesion_in_right()))
    assert without_left.ratio_percent == pytest.approx(40.0)
    assert math.isnan(without_left.ratio_left_percent)
    assert math.isnan(without_left.score)


def test_lungs_over_each_other_count_once_in_the_union() -> None:
    right, left, lesion = zeros(), zeros(), zeros()
    right[5:15, 5:15] = left[5:15, 5:15] = 6.0
    lesion[5:15, 5:10] = 3.0
    both = boxes(lung_right_cm=right, lung_left_cm=left, lesion_right_cm=lesion, lesion_left_cm=lesion)
    assert ProjectedAreaScorer().score(both).ratio_percent == pytest.approx(50.0)
    assert ProjectedThicknessScorer().score(both).ratio_percent == pytest.approx(25.0)


def test_wholly_diseased_lungs_are_100_percent() -> None:
    base = boxes().projected
    assert base is not None
    sick = boxes(lesion_right_cm=base.lung_right_cm, lesion_left_cm=base.lung_left_cm)
    for scorer in (ProjectedAreaScorer(), ProjectedThicknessScorer()):
        score = scorer.score(sick)
        assert score.ratio_percent == pytest.approx(100.0)
        assert score.score == 8.0


@pytest.mark.parametrize("scorer", [ProjectedAreaScorer(), ProjectedThicknessScorer()])
def test_no_lung_and_no_masks_are_errors(scorer: CXRScorer) -> None:
    with pytest.raises(ValueError, match=r"no lung in the field: .* Check the isocentre"):
        scorer.score(boxes(lung_right_cm=zeros(), lung_left_cm=zeros()))
    with pytest.raises(ValueError, match=r"CXRInput.projected is missing.* render the radiograph from a CT"):
        scorer.score(CXRInput(zeros(), 0.42, "PA"))


@pytest.mark.parametrize("scorer", [ProjectedAreaScorer, ProjectedThicknessScorer])
def test_thresholds_must_be_positive(scorer: type[ProjectedAreaScorer]) -> None:
    with pytest.raises(ValueError, match="min_lung_cm=0 must be positive"):
        scorer(min_lung_cm=0.0)
    with pytest.raises(ValueError, match="min_lesion_cm=-1 must be positive"):
        scorer(min_lesion_cm=-1.0)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.0, 0), (0.1, 1), (24.9, 1), (25.0, 2), (49.9, 2), (50.0, 3), (75.0, 3), (75.1, 4), (100.0, 4)],
)
def test_severity_edges(ratio: float, expected: int) -> None:
    assert severity_score(ratio, 0.0) == expected
    assert severity_score(0.0, ratio) == expected
    assert severity_score(ratio, 100.0) == expected + 4


def test_severity_of_an_unmeasured_lung_is_nan() -> None:
    assert math.isnan(severity_score(float("nan"), 10.0))
    assert math.isnan(severity_score(10.0, float("nan")))


@pytest.mark.parametrize("ratio", [-0.1, 100.1])
def test_severity_refuses_impossible_ratios(ratio: float) -> None:
    with pytest.raises(ValueError, match="outside 0-100 %"):
        severity_score(ratio, 0.0)
