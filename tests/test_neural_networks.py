"""Encoders, U-Net, Grad-CAM and loss, against published sizes and hand-worked answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neural.efficientnet_lite import EfficientNetLiteEncoder
from neural.encoder import ENCODER_NAMES, make_encoder, normalise
from neural.gradcam import capture, gap_linear_cam, grad_cam
from neural.imagenet import imagenet_file, load_imagenet
from neural.losses import dice_loss
from neural.resnet import ResNet50Classifier
from neural.unet import UNet
from neural.vgg import VGG16Encoder


def _parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_resnet50_has_torchvisions_parameters_and_keys() -> None:
    model = ResNet50Classifier(1000)
    assert _parameters(model) == 25_557_032  # torchvision's documentation of ResNet50_Weights
    keys = set(model.state_dict())
    assert len(keys) == 320
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer3.5.conv2.weight", "layer4.2.bn3.bias"} <= keys
    assert {key.split(".")[0] for key in keys} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}


def test_vgg16_has_torchvisions_convolutions() -> None:
    encoder = VGG16Encoder()
    dense = 512 * 7 * 7 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert _parameters(encoder) + dense == 138_357_544  # torchvision's documentation of VGG16_Weights
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of configuration D with a ReLU after each
    assert set(encoder.state_dict()) == {f"features.{n}.{part}" for n in convolutions for part in ("weight", "bias")}


@pytest.mark.parametrize(("variant", "millions"), [("lite0", 4.7), ("lite1", 5.4), ("lite2", 6.1)])
def test_efficientnet_lite_has_the_published_parameters(variant: str, millions: float) -> None:
    encoder = EfficientNetLiteEncoder(variant, head=True)
    classifier = 1280 * 1000 + 1000
    assert (_parameters(encoder) + classifier) / 1e6 == pytest.approx(
        millions, abs=0.05
    )  # as TensorFlow's model table rounds


@pytest.mark.parametrize("name", ENCODER_NAMES)
def test_feature_maps_keep_their_promise(name: str) -> None:
    encoder = make_encoder(name).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, 64, 96))
    shapes = [tuple(f.shape[1:]) for f in features]
    assert shapes == [(c, 64 // s, 96 // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)]


def test_make_encoder_names_what_exists() -> None:
    with pytest.raises(ValueError, match=r"No encoder is called 'resnet5'. Expected one of: resnet50"):
        make_encoder("resnet5")


def test_normalise_is_the_textbook_formula() -> None:
    grey = torch.tensor([[[0.0, 1.0]]])
    rgb = normalise(grey, VGG16Encoder())
    assert rgb.shape == (1, 3, 1, 2)
    assert rgb[0, 1, 0].tolist() == pytest.approx([-0.456 / 0.224, (1 - 0.456) / 0.224], rel=1e-6)


def test_same_padding_follows_tensorflow() -> None:
    # A 3x3 convolution with stride 2 on an even size sees rows 0-2 first (padding below only), not rows -1 to 1.
    encoder = EfficientNetLiteEncoder("lite0")
    stem = encoder._conv_stem
    torch.nn.init.zeros_(stem.weight)
    stem.weight.data[0, 0, 0, 0] = 1.0
    image = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    assert stem(image)[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]


def test_imagenet_weights_load_from_the_package() -> None:
    encoder = make_encoder("efficientnet-lite0")
    before = encoder.state_dict()["_blocks.3._depthwise_conv.weight"].clone()
    load_imagenet(encoder, imagenet_file("efficientnet-lite0"))
    assert not torch.equal(before, encoder.state_dict()["_blocks.3._depthwise_conv.weight"])


def test_imagenet_weights_that_are_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="No package bundles ImageNet weights for 'resnet50'"):
        imagenet_file("resnet50")


def test_imagenet_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(EfficientNetLiteEncoder("lite0").state_dict(), path)
    with pytest.raises(ValueError, match=r"other.pth does not fit VGG16Encoder: 26 of 26 parameters are"):
        load_imagenet(VGG16Encoder(), path)


@pytest.mark.parametrize(("name", "widths"), [("vgg16", (16, 8, 8, 4)), ("efficientnet-lite0", (16, 8, 8, 4))])
def test_unet_returns_maps_of_the_inputs_size(name: str, widths: tuple[int, ...]) -> None:
    model = UNet(make_encoder(name), classes=2, widths=widths).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 96)).shape == (1, 2, 64, 96)


def test_unet_refuses_widths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="3 decoder widths for an encoder with 5 feature maps: give 4"):
        UNet(make_encoder("vgg16"), classes=1, widths=(8, 8, 8))


def test_dice_loss_of_a_hand_worked_case() -> None:
    # prediction (1, 1, 0, 0), target (1, 0, 1, 0): Dice = 2 * 1 / (2 + 2) = 0.5, without smoothing
    logits = torch.tensor([[[[100.0, 100.0, -100.0, -100.0]]]])
    target = torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]]])
    assert dice_loss(logits, target, smooth=0.0).item() == pytest.approx(0.5)
    known = torch.tensor([[[[1.0, 0.0, 1.0, 1.0]]]])  # without the false positive: 2 * 1 / (1 + 2)
    assert dice_loss(logits, target, known, smooth=0.0).item() == pytest.approx(1 / 3)


def _image_with_square() -> torch.Tensor:
    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 4:8, 8:12] = 1.0
    return image


def test_grad_cam_points_at_the_cause_and_not_at_the_background() -> None:
    # The first channel answers to bright pixels, the second to dark ones; the score is raised by the first alone.
    layer = torch.nn.Conv2d(1, 2, 1)
    layer.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    layer.bias.data = torch.tensor([0.0, 1.0])
    with capture(layer) as outputs:
        activation = layer(_image_with_square())
    score = 3.0 * activation[:, 0].mean(dim=(1, 2)) - activation[:, 1].mean(dim=(1, 2))
    heat = grad_cam(score, outputs[0])[0]
    assert (heat[4:8, 8:12] > 0).all()
    heat[4:8, 8:12] = 0.0
    assert heat.abs().max() == 0.0


def test_closed_form_equals_autograd_grad_cam() -> None:
    generator = torch.Generator().manual_seed(3)
    activation = torch.randn(2, 8, 5, 7, generator=generator, requires_grad=True)
    head = torch.nn.Linear(8, 3)
    logits = head(activation.mean(dim=(2, 3)))
    expected = grad_cam(logits[:, 1], activation)
    np.testing.assert_allclose(
        gap_linear_cam(activation, head.weight[1]).detach().numpy(), expected.numpy(), rtol=1e-5, atol=1e-8
    )
    assert expected.max() > 0


def test_grad_cam_wants_one_score_per_image() -> None:
    activation = torch.ones(2, 3, 4, 4, requires_grad=True)
    with pytest.raises(ValueError, match=r"score has shape \(2, 3\) for 2 images"):
        grad_cam(activation.mean(dim=(2, 3)), activation)
