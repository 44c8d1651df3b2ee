"""Grad-CAM (Selvaraju et al. 2017, 10.1109/ICCV.2017.74): which pixels of a layer raise a score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def capture(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the output of a layer at each forward pass inside the block.

    Example::

        with capture(model.layer4) as outputs:
            score = model(images)[:, 1]
        heat = grad_cam(score, outputs[0])
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    handle = layer.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


def grad_cam(score: Tensor, activation: Tensor) -> Tensor:
    """Grad-CAM of a score with respect to a layer's activation.

    Each channel is weighted by the mean of the score's gradient over its pixels; the weighted sum is cut off at zero,
    so that only what *raises* the score shows.

    Args:
        score: ``[N]``, one per image, computed from ``activation`` with gradients on; each score must depend on its own
            image only (evaluation mode, so that batch normalisation does not mix images).
        activation: ``[N, C, h, w]``.

    Returns:
        ``[N, h, w]``, not negative, in units of the score; not normalised, so that images stay comparable.

    Raises:
        ValueError: the score is not one number per image.
    """
    if score.ndim != 1 or score.shape[0] != activation.shape[0]:
        raise ValueError(
            f"score has shape {tuple(score.shape)} for {activation.shape[0]} images: give one number per image, shape "
            "[N], for example one column of the logits."
        )
    (gradient,) = torch.autograd.grad(score.sum(), activation, retain_graph=True)
    weight = gradient.mean(dim=(2, 3), keepdim=True)
    return (weight * activation).sum(dim=1).clamp_min(0.0).detach()


def gap_linear_cam(activation: Tensor, weight: Tensor) -> Tensor:
    """Grad-CAM of a global-average-pooling and linear head, without a backward pass.

    For ``score = weight . mean(activation) + bias`` the gradient is ``weight / (h w)`` at every pixel, so the map is
    the class activation map (Zhou et al. 2016, 10.1109/CVPR.2016.319) divided by the number of pixels.

    Args:
        activation: ``[N, C, h, w]``, what the head averages.
        weight: ``[C]``, the linear head's row for the class.

    Returns:
        ``[N, h, w]``, equal to :func:`grad_cam`.
    """
    pixels = activation.shape[-2] * activation.shape[-1]
    return (torch.einsum("nchw,c->nhw", activation, weight) / pixels).clamp_min(0.0)
