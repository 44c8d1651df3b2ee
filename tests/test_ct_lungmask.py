"""The lungmask adapter, against a stand-in with lungmask's interface and its documented labels."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import box_thorax

from ct_models.contract import LEFT, RIGHT, CTInput
from ct_models.lungmask_adapter import LungMaskSegmenter
from drrval.errors import ScorerError
from drrval.study.config import ScorerSpec
from drrval.study.scorers import load_ct_scorer

SPACING = (4.0, 4.0, 4.0)


class FakeInferer:
    """Air inside the body, labelled as the model of that name labels it (lungmask's README, "Semantics of output")."""

    made: dict[str, Any]

    def __init__(self, **arguments: Any) -> None:
        FakeInferer.made = arguments

    def apply(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        right_in_image = np.arange(image.shape[2]) < image.shape[2] // 2  # the patient's right is on the left
        upper = (np.arange(image.shape[0]) >= image.shape[0] // 2)[:, None, None]
        if FakeInferer.made["modelname"] == "LTRCLobes":
            labels = np.where(right_in_image, np.where(upper, 3, 5), np.where(upper, 1, 2))
        else:
            labels = np.where(right_in_image, 1, 2) + 0 * upper
        return np.where(image == -850, labels, 0).astype(np.uint8)


@pytest.fixture(autouse=True)
def _fake_lungmask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lungmask", SimpleNamespace(LMInferer=FakeInferer))


@pytest.mark.parametrize("model", ["R231", "R231CovidWeb", "LTRCLobes", "LTRCLobes_R231"])
def test_right_and_left_are_drrvals_whatever_the_models_labels(model: str) -> None:
    ct = box_thorax()
    found = LungMaskSegmenter(model, device="cpu")(ct.hu, SPACING)
    assert found.labels.dtype == np.uint8
    assert set(np.unique(found.labels[:, :, :50])) == {0, RIGHT}
    assert set(np.unique(found.labels[:, :, 50:])) == {0, LEFT}
    assert ((found.labels > 0) == (ct.hu == -850)).all()
    assert found.flags == ()


def test_the_fused_model_and_own_weights_reach_lungmask() -> None:
    LungMaskSegmenter("LTRCLobes_R231", device="cpu")
    assert FakeInferer.made["modelname"] == "LTRCLobes"
    assert FakeInferer.made["fillmodel"] == "R231"
    assert FakeInferer.made["force_cpu"] is True
    LungMaskSegmenter("R231", path="unet.pth")
    assert FakeInferer.made["modelpath"] == "unet.pth"
    assert FakeInferer.made["force_cpu"] is False


def test_clipped_lungs_are_flagged() -> None:
    ct = box_thorax()
    assert LungMaskSegmenter()(ct.hu[10:50], SPACING).flags == ("lungs_touch_first_slice", "lungs_touch_last_slice")


def test_opacity_with_lungmask_in_a_study() -> None:
    spec = ScorerSpec(use="ct_models.lungmask_adapter:lungmask_opacity", options={"threshold_hu": -600})
    scorer = load_ct_scorer(spec)
    assert scorer.score(CTInput(box_thorax().hu, SPACING)).ratio_percent == 0.0
    with pytest.raises(ScorerError, match="No lungmask model is called 'R23'"):
        load_ct_scorer(ScorerSpec(use=spec.use, options={"model": "R23"}))


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="device='cuda:1': lungmask takes a GPU"):
        LungMaskSegmenter(device="cuda:1")
    with pytest.raises(ValueError, match="has two weight files"):
        LungMaskSegmenter("LTRCLobes_R231", path="unet.pth")
    with pytest.raises(ValueError, match="no lungs found by lungmask"):
        LungMaskSegmenter()(np.full((4, 8, 8), 40.0, np.float32), SPACING)
    monkeypatch.setattr(FakeInferer, "apply", lambda self, image: np.full(image.shape, 4, np.uint8))
    with pytest.raises(ValueError, match="lungmask returned labels up to 4"):
        LungMaskSegmenter()(np.zeros((4, 8, 8), np.float32), SPACING)
    monkeypatch.setitem(sys.modules, "lungmask", None)
    with pytest.raises(ImportError, match="pip install lungmask"):
        LungMaskSegmenter()


def test_a_missing_package_names_its_remedy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lungmask", None)
    use = "ct_models.lungmask_adapter:lungmask_opacity"
    with pytest.raises(ScorerError) as caught:
        load_ct_scorer(ScorerSpec(use=use))
    assert str(caught.value) == (
        f"Scorer {use!r} cannot be made: This segmenter needs lungmask, which is not installed: pip install lungmask."
    )
