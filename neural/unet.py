"""U-Net decoder (Ronneberger et al. 2015, 10.1007/978-3-319-24574-4_28) over any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neural.encoder import Encoder


class UNet(nn.Module):
    """Encoder, decoder with skip connections, and one logit map per class at the size of the input.

    The decoder climbs to the encoder's finest map; where that is coarser than the input (EfficientNet-Lite and
    ResNet50: half), the logits are enlarged bilinearly.

    Args:
        encoder: an :class:`neural.encoder.Encoder` module.
        classes: logit maps.
        widths: channels of the decoder's steps, coarsest first, one fewer than the encoder's feature maps.

    Raises:
        ValueError: the number of widths does not fit the encoder.
    """

    def __init__(self, encoder: nn.Module, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        channels = cast(Encoder, encoder).channels
        if len(widths) != len(channels) - 1:
            raise ValueError(
                f"{len(widths)} decoder widths for an encoder with {len(channels)} feature maps: give "
                f"{len(channels) - 1}, one for each step up."
            )
        self.encoder = encoder
        below = channels[-1]
        steps = []
        for skip, width in zip(channels[-2::-1], widths, strict=True):
            steps.append(nn.Sequential(_convolution(below + skip, width), _convolution(width, width)))
            below = width
        self.steps = nn.ModuleList(steps)
        self.logits = nn.Conv2d(below, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, classes, H, W]`` of images ``[N, 3, H, W]``; H and W multiples of the last stride."""
        *skips, x = self.encoder(images)
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = step(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        x = self.logits(x)
        if x.shape[-2:] == images.shape[-2:]:
            return x
        return F.interpolate(x, size=images.shape[-2:], mode="bilinear", align_corners=False)


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )
