"""ResNet50 (He et al. 2016, 10.1109/CVPR.2016.90) with torchvision's state-dict keys, so that its weights load."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from neural.constants import IMAGENET_MEAN, IMAGENET_STD

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, as torchvision) and 1x1 convolution around a skip connection."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """One residual block, ``[N, C, H, W]`` to ``[N, 4 width, H / stride, W / stride]``."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50Encoder(nn.Module):
    """The convolutional part of ResNet50: five feature maps at strides 2 to 32.

    State-dict keys: ``conv1``, ``bn1``, ``layer1`` to ``layer4`` as ``torchvision.models.resnet50``.
    """

    channels = (64, 256, 512, 1024, 2048)
    strides = (2, 4, 8, 16, 32)
    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels_in = 64
        for number, (width, blocks) in enumerate(_STAGES, start=1):
            stride = 1 if number == 1 else 2
            layer = [Bottleneck(channels_in, width, stride)]
            channels_in = width * _EXPANSION
            layer += [Bottleneck(channels_in, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*layer))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps, finest first (:class:`neural.encoder.Encoder`)."""
        features = [F.relu(self.bn1(self.conv1(images)))]
        x = F.max_pool2d(features[0], 3, stride=2, padding=1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            features.append(x)
        return features


class ResNet50Classifier(ResNet50Encoder):
    """ResNet50 with global average pooling and a linear head ``fc``: logits ``[N, classes]``.

    Its keys are exactly those of ``torchvision.models.resnet50(num_classes=classes)``.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(self.channels[-1], classes)

    def classify(self, images: Tensor) -> Tensor:
        """Logits ``[N, classes]`` of images ``[N, 3, H, W]``."""
        logits: Tensor = self.fc(self(images)[-1].mean(dim=(2, 3)))
        return logits
