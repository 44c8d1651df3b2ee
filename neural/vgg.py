"""VGG16's convolutional part (Simonyan and Zisserman 2015, arXiv:1409.1556) with torchvision's state-dict keys."""

from __future__ import annotations

from torch import Tensor, nn

from neural.constants import IMAGENET_MEAN, IMAGENET_STD

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG16Encoder(nn.Module):
    """Five feature maps at strides 1 to 16, each taken before its max-pooling.

    State-dict keys: ``features.0.weight`` to ``features.28.bias`` as ``torchvision.models.vgg16``.
    """

    channels = tuple(width for width, _ in _STAGES)
    strides = (1, 2, 4, 8, 16)
    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels_in = 3
        for width, convolutions in _STAGES:
            for _ in range(convolutions):
                convolution = nn.Conv2d(channels_in, width, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
                layers += [convolution, nn.ReLU()]
                channels_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps, finest first (:class:`neural.encoder.Encoder`)."""
        features = []
        x = images
        for layer in list(self.features)[:-1]:
            if isinstance(layer, nn.MaxPool2d):
                features.append(x)
            x = layer(x)
        return [*features, x]
