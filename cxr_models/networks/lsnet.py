"""LSNet: U-Net for the visible lung fields (the paper's section IV-A; Frid-Adar et al. 2018, arXiv:1810.02113)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from neural.encoder import make_encoder
from neural.unet import UNet

#: Encoder and decoder widths of each variant.
_VARIANTS = {
    "lsnet": ("vgg16", (256, 128, 64, 32)),
    "lsnet-light": ("efficientnet-lite0", (96, 64, 32, 16)),
}

VARIANTS = tuple(_VARIANTS)


class LSNet(nn.Module):
    """Two maps: the patient's right and left lung field, without the heart shadow.

    Two maps and not one, as the paper has it, so that a lung that dense disease cuts into pieces, or that merges with
    the other, keeps its side.

    Args:
        variant: ``lsnet`` (VGG16 encoder) or ``lsnet-light`` (EfficientNet-Lite0).

    Raises:
        ValueError: no such variant.
    """

    def __init__(self, variant: str = "lsnet") -> None:
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"No LSNet is called {variant!r}. Expected one of: {', '.join(VARIANTS)}.")
        encoder, widths = _VARIANTS[variant]
        self.unet = UNet(make_encoder(encoder), classes=2, widths=widths)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, 2, H, W]`` (right, left) of grey images ``[N, H, W]``; H and W multiples of 32.

        Each image is brought to mean 0 and standard deviation 1 first ("normalized by their mean and standard
        deviation"), so brightness and contrast do not matter, nor does the unit.
        """
        mean = images.mean(dim=(1, 2), keepdim=True)
        spread = images.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        grey = ((images - mean) / spread).unsqueeze(1).expand(-1, 3, -1, -1)
        logits: Tensor = self.unet(grey)
        return logits


def segment(network: LSNet, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probability of right and left lung field, float32 ``[2, row, col]``, 0-1, of one radiograph.

    Args:
        network: in evaluation mode.
        image: float32 ``[row, col]`` in any unit; rows and columns multiples of 32.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        probability = network(torch.from_numpy(image).unsqueeze(0).to(device)).sigmoid()[0]
    return np.asarray(probability.cpu().numpy())
