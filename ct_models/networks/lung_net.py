"""The network that finds the lungs on axial CT slices: U-Net with a VGG16 or a light encoder."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from neural.encoder import Encoder, make_encoder
from neural.unet import UNet

#: Encoder and decoder widths of each variant.
_VARIANTS = {
    "ct-lungs": ("vgg16", (256, 128, 64, 32)),
    "ct-lungs-light": ("efficientnet-lite0", (96, 64, 32, 16)),
}

VARIANTS = tuple(_VARIANTS)

#: Grid that the slices must have, mm: step to the neighbours above and below, and the pixel.
STEP_MM = 4.0
PIXEL_MM = 2.0

#: Sides of the slices must be multiples of this, the stride of the coarsest feature map.
MULTIPLE = 32

#: Grey value 0-1 at some Hounsfield units, linear between them. Air to lung gets four tenths, fat to muscle (what parts
#: dense disease from the chest wall) five, bone the rest: one channel then holds a lung and a soft-tissue window.
_KNOTS_HU = (-1000.0, -200.0, 200.0, 1000.0)
_KNOTS_GREY = (0.0, 0.4, 0.9, 1.0)


class LungNet(nn.Module):
    """Three maps of an axial slice: neither lung, right lung, left lung.

    The three input channels are the slice below, the slice itself and the slice above, 4 mm apart ("2.5D"): what a
    single slice leaves open, the dome of the diaphragm above all, the neighbours often decide.

    Args:
        variant: ``ct-lungs`` (VGG16) or ``ct-lungs-light`` (EfficientNet-Lite0, 3.6 million parameters).

    Raises:
        ValueError: no such variant.
    """

    def __init__(self, variant: str = "ct-lungs-light") -> None:
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"No lung network is called {variant!r}. Expected one of: {', '.join(VARIANTS)}.")
        self.encoder_name, widths = _VARIANTS[variant]
        self.unet = UNet(make_encoder(self.encoder_name), classes=3, widths=widths)

    def forward(self, hu: Tensor) -> Tensor:
        """Logits ``[N, 3, y, x]`` (elsewhere, right, left) of slices ``[N, 3, y, x]``, Hounsfield units.

        Channels are the slice below, the slice, the slice above; pixels of 2 mm; x grows to the patient's left, y to
        the back; y and x are multiples of 32.
        """
        encoder = cast(Encoder, self.unet.encoder)
        mean, std = (hu.new_tensor(values).view(1, 3, 1, 1) for values in (encoder.mean, encoder.std))
        logits: Tensor = self.unet((_grey(hu) - mean) / std)
        return logits


def _grey(hu: Tensor) -> Tensor:
    """Grey values 0-1, piecewise linear in the Hounsfield units; see ``_KNOTS_HU``."""
    grey = torch.zeros_like(hu)
    knots = list(zip(_KNOTS_HU, _KNOTS_GREY, strict=True))
    for (low_hu, low), (high_hu, high) in itertools.pairwise(knots):
        grey = grey + ((hu - low_hu) / (high_hu - low_hu)).clamp(0.0, 1.0) * (high - low)
    return grey
