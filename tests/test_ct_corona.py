"""The Corona scorer: from slices to volumes with a stand-in classifier; the bundled weights on inserted disease."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ct_models.contract import CTInput, CTScorer
from ct_models.corona import CoronaScorer
from ct_models.data.volumes import read_image
from ct_models.lungs import LungSegmentation
from ct_models.networks.slice_net import SliceNet, make_slice_net
from ct_models.slice_reading import scan_probability
from neural.store import save_weights

SPACING = (2.0, 1.5, 1.5)
SHAPE = (60, 90, 140)


class HazeNet(SliceNet):
    """A classifier that takes everything about as dense as ground glass for disease, at 4 x 4 pixels."""

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)
        self.fc.weight, self.fc.bias = nn.Parameter(torch.tensor([[6000.0]])), nn.Parameter(torch.tensor([-2.0]))

    @property
    def backbone(self) -> nn.Module:
        return self

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def activation(self, images: Tensor) -> Tensor:
        return F.avg_pool2d((0.15 - (images[:, 1:2] - 0.5).abs()).clamp_min(0.0), 4)


def known_lungs(hu: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> LungSegmentation:
    """Two boxes: the segmenter of these tests."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:-6, 10:-10, 10:65], labels[6:-6, 10:-10, 75:-10] = 1, 2
    return LungSegmentation(labels, ("lung_volume_small",))


def chest(radius_mm: float = 0.0) -> tuple[CTInput, npt.NDArray[np.bool_]]:
    """Lungs of -860 HU with noise in soft tissue, a ball of -500 HU in the right one, and the ball."""
    hu = np.full(SHAPE, 40.0, np.float32)
    hu[known_lungs(hu, SPACING).labels > 0] = -860.0
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    squares = ((z - 30) * SPACING[0]) ** 2 + ((y - 45) * SPACING[1]) ** 2 + ((x - 38) * SPACING[2]) ** 2
    ball = np.asarray(squares < radius_mm**2)
    hu[ball] = -500.0
    hu += np.random.default_rng(0).normal(0, 15, SHAPE).astype(np.float32)
    return CTInput(hu, SPACING), ball


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> CoronaScorer:
    """The scorer with the stand-in classifier."""
    store = tmp_path_factory.mktemp("store")
    settings = {"slice_threshold": 0.5, "lesion_threshold": 0.5}
    save_weights(make_slice_net("ct-slices-light"), store, "ct-slices-light", "card", settings)
    made = CoronaScorer(store, device="cpu", segment=known_lungs)
    made.network = HazeNet().eval()
    return made


def test_scorer_keeps_the_contract(scorer: CoronaScorer) -> None:
    assert isinstance(scorer, CTScorer)
    assert list(scorer.weights_sha256) == ["ct-slices-light"]
    score = scorer.score(chest(20.0)[0])
    assert score.lesion.dtype == np.bool_
    assert score.lesion.shape == SHAPE
    assert not (score.lesion & (score.lungs == 0)).any()
    assert score.slice_probability is not None
    assert score.slice_probability.shape == SHAPE[:1]
    assert score.slice_probability.dtype == np.float32
    assert score.flags == ("lung_volume_small",)


def test_healthy_lungs_score_zero(scorer: CoronaScorer) -> None:
    score = scorer.score(chest()[0])
    assert score.ratio_percent == score.lesion_cm3 == 0.0
    assert score.p_pneumonia < 0.2


def test_volume_place_and_slices_of_a_lesion_are_recovered(scorer: CoronaScorer) -> None:
    ct, ball = chest(24.0)
    score = scorer.score(ct)
    voxel_cm3 = float(np.prod(SPACING)) / 1000.0
    right = np.count_nonzero(score.lungs == 1)
    assert score.lesion_cm3 == pytest.approx(ball.sum() * voxel_cm3, rel=0.12)
    assert score.ratio_right_percent == pytest.approx(100 * ball.sum() / right, rel=0.12)
    assert score.ratio_left_percent == 0.0
    assert 2 * (score.lesion & ball).sum() / (score.lesion.sum() + ball.sum()) > 0.92
    assert score.p_pneumonia > 0.9
    assert score.slice_probability is not None
    assert (score.slice_probability[24:37] > 0.9).all()
    assert (score.slice_probability[:16] < 0.2).all()
    assert not score.slice_probability[:6].any()  # no lung there
    assert not score.slice_probability[-6:].any()


@pytest.mark.parametrize(
    ("slices", "wanted"),
    [
        ([0.1, 0.1, 1.0, 1.0, 0.1, 0.1], 0.1),  # two odd slices do not make a scan positive
        ([0.1, 0.7, 1.0, 0.8, 0.1, 0.1], 0.7),
        ([0.9, 0.9, 0.9, 0.9], 0.9),
        ([0.0, 0.9, 0.9, 0.0], 0.0),
    ],
)
def test_scan_needs_three_slices_in_a_row(slices: list[float], wanted: float) -> None:
    assert scan_probability(np.array(slices, np.float32)) == pytest.approx(wanted)


def test_negative_slices_add_nothing(scorer: CoronaScorer) -> None:
    ct, _ = chest(24.0)
    assert scorer.score(ct).lesion_cm3 > 0
    strict = copy.copy(scorer)
    strict.slice_threshold = 2.0
    assert strict.score(ct).lesion_cm3 == 0.0


def test_spacing_of_the_scan_hardly_matters(scorer: CoronaScorer) -> None:
    ct, _ = chest(24.0)
    thin = CTInput(np.repeat(ct.hu, 2, axis=0), (1.0, 1.5, 1.5))
    lungs = np.repeat(known_lungs(ct.hu, SPACING).labels, 2, axis=0)
    finer = copy.copy(scorer)
    finer.segment = lambda hu, spacing: LungSegmentation(lungs)
    assert finer.score(thin).lesion_cm3 == pytest.approx(scorer.score(ct).lesion_cm3, rel=0.05)


def test_scan_without_lungs_is_refused(scorer: CoronaScorer) -> None:
    blind = copy.copy(scorer)
    blind.segment = lambda hu, spacing: LungSegmentation(np.zeros(hu.shape, np.uint8))
    with pytest.raises(ValueError, match="no lungs found"):
        blind.score(chest()[0])


def test_unknown_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="No weights are called 'ct-slices'"):
        CoronaScorer(tmp_path, variant="ct-slices", segment=known_lungs)


@pytest.mark.data
@pytest.mark.slow
def test_bundled_weights_on_a_real_chest_without_and_with_ground_glass(data_root: Path) -> None:
    hu, spacing = read_image(data_root / "ct" / "lowres_04.nii.gz")
    hu = hu.astype(np.float32)
    scorer = CoronaScorer(device="cpu")
    assert set(scorer.weights_sha256) == {"ct-slices-light", "ct-lungs-light"}
    healthy = scorer.score(CTInput(hu, spacing))
    assert healthy.ratio_percent < 0.5
    right = np.argwhere(healthy.lungs == 1).mean(axis=0)
    axes = np.ogrid[tuple(slice(n) for n in hu.shape)]
    distance = np.sqrt(sum(((a - c) * s) ** 2 for a, c, s in zip(axes, right, spacing, strict=True)))
    share = np.clip((40.0 - distance) / 6.0, 0.0, 1.0) * (healthy.lungs == 1)
    hazy = hu + share * 0.35 * np.clip(-hu, 0.0, 1000.0)  # a third of the air replaced by fluid
    ill = scorer.score(CTInput(hazy.astype(np.float32), spacing))
    there = np.count_nonzero(share > 0.5) * float(np.prod(spacing)) / 1000.0
    assert ill.lesion_cm3 == pytest.approx(there, rel=0.3)
    assert ill.ratio_left_percent < 0.5
    assert ill.p_pneumonia > 0.9
