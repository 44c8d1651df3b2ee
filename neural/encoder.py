"""What every encoder offers, so that a decoder or a head can sit on any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from neural.efficientnet_lite import EfficientNetLiteEncoder
from neural.resnet import ResNet50Encoder
from neural.vgg import VGG16Encoder


class Encoder(Protocol):
    """A stack of feature maps of falling resolution."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each feature map, finest first."""
        ...

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per feature pixel of each map, finest first; each is twice the one before."""
        ...

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the RGB input, 0-1 scale, that its ImageNet weights were trained with."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of the RGB input, likewise."""
        ...

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``[N, C_i, H / stride_i, W / stride_i]``, finest first, of images ``[N, 3, H, W]``."""
        ...


_ENCODERS: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet50": ResNet50Encoder,
    "vgg16": VGG16Encoder,
    "efficientnet-lite0": lambda: EfficientNetLiteEncoder("lite0"),
    "efficientnet-lite1": lambda: EfficientNetLiteEncoder("lite1"),
    "efficientnet-lite2": lambda: EfficientNetLiteEncoder("lite2"),
}

ENCODER_NAMES = tuple(_ENCODERS)


def make_encoder(name: str) -> torch.nn.Module:
    """A new encoder with random weights.

    Args:
        name: one of ``ENCODER_NAMES``.

    Raises:
        ValueError: no encoder of that name.
    """
    if name not in _ENCODERS:
        raise ValueError(f"No encoder is called {name!r}. Expected one of: {', '.join(ENCODER_NAMES)}.")
    return _ENCODERS[name]()


def normalise(images: Tensor, encoder: Encoder) -> Tensor:
    """Grey images ``[N, H, W]`` on the 0-1 scale as three equal channels, normalised for the encoder."""
    mean = images.new_tensor(encoder.mean).view(1, 3, 1, 1)
    std = images.new_tensor(encoder.std).view(1, 3, 1, 1)
    return (images.unsqueeze(1) - mean) / std
