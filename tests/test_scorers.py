from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import box_thorax

from ct_models.contract import CTInput, CTScore
from cxr_models.contract import CXRContract, CXRInput, CXRScore, UnsuitableImageError
from drrval.errors import ScorerError
from drrval.geometry import view_geometry
from drrval.radiograph import Radiograph
from drrval.settings import DisplaySettings
from drrval.study.config import ScorerSpec
from drrval.study.scorers import (
    RejectedImageError,
    load_ct_scorer,
    load_cxr_scorer,
    project_anatomy,
    score_ct,
    score_radiograph,
)


class BoxCT:
    """Right and left lung of the box thorax, the lower half of the right one diseased."""

    name = "box"

    def __init__(self, ratio: float = 25.0) -> None:
        self.ratio = ratio

    def score(self, ct: CTInput) -> CTScore:
        side = np.where(np.arange(ct.hu.shape[2]) < 50, 1, 2).astype(np.uint8)
        lungs = np.where(ct.hu == -850, side, 0).astype(np.uint8)
        lesion = (lungs == 1) & (np.arange(ct.hu.shape[0]) < 30)[:, None, None]
        return CTScore(lungs, lesion, self.ratio, 2 * self.ratio, 0.0, 100.0, 25.0)


class EchoCXR:
    """Returns what it was given as a score, so that conversions can be seen."""

    name = "echo"
    seen: CXRInput

    def __init__(self, contract: CXRContract | None = None, **result: Any) -> None:
        self.contract = contract or CXRContract()
        self.result = {"ratio_percent": 10.0, **result}

    def score(self, radiograph: CXRInput) -> CXRScore:
        self.seen = radiograph
        return CXRScore(**self.result)


def radiograph(view: str = "PA") -> Radiograph:
    geometry = view_geometry(view, rows=64, columns=64, pixel_mm=6.72)
    signal = np.geomspace(1.0, 0.001, 64 * 64).reshape(64, 64).astype(np.float32)
    return Radiograph(
        signal,
        np.zeros((3, 64, 64), np.float32),
        np.ones((64, 64), bool),
        geometry,
        DisplaySettings(window=(0.0, 6.0)),
        0,
        (),
        "ct",
        {},
    )


def anatomy() -> Any:
    ct = box_thorax()
    return project_anatomy(BoxCT().score(CTInput(ct.hu, (4.0, 4.0, 4.0))), ct.grid, radiograph())


def test_entry_points_and_import_strings_load() -> None:
    assert load_ct_scorer(ScorerSpec(use="opacity")).name == "opacity"
    assert load_cxr_scorer(ScorerSpec(use="projected-area")).contract.needs_projection
    assert load_ct_scorer(ScorerSpec(use="test_scorers:BoxCT", options={"ratio": 7.0})).name == "box"


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("nonsense", "Unknown CT scorer 'nonsense'. Installed: .*opacity"),
        ("no_such_module:X", "Cannot load the scorer"),
        ("test_scorers:Nothing", "Cannot load the scorer"),
        ("test_scorers:radiograph", "without name and score"),
    ],
)
def test_scorers_that_cannot_be_loaded(use: str, message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        load_ct_scorer(ScorerSpec(use=use))


def test_constructor_errors_name_the_options() -> None:
    with pytest.raises(ScorerError, match=r"cannot be made with options \{'size': 3\}: TypeError: .*Give a class"):
        load_ct_scorer(ScorerSpec(use="test_scorers:BoxCT", options={"size": 3}))


def test_a_missing_model_file_is_named_without_other_advice() -> None:
    options = {"path": "no/model.pt", "size": 64, "value_range": [0, 1]}
    with pytest.raises(ScorerError, match=r"Cannot read the model no/model\.pt: No such.*working folder, .*[^.]\.$"):
        load_cxr_scorer(ScorerSpec(use="cxr_models.adapters:TorchScriptScorer", options=options))


@pytest.mark.parametrize(
    ("contract", "low", "high"),
    [
        (CXRContract(), 0, 255),
        (CXRContract(value_range=(-1024, 1024)), -1024, 1024),
        (CXRContract(value_range=(0, 1)), 0, 1),
    ],
)
def test_image_is_scaled_to_the_contract(contract: CXRContract, low: float, high: float) -> None:
    scorer = EchoCXR(contract)
    drr = radiograph()
    score_radiograph(scorer, drr, anatomy())
    assert scorer.seen.image.dtype == np.float32
    assert (scorer.seen.image.min(), scorer.seen.image.max()) == pytest.approx((low, high))
    assert scorer.seen.image == pytest.approx(low + (high - low) * (drr.image / 255.0), abs=1e-3)


def test_polarity_size_and_pitch_follow_the_contract() -> None:
    scorer = EchoCXR(CXRContract(polarity="bone-dark", size=(32, 32)))
    score_radiograph(scorer, radiograph(), anatomy())
    assert scorer.seen.image.shape == (32, 32)
    assert scorer.seen.pixel_mm == pytest.approx(2 * 6.72)
    assert scorer.seen.image[0, 0] > scorer.seen.image[-1, -1]
    assert scorer.seen.projected is None


def test_view_outside_the_contract_is_refused() -> None:
    with pytest.raises(ScorerError, match="the scorer accepts views"):
        score_radiograph(EchoCXR(), radiograph("LL"), anatomy())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"ratio_percent": 130.0}, "ratio_percent is 130, outside 0-100"),
        ({"p_pneumonia": -0.1}, "p_pneumonia is -0.1, outside 0-1"),
        ({"score": 9.0}, "score is 9, outside 0-8"),
        ({"lung_mask": np.ones((3, 3), bool)}, r"a bool mask of shape \(3, 3\)"),
        ({"lesion_mask": np.ones((64, 64))}, r"a float64 mask of shape .*Masks must be bool \(mask > 0"),
        ({"localisation": np.ones((3, 3), np.float32)}, r"a localisation map of shape \(3, 3\)"),
    ],
)
def test_results_outside_the_contract_are_refused(result: dict[str, Any], message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        score_radiograph(EchoCXR(**result), radiograph(), anatomy())


def test_an_unsuitable_image_is_told_from_a_failing_scorer() -> None:
    class Strict(EchoCXR):
        def score(self, radiograph: CXRInput) -> CXRScore:
            raise UnsuitableImageError("The image looks upside down. Turn it.")

    with pytest.raises(RejectedImageError, match=r"view of .*: The image looks upside down\. Turn it\."):
        score_radiograph(Strict(), radiograph(), anatomy())


def test_flags_of_a_radiograph_are_kept() -> None:
    assert score_radiograph(EchoCXR(flags=("odd",)), radiograph(), anatomy()).flags == ("odd",)


def test_ct_results_outside_the_contract_are_refused() -> None:
    ct = box_thorax()
    with pytest.raises(ScorerError, match="ratio_right_percent is 200"):
        score_ct(BoxCT(ratio=100.0), ct)

    class Leaking(BoxCT):
        def score(self, ct: CTInput) -> CTScore:
            return replace(super().score(ct), lesion=np.ones(ct.hu.shape, bool))

    with pytest.raises(ScorerError, match="the lesion mask leaves the lungs"):
        score_ct(Leaking(), ct)


def test_a_failing_scorer_is_named() -> None:
    class Broken(BoxCT):
        def score(self, ct: CTInput) -> CTScore:
            raise RuntimeError("no weights")

    with pytest.raises(ScorerError, match="CT scorer 'box' on box thorax: RuntimeError: no weights"):
        score_ct(Broken(), box_thorax())


def test_projected_anatomy_keeps_volumes_and_sides() -> None:
    parts = anatomy()
    assert (parts.lesion_right_cm <= parts.lung_right_cm + 1e-5).all()
    assert parts.lesion_left_cm.max() == 0.0
    # Half of the right lung is diseased; the cone beam magnifies both halves nearly alike.
    assert parts.lesion_right_cm.sum() / parts.lung_right_cm.sum() == pytest.approx(0.5, abs=0.02)
    assert parts.lung_right_cm[:, :32].sum() > 0.95 * parts.lung_right_cm.sum()


def test_nothing_is_scored_outside_the_collimated_field() -> None:
    ct, drr = box_thorax(), radiograph()
    drr.field[:32] = False
    parts = project_anatomy(BoxCT().score(CTInput(ct.hu, (4.0, 4.0, 4.0))), ct.grid, drr)
    assert parts.lung_right_cm[:32].max() == 0.0
    assert parts.lung_right_cm[32:].max() > 0.0


def test_ct_masks_of_the_wrong_kind_are_refused() -> None:
    class Unlabelled(BoxCT):
        def score(self, ct: CTInput) -> CTScore:
            score = super().score(ct)
            return replace(score, lungs=(score.lungs * 3).astype(np.uint8))

    with pytest.raises(ScorerError, match=r"lungs must be uint8 of 0, 1 \(right\), 2 \(left\).*got uint8 up to 6"):
        score_ct(Unlabelled(), box_thorax())


def test_a_contract_that_would_stretch_the_image_is_refused() -> None:
    with pytest.raises(ScorerError, match="must keep the aspect ratio"):
        score_radiograph(EchoCXR(CXRContract(size=(32, 64))), radiograph(), anatomy())


def test_a_result_of_another_type_is_refused() -> None:
    class Loose(EchoCXR):
        def score(self, radiograph: CXRInput) -> CXRScore:
            return {"ratio_percent": 3.0}  # type: ignore[return-value]

    with pytest.raises(ScorerError, match=r"returned a dict\. It must return a cxr_models"):
        score_radiograph(Loose(), radiograph(), anatomy())
