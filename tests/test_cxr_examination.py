"""What is refused and flagged as no readable frontal chest radiograph, on drawn lungs and on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cxr_models.contract import CXRInput, UnsuitableImageError
from cxr_models.data.images import read_grey
from cxr_models.examination import Examination, check_grey_levels, examine
from cxr_models.lung_fields import LungFields
from cxr_models.pneumonia import WEIGHTS, DLNetLightScorer
from cxr_models.postprocessing import lung_masks
from cxr_models.typical_lungs import (
    FEATURES,
    TypicalLungs,
    certainty,
    load_typical_lungs,
    lung_features,
    mediastinum,
)

Array = npt.NDArray[np.float32]
SIZE = 100
RIGHT, LEFT = np.s_[20:80, 10:40], np.s_[20:80, 60:90]


def drawing(lung: float = 0.2, tissue: float = 0.8) -> Array:
    """Two dark boxes of 60 x 30 pixels, 20 pixels apart, the upper third of them darker."""
    image = np.full((SIZE, SIZE), tissue, np.float32)
    image[RIGHT] = image[LEFT] = lung
    image[20:40, 10:40] = image[20:40, 60:90] = lung - 0.1
    return image


def segment(image: Array) -> Array:
    """Stands in for the lung network: as sure of a box as its upper third is dark; knows no other places."""
    maps = np.zeros((2, SIZE, SIZE), np.float32)
    upright = image[20:40, 10:40].mean() < image[60:80, 10:40].mean()
    for plane, box in zip(maps, (RIGHT, LEFT), strict=True):
        plane[box] = 0.99 if upright else 0.6
        plane[box][:6] = 0.8  # a tenth of which it is less sure
    return maps


TYPICAL = TypicalLungs(
    "drawn", lung_features(drawing(), segment(drawing())), np.diag([0.05, 0.05, 0.05, 0.05, 0.2, 0.2])
)


def examined(image: Array, typical: TypicalLungs | None = TYPICAL) -> Examination:
    return examine(image, segment(image), segment, typical)


# What is measured


def test_features_of_drawn_lungs() -> None:
    image = np.full((SIZE, SIZE), 0.8, np.float32)
    image[RIGHT] = image[LEFT] = 0.2
    probability = segment(drawing())
    found = dict(zip(FEATURES, lung_features(image, probability), strict=True))
    share = 2 * 60 * 30 / SIZE**2
    deviation = 0.6 * np.sqrt(share * (1 - share))  # of an image of two grey values, 0.6 apart
    assert found["mediastinum"] == pytest.approx(-0.6 / deviation, rel=1e-4)
    assert found["rim"] == pytest.approx(-0.6 / deviation, rel=1e-4)
    assert found["area_right"] == found["area_left"] == pytest.approx(np.log(0.18))
    assert found["certainty_right"] == pytest.approx(np.log(0.9 / 0.1))
    assert certainty(probability) == pytest.approx(0.9)
    assert certainty(np.zeros_like(probability)) == 0.0


def test_the_mediastinum_lies_between_the_lungs() -> None:
    found = mediastinum(lung_masks(segment(drawing())))
    rows, cols = np.where(found)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (20, 79, 41, 58)


def test_a_missing_lung_leaves_the_others_features() -> None:
    probability = segment(drawing())
    probability[1] = 0.0
    found = dict(zip(FEATURES, lung_features(drawing(), probability), strict=True))
    assert {name for name, value in found.items() if np.isnan(value)} == {"mediastinum", "area_left", "certainty_left"}


def test_distance_is_mahalanobis_by_the_number_of_known_features() -> None:
    typical = TypicalLungs("x", np.zeros(6), np.diag([4.0, 1, 1, 1, 1, 1]))
    assert typical.distance(np.array([2.0, 0, 0, 0, 0, 3.0])) == pytest.approx((1 + 9) / 6)
    assert typical.distance(np.array([2.0, np.nan, np.nan, np.nan, np.nan, np.nan])) == pytest.approx(1.0)
    assert typical.distance(np.full(6, np.nan)) == np.inf
    # of two features that go together, going apart is far off
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 6))
    rows[:, 1] = rows[:, 0] + 0.1 * rng.standard_normal(500)
    rows[0] = np.nan  # an image without lungs
    fitted = TypicalLungs.of(rows, "x")
    assert fitted.distance(np.array([1.0, 1, 0, 0, 0, 0])) < 0.5 < 20 < fitted.distance(np.array([1.0, -1, 0, 0, 0, 0]))


def test_typical_lungs_belong_to_the_bundled_network() -> None:
    fields = LungFields(WEIGHTS, "lsnet-light", torch.device("cpu"))
    typical = load_typical_lungs(fields.sha256)
    assert typical is not None, "measure them for the new weights: python -m validation.radiograph_checks"
    assert typical.mean.shape == (len(FEATURES),)
    assert (np.linalg.eigvalsh(typical.covariance) > 0).all()
    assert load_typical_lungs("of other weights") is None


# What is made of it


def test_ordinary_lungs_raise_no_doubt() -> None:
    assert examined(drawing()) == Examination()
    assert examined(drawing(), None) == Examination()


def test_turned_images_are_named() -> None:
    problem = examined(np.ascontiguousarray(drawing()[::-1])).problem
    assert "looks upside down. Save it with the head up and the patient's right on the left" in problem


@pytest.mark.parametrize("typical", [TYPICAL, None])
def test_inverted_images_are_refused(typical: TypicalLungs | None) -> None:
    problem = examined(drawing(lung=0.8, tissue=0.2), typical).problem
    assert "brighter than the mediastinum" in problem
    assert "looks inverted, bone dark. Save it with bone bright" in problem


def test_strange_lungs_are_flagged_and_impossible_ones_refused() -> None:
    noise = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)  # hides the lungs' contrast
    assert examined(drawing() + 0.2 * noise) == Examination()
    assert examined(drawing() + 0.5 * noise).flags == ("unusual_lung_fields",)
    assert "unlike the lung fields of radiographs" in examined(drawing() + 3.0 * noise).problem


def test_missing_lungs() -> None:
    def right_only(image: Array) -> Array:
        return segment(image) * np.array([1.0, 0.0], np.float32)[:, None, None]

    image = drawing()
    assert examine(image, right_only(image), right_only, TYPICAL).flags == ("left_lung_not_found",)
    assert examine(image, right_only(image)[::-1], right_only, None).flags == ("right_lung_not_found",)
    nothing = np.zeros((2, SIZE, SIZE), np.float32)
    assert "No lung field was found in the image" in examine(image, nothing, right_only, TYPICAL).problem


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (255.0 * (np.indices((80, 80)).sum(axis=0) % 2), r"about 2\.0 grey levels.* 1-bit copy"),
        (np.tile(np.arange(200.0), (80, 1)), r"200 pixels wide and 80 high; .* 0\.5 to 2\.2 times as wide"),
        (np.tile(np.arange(70.0), (200, 1)), r"70 pixels wide and 200 high"),
    ],
)
def test_images_that_are_no_radiographs_by_their_pixels(image: Array, message: str) -> None:
    with pytest.raises(UnsuitableImageError, match=message):
        check_grey_levels(image.astype(np.float32))


# Real images


@pytest.mark.data
def test_real_radiographs_pass_and_altered_ones_do_not(data_root: Path) -> None:
    scorer = DLNetLightScorer(device="cpu")
    for source, name in (("nih", "00001280_004.jpg"), ("openist", "openist_000.jpg"), ("covid", "covid_0001.jpg")):
        image = read_grey(data_root / "cxr" / source / name)
        assert scorer.score(CXRInput(image, 1.0, "PA")).flags == ()
        altered = {
            "upside down": image[::-1],
            "inverted": 255.0 - image,
            "to the left|to the right": np.rot90(image),
        }
        for message, wrong in altered.items():
            with pytest.raises(UnsuitableImageError, match=message):
                scorer.score(CXRInput(np.ascontiguousarray(wrong), 1.0, "PA"))
    noise = np.random.default_rng(0).uniform(0, 255, (256, 256)).astype(np.float32)
    with pytest.raises(UnsuitableImageError, match="unlike the lung fields"):
        scorer.score(CXRInput(noise, 1.0, "PA"))
