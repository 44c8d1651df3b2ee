"""Slice classifiers with global average pooling and a linear head, whose class activation map needs no gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neural.constants import IMAGENET_MEAN, IMAGENET_STD, LITE_MEAN, LITE_STD
from neural.efficientnet_lite import EfficientNetLiteEncoder
from neural.resnet import ResNet50Classifier

VARIANTS = ("ct-slices", "ct-slices-light")

#: A location's own logit is ``evidence / EVIDENCE_PER_LOGIT + LOGIT_WITHOUT_EVIDENCE``. The slice's logit is the mean
#: of the evidence plus a bias, so one surely diseased location in 400 raises it by some units, and one without
#: evidence does not lower it.
EVIDENCE_PER_LOGIT = 100.0
LOGIT_WITHOUT_EVIDENCE = -4.0

_WIDTH = 64

#: Of the running statistics. EfficientNet's 0.01 is for epochs of many thousand steps; after a short one the network
#: would be judged with ImageNet's statistics.
_MOMENTUM = 0.1


class SliceReading(NamedTuple):
    """What a network says about ``N`` slices.

    Attributes:
        logit: ``[N]``, of pneumonia in the slice.
        activation: ``[N, C, h, w]``, the layer that the head averages, for Grad-CAM.
        evidence: ``[N, h, w]``, what each location adds: ``logit = mean(evidence) + bias``; not cut off at zero.
    """

    logit: Tensor
    activation: Tensor
    evidence: Tensor


class SliceNet(nn.Module, ABC):
    """A classifier of slices: an activation, and a linear head on its average."""

    #: Whether batch normalisation keeps its running statistics in training. A slice's logit sums up its locations,
    #: so the noise of a small batch's statistics weighs heavily on it; once they suit CT, they are best left alone.
    fixed_statistics = False

    encoder_name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """The part that ImageNet weights fit."""

    @property
    @abstractmethod
    def head(self) -> nn.Linear:
        """One logit from the average of the activation."""

    def train(self, mode: bool = True) -> SliceNet:
        """As any module, but for ``fixed_statistics``."""
        super().train(mode)
        for module in self.modules():
            if self.fixed_statistics and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    @abstractmethod
    def activation(self, images: Tensor) -> Tensor:
        """The layer that the head averages, ``[N, C, h, w]``, of normalised pictures ``[N, 3, H, W]``."""

    def forward(self, images: Tensor) -> SliceReading:
        """Read pictures ``[N, 3, H, W]`` (three neighbouring slices, 0-1); H and W multiples of 32."""
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        activation = self.activation((images - mean) / std)
        evidence = torch.einsum("nchw,c->nhw", activation, self.head.weight[0])
        return SliceReading(evidence.mean(dim=(1, 2)) + self.head.bias, activation, evidence)


class ResNet50SliceNet(SliceNet):
    """ResNet50 with its own head (torchvision's keys below ``resnet.``): locations of 32 x 32 pixels."""

    encoder_name = "resnet50"
    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet50Classifier(1)
        _widen(self.resnet.fc)

    @property
    def backbone(self) -> nn.Module:
        """The ResNet50."""
        return self.resnet

    @property
    def head(self) -> nn.Linear:
        """``fc``."""
        return self.resnet.fc

    def activation(self, images: Tensor) -> Tensor:
        """The output of ``layer4``."""
        layers: list[Tensor] = self.resnet(images)
        return layers[-1]


class LightSliceNet(SliceNet):
    """EfficientNet-Lite0 whose feature maps at strides 4 to 32 are summed at stride 4: locations of 4 x 4 pixels.

    The sum follows the feature pyramid of Lin et al. (2017, 10.1109/CVPR.2017.106). It gives the layer that the head
    averages, and with it Grad-CAM, the resolution that lesions need.
    """

    encoder_name = "efficientnet-lite0"
    mean = LITE_MEAN
    std = LITE_STD

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EfficientNetLiteEncoder("lite0")
        self.laterals = nn.ModuleList(nn.Conv2d(channels, _WIDTH, 1) for channels in self.encoder.channels[1:])
        self.output = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTH)
        self.fc = nn.Linear(_WIDTH, 1)
        _widen(self.fc)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM

    @property
    def backbone(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    @property
    def head(self) -> nn.Linear:
        """``fc``."""
        return self.fc

    def activation(self, images: Tensor) -> Tensor:
        """The pyramid's finest layer after its ReLU."""
        *fine, summed = (lateral(x) for lateral, x in zip(self.laterals, self.encoder(images)[1:], strict=True))
        for finer in reversed(fine):
            summed = F.interpolate(summed, scale_factor=2.0, mode="nearest") + finer
        return F.relu(self.norm(self.output(summed)))


def make_slice_net(variant: str) -> ResNet50SliceNet | LightSliceNet:
    """A new network; all but its head's scale is random.

    Raises:
        ValueError: no such variant.
    """
    if variant == "ct-slices":
        return ResNet50SliceNet()
    if variant == "ct-slices-light":
        return LightSliceNet()
    raise ValueError(f"No slice classifier is called {variant!r}. Expected one of: {', '.join(VARIANTS)}.")


def location_logits(evidence: Tensor) -> Tensor:
    """Logit that a location is diseased, of its evidence (or of Grad-CAM times the number of locations)."""
    return evidence / EVIDENCE_PER_LOGIT + LOGIT_WITHOUT_EVIDENCE


def _widen(fc: nn.Linear) -> None:
    """Start the head at the scale of evidence, which steps of a learning rate would not reach, and above 0.

    The activation is not negative, so evidence then is not either, and healthy lung does not weigh against disease
    elsewhere in the slice.
    """
    nn.init.uniform_(fc.weight, 0.0, 2.0 * EVIDENCE_PER_LOGIT / fc.in_features**0.5)
    nn.init.constant_(fc.bias, LOGIT_WITHOUT_EVIDENCE / 2)
