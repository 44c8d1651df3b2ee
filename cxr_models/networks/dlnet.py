"""DLNet: one network that detects pneumonia and shows where it is (the paper's section III-A and figure 2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neural.efficientnet_lite import EfficientNetLiteEncoder
from neural.encoder import normalise
from neural.resnet import ResNet50Encoder

VARIANTS = ("dlnet", "dlnet-light")

#: Feature maps of an encoder at strides 8, 16 and 32: Act-56, Act-28 and Act-14 of a 448 x 448 image.
_ACT_56, _ACT_28, _ACT_14 = 2, 3, 4


class DLNetOutput(NamedTuple):
    """What DLNet returns for ``N`` images of ``H x W``.

    Attributes:
        logit: ``[N]``, the detection head before its sigmoid.
        maps: ``[N, maps, H / 8, W / 8]``, the localisation head after its ReLU, not negative.
        act_28, act_14: the encoder's feature maps at strides 16 and 32, which Grad-CAM looks at.
        pooled: ``[N, channels]``, what the detection head sees.
    """

    logit: Tensor
    maps: Tensor
    act_28: Tensor
    act_14: Tensor
    pooled: Tensor

    def probability(self) -> Tensor:
        """Probability of pneumonia, ``[N]``, 0-1."""
        return self.logit.sigmoid()

    def localisation(self) -> Tensor:
        """The localisation map ``[N, H / 8, W / 8]``, 0-1: the maximum over the maps."""
        return bounded(self.maps.amax(dim=1))


def bounded(maps: Tensor) -> Tensor:
    """Localisation maps on the 0-1 scale: their hyperbolic tangent.

    The paper says only that the maps "are normalized between 0 to 1". Dividing each image's map by its own range would
    call the brightest pixel of a healthy lung diseased, and would undo any comparison between two time points, so the
    normalisation here is the same for every image.
    """
    return maps.tanh()


class DLNet(nn.Module):
    """Backbone, detection head and localisation head.

    Args:
        variant: ``dlnet`` (ResNet50, 128 localisation maps, as the paper) or ``dlnet-light`` (EfficientNet-Lite0, 32
            maps; its feature maps have 40 to 1,280 channels, so 1x1 convolutions bring each to 96 before the sum).
        dropout: between the first two dense layers; the paper gives no rate.

    Raises:
        ValueError: no such variant.
    """

    def __init__(self, variant: str = "dlnet", dropout: float = 0.5) -> None:
        super().__init__()
        self.encoder: ResNet50Encoder | EfficientNetLiteEncoder
        if variant == "dlnet":
            self.encoder = ResNet50Encoder()
            self.localisation = LocalisationHead(self.encoder.channels[_ACT_56:], maps=128)
        elif variant == "dlnet-light":
            self.encoder = EfficientNetLiteEncoder("lite0", head=True)
            self.localisation = LocalisationHead(self.encoder.channels[_ACT_56:], maps=32, width=96)
        else:
            raise ValueError(f"No DLNet is called {variant!r}. Expected one of: {', '.join(VARIANTS)}.")
        self.detection = nn.Sequential(
            nn.Linear(self.encoder.channels[-1], 1024),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(1024, 256),
            nn.ReLU(),
            nn.Linear(256, 1),
        )

    def forward(self, images: Tensor) -> DLNetOutput:
        """Detect and localise on grey images ``[N, H, W]``, 0-1 after CLAHE; H and W multiples of 32."""
        features = self.encoder(normalise(images, self.encoder))
        pooled = features[-1].mean(dim=(2, 3))
        logit = self.detection(pooled).squeeze(1)
        maps = self.localisation(features[_ACT_56], features[_ACT_28], features[_ACT_14])
        return DLNetOutput(logit, maps, features[_ACT_28], features[_ACT_14], pooled)


class LocalisationHead(nn.Module):
    """Feature-pyramid-like head: twice up by nearest neighbours, 1x1 convolution, plus the finer map; 3x3 and ReLU.

    A batch normalisation, which the paper does not name, stands before the ReLU. Without it the first steps, against
    targets that are mostly 0, push every map below 0, where a ReLU passes no gradient: all maps then stay 0 for good
    (seen in training).

    Args:
        channels: of Act-56, Act-28 and Act-14.
        maps: output maps.
        width: channels that each input is brought to first; None takes them as they are.
    """

    def __init__(self, channels: tuple[int, ...], maps: int, width: int | None = None) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Identity() if width is None else nn.Conv2d(c, width, 1) for c in channels)
        act_56, act_28, act_14 = channels if width is None else (width,) * 3
        self.to_28 = nn.Conv2d(act_14, act_28, 1)
        self.to_56 = nn.Conv2d(act_28, act_56, 1)
        self.output = nn.Conv2d(act_56, maps, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(maps)

    def forward(self, act_56: Tensor, act_28: Tensor, act_14: Tensor) -> Tensor:
        """Maps ``[N, maps, h, w]`` at the size of Act-56."""
        fine, middle, coarse = (lateral(a) for lateral, a in zip(self.laterals, (act_56, act_28, act_14), strict=True))
        x = self.to_28(_twice(coarse)) + middle
        x = self.to_56(_twice(x)) + fine
        return F.relu(self.norm(self.output(x)))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def detect(network: DLNet, image: npt.NDArray[np.float32]) -> tuple[float, npt.NDArray[np.float32]]:
    """Probability of pneumonia (0-1) and localisation map (float32 ``[row / 8, col / 8]``, 0-1) of one radiograph.

    The image is read as it is and mirrored, and the two logits and maps are averaged: a reading should not depend on
    how the pixels fall on the network's strides.

    Args:
        network: in evaluation mode.
        image: float32 ``[row, col]``, 0-1 after CLAHE; rows and columns multiples of 32.
    """
    device = next(network.parameters()).device
    both = torch.from_numpy(np.stack([image, image[:, ::-1]]))
    with torch.inference_mode():
        output = network(both.to(device))
        plain, mirrored = output.localisation()
        localisation = (plain + mirrored.flip(1)) / 2.0
        return float(output.logit.mean().sigmoid()), localisation.cpu().numpy()
