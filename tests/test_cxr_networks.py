"""DLNet and LSNet: the paper's shapes and loss, the second stage on toy data, and the scorer made of both."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cxr_models.augment.fields import soft_ellipse
from cxr_models.contract import CXRInput
from cxr_models.data.detection import DetectionItem
from cxr_models.networks.dlnet import DLNet, DLNetOutput, LocalisationHead, bounded, detect
from cxr_models.networks.lsnet import LSNet
from cxr_models.pneumonia import DLNetLightScorer, Reading
from cxr_models.postprocessing import LungMasks
from cxr_models.training.detection import dlnet_loss
from cxr_models.training.refinement import RefinementSettings, fused_grad_cam, refine_targets
from neural.metrics import roc_auc
from neural.store import save_weights

Image = npt.NDArray[np.float32]


def test_dlnet_has_the_papers_shapes() -> None:
    network = DLNet("dlnet").eval()
    with torch.no_grad():
        output = network(torch.rand(1, 448, 448))
    assert output.logit.shape == (1,)
    assert output.maps.shape == (1, 128, 56, 56)
    assert output.act_28.shape == (1, 1024, 28, 28)
    assert output.act_14.shape == (1, 2048, 14, 14)
    widths = [m.out_features for m in network.detection if isinstance(m, torch.nn.Linear)]
    assert widths == [1024, 256, 1]
    assert isinstance(network.detection[2], torch.nn.Dropout)


def test_localisation_head_is_the_papers_sum() -> None:
    # Without its 1x1 convolutions the head is 3x3(up(up(a) + b) + c): with identity weights the values simply add up.
    head = DLNet("dlnet").localisation.eval()
    head.norm.eps = 0.0
    for convolution in (head.to_28, head.to_56, head.output):
        torch.nn.init.zeros_(convolution.weight)
        if convolution.bias is not None:
            torch.nn.init.zeros_(convolution.bias)
        convolution.weight.data[0, 0, convolution.kernel_size[0] // 2, convolution.kernel_size[1] // 2] = 1.0
    fine, middle, coarse = torch.zeros(1, 512, 4, 4), torch.zeros(1, 1024, 2, 2), torch.zeros(1, 2048, 1, 1)
    fine[0, 0, 0, 0], middle[0, 0, 1, 1], coarse[0, 0] = 5.0, 3.0, 1.0
    maps = head(fine, middle, coarse)[0, 0]
    expected = torch.ones(4, 4)
    expected[2:, 2:] += 3.0
    expected[0, 0] += 5.0
    assert torch.equal(maps, expected)


def test_localisation_head_learns_sparse_targets() -> None:
    # Targets that are mostly 0 must not drive every map below the ReLU for good.
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(4, 16, 16, generator=generator) > 0.95).float()
    fine = 3.0 * torch.randn(4, 6, 16, 16, generator=generator).abs()
    fine[:, 2] += 4.0 * target
    middle, coarse = torch.randn(4, 8, 8, 8, generator=generator), torch.randn(4, 10, 4, 4, generator=generator)
    torch.manual_seed(0)
    head = LocalisationHead((6, 8, 10), maps=4, width=8)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(80):
        loss = (bounded(head(fine, middle, coarse)) - target.unsqueeze(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * target.square().mean().item()  # better than predicting 0 everywhere


def test_light_dlnet_localises_at_the_same_size() -> None:
    with torch.no_grad():
        output = DLNet("dlnet-light").eval()(torch.rand(2, 64, 96))
    assert output.maps.shape == (2, 32, 8, 12)
    assert ((output.localisation() >= 0) & (output.localisation() < 1)).all()


def test_networks_name_their_variants() -> None:
    with pytest.raises(ValueError, match=r"No DLNet is called 'big'. Expected one of: dlnet, dlnet-light"):
        DLNet("big")
    with pytest.raises(ValueError, match=r"No LSNet is called 'big'. Expected one of: lsnet, lsnet-light"):
        LSNet("big")


def test_equation_one_of_a_hand_worked_case() -> None:
    # logit 0 costs ln 2; maps of 0 against a target of 1 on half the pixels have a mean squared error of 0.5
    output = DLNetOutput(torch.zeros(1), torch.zeros(1, 128, 56, 56), torch.zeros(0), torch.zeros(0), torch.zeros(0))
    target = torch.zeros(1, 56, 56)
    target[:, :28] = 1.0
    batch = {"label": torch.ones(1), "label_weight": torch.ones(1), "target": target, "known": torch.ones(1, 56, 56)}
    terms = dlnet_loss(output, batch, 1e-5)
    assert terms["detection"].item() == pytest.approx(math.log(2))
    assert terms["localisation"].item() == pytest.approx(1e-5 * 128 * 56 * 28, rel=1e-5)  # lambda x sum of squares
    assert terms["loss"].item() == pytest.approx(math.log(2) + 2.00704, rel=1e-5)


def test_unknown_labels_and_pixels_cost_nothing() -> None:
    output = DLNetOutput(
        torch.tensor([0.0, 50.0]), torch.ones(2, 4, 2, 2), torch.zeros(0), torch.zeros(0), torch.zeros(0)
    )
    label, weight = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])  # the second is wrong, but unknown
    known = torch.zeros(2, 2, 2)
    known[0, 0, 0] = 1.0
    target = bounded(torch.ones(2, 2, 2))
    terms = dlnet_loss(output, {"label": label, "label_weight": weight, "target": target, "known": known})
    assert terms["detection"].item() == pytest.approx(math.log(2))
    assert terms["localisation"].item() == pytest.approx(0.0, abs=1e-6)


def test_auc_counts_ordered_pairs() -> None:
    score = np.array([0.9, 0.4, 0.4, 0.1])
    positive = np.array([True, True, False, False])
    assert roc_auc(score, positive) == pytest.approx((2 + 0.5 + 1) / 4)
    assert math.isnan(roc_auc(score, np.ones(4, dtype=bool)))


def test_lsnet_ignores_brightness_and_contrast() -> None:
    network = LSNet("lsnet-light").eval()
    image = torch.rand(1, 64, 64)
    with torch.no_grad():
        first, second = network(image), network(200.0 * image + 20.0)
    assert first.shape == (1, 2, 64, 64)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def _toy_item(seed: int, size: int = 64) -> DetectionItem:
    """A bright disc on noise, with a box twice as wide as the disc."""
    rng = np.random.default_rng(seed)
    row, col = rng.integers(20, 44, 2)
    disc = soft_ellipse((size, size), (float(row), float(col)), (7.0, 7.0), 0.0, 0.2)
    image = np.clip(0.3 + 0.05 * rng.standard_normal((size, size)) + 0.5 * disc, 0, 1)
    box = np.zeros((size, size), dtype=np.float32)
    box[max(0, row - 14) : row + 14, max(0, col - 14) : col + 14] = 1.0
    return DetectionItem((255 * image).astype(np.uint8), 1.0, 1.0, box, np.ones_like(box))


class _Items:
    """The part of a detection dataset that refinement touches, without files."""

    def __init__(self, items: list[DetectionItem]) -> None:
        self.items = items

    def plain_image(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.items[index].image.astype(np.float32) / 255.0)


class _Brightness(torch.nn.Module):
    """A detector that has learnt that bright is diseased: its maps are a blurred copy of the image's bright parts."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(math.log(probability / (1 - probability))))
        self.gain = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> DLNetOutput:
        act_28 = self.gain * torch.nn.functional.avg_pool2d((images.unsqueeze(1) - 0.5).clamp_min(0), 4)
        act_14 = torch.nn.functional.avg_pool2d(act_28, 2)
        maps = torch.nn.functional.interpolate(act_28, scale_factor=2.0)
        maps = maps + torch.nn.functional.interpolate(act_14, scale_factor=4.0)
        return DLNetOutput(self.logit.expand(len(images)), maps, act_28, act_14, act_14)


def test_fused_grad_cam_finds_the_disc() -> None:
    items = _Items([_toy_item(0)])
    probability, heat = fused_grad_cam(_Brightness(0.9), items.plain_image(0), smoothing=0.02)  # type: ignore[arg-type]
    assert probability == pytest.approx(0.9)
    assert heat.shape == (64, 64)
    assert heat.min() == 0.0
    assert heat.max() == 1.0
    bright = items.items[0].image > 150
    assert heat[bright].mean() > 0.6 > 0.1 > heat[items.items[0].lesion == 0].mean()


def test_second_stage_shrinks_half_of_the_boxes_towards_the_lesion() -> None:
    items = [_toy_item(seed) for seed in range(10)]
    boxes = [item.lesion.copy() for item in items]
    negative = DetectionItem(items[0].image, 0.0, 1.0, np.zeros_like(boxes[0]), np.ones_like(boxes[0]))
    dataset = _Items([*items, negative])
    chosen = refine_targets(_Brightness(0.9), dataset)  # type: ignore[arg-type]
    assert len(chosen) == 5
    for index, (item, box) in enumerate(zip(items, boxes, strict=True)):
        if index not in chosen:
            assert np.array_equal(item.lesion, box)
            continue
        disc = item.image > 150
        assert item.lesion.sum() < 0.6 * box.sum()
        assert item.lesion[disc].mean() > 0.6
    assert not negative.lesion.any()


def test_second_stage_leaves_uncertain_images_alone() -> None:
    dataset = _Items([_toy_item(seed) for seed in range(4)])
    assert refine_targets(_Brightness(0.79), dataset, RefinementSettings(share=1.0)) == []  # type: ignore[arg-type]


def test_reading_a_mirrored_image_mirrors_the_map() -> None:
    torch.manual_seed(0)
    network = DLNet("dlnet-light").eval()
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    probability, localisation = detect(network, image)
    turned, mirrored = detect(network, np.ascontiguousarray(image[:, ::-1]))
    assert turned == pytest.approx(probability, abs=1e-6)
    np.testing.assert_allclose(mirrored[:, ::-1], localisation, atol=1e-5)
    assert np.ptp(localisation) > 1e-3


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> DLNetLightScorer:
    """Random weights: what is tested is the way through the networks, not what they have learnt."""
    folder: Path = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    lsnet = LSNet("lsnet-light")
    settings = {"size": 64, "detection_threshold": 0.0, "localisation_threshold": 0.1}
    save_weights(DLNet("dlnet-light"), folder, "dlnet-light", "", settings)
    save_weights(lsnet, folder, "lsnet-light", "", {"size": 64})
    return DLNetLightScorer(folder, device="cpu")


def _radiograph(seed: int) -> Image:
    noise = np.random.default_rng(seed).uniform(0, 255, (9, 11))
    return np.kron(noise, np.ones((12, 12))).astype(np.float32)


def test_scorer_reads_different_images_differently(scorer: DLNetLightScorer) -> None:
    readings = [scorer.read(CXRInput(_radiograph(seed), 0.4, "PA")) for seed in (0, 0, 1)]
    assert np.array_equal(readings[0].localisation, readings[1].localisation)
    assert not np.array_equal(readings[0].localisation, readings[2].localisation)
    assert readings[0].localisation.shape == (108, 132)
    assert readings[0].lungs.right.shape == (108, 132)


class _Known(DLNetLightScorer):
    """Reads a map of 0.25 everywhere, and two lungs."""

    def read(self, radiograph: CXRInput) -> Reading:
        side = np.arange(64)[None, :].repeat(64, axis=0) < 32
        return Reading(0.4, np.full((64, 64), 0.25, np.float32), LungMasks(side, ~side))


@pytest.mark.parametrize(
    ("calibration", "severity"), [({}, None), ({"severity_gain": 3.0, "severity_power": 1.0}, 7.0)]
)
def test_severity_is_continuous_and_needs_a_calibration(
    tmp_path: Path, calibration: dict[str, float], severity: float | None
) -> None:
    thresholds = {"size": 64, "detection_threshold": 0.5, "localisation_threshold": 0.2}
    save_weights(DLNet("dlnet-light"), tmp_path, "dlnet-light", "", thresholds | calibration)
    save_weights(LSNet("lsnet-light"), tmp_path, "lsnet-light", "", {"size": 64})
    score = _Known(tmp_path, device="cpu").score(CXRInput(_radiograph(0), 0.4, "PA"))
    assert (score.ratio_percent, score.score) == (0.0, 0.0)  # below the detection threshold
    assert score.severity == pytest.approx(severity) if severity is not None else np.isnan(score.severity)


@pytest.mark.parametrize(("area", "ratio"), [({}, 0.0), ({"area_threshold": 0.2}, 100.0)])
def test_the_ratio_has_a_threshold_of_its_own(tmp_path: Path, area: dict[str, float], ratio: float) -> None:
    thresholds = {"size": 64, "detection_threshold": 0.3, "localisation_threshold": 0.3}
    save_weights(DLNet("dlnet-light"), tmp_path, "dlnet-light", "", thresholds | area)
    save_weights(LSNet("lsnet-light"), tmp_path, "lsnet-light", "", {"size": 64})
    score = _Known(tmp_path, device="cpu").score(CXRInput(_radiograph(0), 0.4, "PA"))
    assert score.ratio_percent == ratio


@pytest.mark.parametrize(
    ("image", "view", "message"),
    [
        (_radiograph(0) / 255.0, "PA", r"spans only 0\.\d+ to 0\.9\d+ of 0-255: .* scaled to 0-1"),
        (_radiograph(0) * 16.0, "PA", r"outside 0-255: scale it to 8-bit"),
        (np.full((108, 132), 90.0, dtype=np.float32), "AP", r"it is blank"),
        (np.full((108, 132), np.nan, dtype=np.float32), "AP", r"holds NaN or infinity"),
        (_radiograph(0)[:40], "AP", r"shape \(40, 132\): .* at least 64 x 64"),
        (_radiograph(0), "LL", r"View 'LL' is not one this model reads. Expected one of: PA, AP"),
    ],
)
def test_scorer_refuses_what_breaks_its_contract(
    scorer: DLNetLightScorer, image: Image, view: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scorer.score(CXRInput(image, 0.4, view))


def test_a_store_with_one_network_borrows_the_bundled_other(tmp_path: Path) -> None:
    settings = {"size": 64, "detection_threshold": 0.5, "localisation_threshold": 0.3}
    save_weights(DLNet("dlnet-light"), tmp_path, "dlnet-light", "", settings)
    scorer = DLNetLightScorer(str(tmp_path), device="cpu")
    bundled = DLNetLightScorer(device="cpu")
    assert scorer.weights_sha256["lsnet-light"] == bundled.weights_sha256["lsnet-light"]
    assert scorer.weights_sha256["dlnet-light"] != bundled.weights_sha256["dlnet-light"]
    with pytest.raises(KeyError, match=r"No weights are called 'dlnet-light'.*There are: none"):
        DLNetLightScorer(tmp_path / "empty", device="cpu")
