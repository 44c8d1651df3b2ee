"""Models of other makers as scorers: what reaches the model, what is made of its outputs, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from adapter_factory import SIDE, Array, BoxLungs, left_half, radiograph

from cxr_models.adapters import CallableScorer
from cxr_models.adapters import scorer as adapter
from cxr_models.adapters.convert import from_outputs, to_input
from cxr_models.adapters.options import ModelOptions
from cxr_models.contract import CXRInput


@pytest.fixture
def box_lungs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "LungFields", BoxLungs)


# What the model is given


@pytest.mark.parametrize(
    ("options", "dark", "bright"),
    [
        ({"value_range": (0, 1)}, 0.0, 1.0),
        ({"value_range": (-1024, 1024)}, -1024.0, 1024.0),
        ({"value_range": (0, 1), "polarity": "bone-dark"}, 1.0, 0.0),
        ({"value_range": (0, 255), "polarity": "bone-dark"}, 255.0, 0.0),
    ],
)
def test_image_is_scaled_as_declared(options: dict[str, Any], dark: float, bright: float) -> None:
    given = to_input(radiograph().image, ModelOptions(**options))
    assert given.shape == (1, SIDE, SIDE)
    assert given.dtype == np.float32
    assert given[0, 0, 0] == pytest.approx(dark)
    assert given[0, 0, -1] == pytest.approx(bright)


def test_size_channels_and_normalisation() -> None:
    options = ModelOptions(value_range=(0, 1), size=32, channels=3, normalise="imagenet")
    given = to_input(np.full((64, 48), 255.0, np.float32), options)
    assert given.shape == (3, 32, 32)
    # torchvision's own formula: (1 - mean) / standard deviation of each channel
    assert given[:, 0, 0] == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rel=1e-5)
    own = to_input(radiograph().image, ModelOptions(value_range=(0, 1), normalise="image"))
    assert (own.mean(), own.std()) == pytest.approx((0.0, 1.0), abs=1e-5)


# What is made of its outputs


@pytest.mark.parametrize(
    ("output", "values", "index", "probability"),
    [
        ("probability", [[0.3]], None, 0.3),
        ("logit", [[0.0]], None, 0.5),
        ("logit", [[-100.0, np.log(3.0)]], 1, 0.75),
        ("softmax", [[0.0, np.log(4.0)]], 1, 0.8),
        ("softmax", [[0.0, np.log(4.0)]], 0, 0.2),
    ],
)
def test_probability(output: str, values: Any, index: int | None, probability: float) -> None:
    options = ModelOptions(value_range=(0, 1), output=output, index=index)
    found, localisation = from_outputs([np.array(values, np.float32)], options)
    assert found == pytest.approx(probability)
    assert localisation is None


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"output": "map"}, left_half()),
        ({"output": "map", "map_range": (0, 255)}, left_half(255.0)),
        ({"output": "map", "map_range": (-1, 1)}, 2 * left_half() - 1),
        ({"output": "map", "map_polarity": "disease-dark"}, 1 - left_half()),
        ({"output": "map-logit"}, 200 * left_half() - 100),
        ({"output": "map", "index": 1}, np.stack([np.zeros((8, 8)), left_half()])),
    ],
)
def test_map_is_brought_to_0_1_and_disease_bright(options: dict[str, Any], values: Array) -> None:
    _, localisation = from_outputs([values[None]], ModelOptions(value_range=(0, 1), **options))
    assert localisation == pytest.approx(left_half())


@pytest.mark.parametrize(
    ("options", "outputs", "message"),
    [
        ({"output": "probability"}, [[1.7]], "probability is 1.7, outside 0-1.*output: logit"),
        ({"output": "probability"}, [[np.nan]], "probability is nan"),
        ({"output": "probability"}, [[0.1, 0.2]], "holds 2 classes and index is None"),
        ({"output": "probability", "index": 2}, [[0.1, 0.2]], "holds 2 classes and index is 2"),
        ({"output": "probability"}, [np.zeros((8, 8))], r"probability has shape \(8, 8\)"),
        ({"output": "softmax"}, [[3.0]], "softmax of one class is always 1"),
        ({"output": "map"}, [left_half(200.0)], r"spans 0 to 200, outside map_range=\[0, 1\]"),
        ({"output": "map"}, [left_half() - 1], "spans -1 to 0, outside"),
        ({"output": "map"}, [left_half(np.nan)], "holds NaN"),
        ({"output": "map"}, [[0.1, 0.2]], r"map has shape \(2,\)"),
        ({"output": "map"}, [np.zeros((3, 8, 8))], "map holds 3 classes"),
        ({"output": "map"}, [left_half(), 0.3], r"gave 2 outputs and output=\['map'\] names 1"),
        (
            {"output": ["probability", "map"], "map_range": (0, 255)},
            [0.9, left_half()],
            r"sure of pneumonia \(probability 0.90\) but its map peaks at 0.39 % of map_range=\[0, 255\]",
        ),
    ],
)
def test_outputs_outside_the_declaration_are_refused(options: Any, outputs: list[Any], message: str) -> None:
    arrays = [np.asarray(o, np.float32) for o in outputs]
    with pytest.raises(ValueError, match=message):
        from_outputs(arrays, ModelOptions(value_range=(0, 1), **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_range": (1, 0)}, r"value_range=\(1, 0\): give \[low, high\] with low < high"),
        ({"value_range": 255}, "value_range=255: give two numbers"),
        ({"value_range": (0, 1), "polarity": "black"}, "polarity='black': expected one of bone-bright, bone-dark"),
        ({"value_range": (0, 1), "channels": 2}, "channels=2: expected one of 1, 3"),
        ({"value_range": (0, 255), "channels": 3, "normalise": "imagenet"}, "mean is that of 3 channels in 0-1"),
        ({"value_range": (0, 1), "output": "score"}, r"output=\['score'\]: expected one or several of probability"),
        ({"value_range": (0, 1), "output": ["logit", "softmax"]}, "names 2 numbers and 0 maps"),
        ({"value_range": (0, 1), "output": "ignore"}, "names 0 numbers and 0 maps"),
        ({"value_range": (0, 1), "localisation_threshold": 40}, "localisation_threshold=40 is outside 0-1"),
        ({"value_range": (0, 1), "size": 0}, "size=0: give the side"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelOptions(**options)


# A Python function


@pytest.mark.usefixtures("box_lungs")
def test_map_and_probability_become_ratio_and_score() -> None:
    scorer = CallableScorer(lambda image: (0.9, left_half()), value_range=(0, 1), output=["probability", "map"])
    score = scorer.score(radiograph())
    assert (score.ratio_right_percent, score.ratio_left_percent, score.ratio_percent) == pytest.approx((0, 100, 50))
    assert (score.p_pneumonia, score.score) == pytest.approx((0.9, 4.0))
    assert score.lung_mask is not None
    assert score.lung_mask.sum() == SIDE * SIDE // 4
    assert score.lesion_mask is not None
    assert score.lesion_mask.sum() == SIDE * SIDE // 8
    reading = scorer.read(radiograph())
    assert reading.localisation.shape == (SIDE, SIDE)
    assert scorer.weights_sha256 == {"lsnet-light": "of the lungs"}


@pytest.mark.usefixtures("box_lungs")
def test_below_the_detection_threshold_nothing_counts() -> None:
    options: dict[str, Any] = {"value_range": (0, 1), "output": ["probability", "map"]}
    quiet = CallableScorer(lambda image: (0.4, left_half()), **options)
    assert quiet.score(radiograph()).ratio_percent == 0.0
    lenient = CallableScorer(lambda image: (0.4, left_half()), detection_threshold=0.3, **options)
    assert lenient.score(radiograph()).ratio_percent == 50.0
    alone = CallableScorer(lambda image: left_half(), value_range=(0, 1), output="map")
    assert alone.score(radiograph()).ratio_percent == 50.0
    assert np.isnan(alone.score(radiograph()).p_pneumonia)


def test_a_probability_alone_has_no_ratio() -> None:
    scorer = CallableScorer(lambda image: float(image.mean()), value_range=(0, 1))
    score = scorer.score(radiograph())
    assert score.p_pneumonia == pytest.approx(0.5, abs=1e-3)
    assert np.isnan(score.ratio_percent)
    assert score.lung_mask is None
    with pytest.raises(ValueError, match="gives no localisation map"):
        scorer.read(radiograph())


def predict(image: Array) -> float:
    return float(image.max())


def test_a_function_is_found_by_name() -> None:
    scorer = CallableScorer(f"{__name__}:predict", value_range=(0, 0.5))
    assert scorer.name == "predict"
    assert scorer.score(radiograph()).p_pneumonia == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_such_module:f", "No module named 'no_such_module'. Give module:function"),
        (f"{__name__}:nothing", "has no attribute 'nothing'"),
        (f"{__name__}:SIDE", "is a int, which cannot be called"),
    ],
)
def test_functions_that_cannot_be_found(function: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CallableScorer(function, value_range=(0, 1))


def test_a_wrong_description_is_found_before_any_image() -> None:
    with pytest.raises(ValueError, match="probability is 1024, outside 0-1"):
        CallableScorer(lambda image: float(image.max()), value_range=(-1024, 1024), size=64)

    def wants_colour(image: Array) -> float:
        return float(image[2, 0, 0])

    with pytest.raises(ValueError, match=r"does not run on float32 \[1, 1, 64, 64\]: IndexError"):
        CallableScorer(wants_colour, value_range=(0, 1), size=64)
    with pytest.raises(TypeError, match="value_rang"):
        CallableScorer(predict, value_rang=(0, 1))


def test_an_image_on_another_scale_is_refused() -> None:
    scorer = CallableScorer(predict, value_range=(0, 1))
    with pytest.raises(ValueError, match="scaled to 0-1"):
        scorer.score(CXRInput(radiograph().image / 255, 4.0, "PA"))
    with pytest.raises(ValueError, match="View 'LL' is not one"):
        scorer.score(CXRInput(radiograph().image, 4.0, "LL"))


def test_the_bundled_lungs_find_both_sides() -> None:
    from PIL import Image, ImageDraw, ImageFilter

    picture = Image.new("L", (256, 256), 190)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 40, 110, 215), fill=50)
    draw.ellipse((148, 40, 218, 215), fill=50)
    image = np.asarray(picture.filter(ImageFilter.GaussianBlur(3)), np.float32)
    scorer = CallableScorer(lambda given: np.ones_like(given), value_range=(0, 1), output="map")
    score = scorer.score(CXRInput(image, 1.6, "PA"))
    assert score.lung_mask is not None
    assert score.lung_mask[128, 75]
    assert score.lung_mask[128, 183]
    assert score.ratio_percent == pytest.approx(100.0)
