"""Where the disease is: Grad-CAM of the slice classifier, and its refinement to voxels."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from ct_models.data.slices import window
from ct_models.data.volumes import SPACING_MM
from ct_models.morphology import Mask, Volume
from ct_models.networks.slice_net import SliceNet, SliceReading, location_logits
from neural.gradcam import capture, gap_linear_cam, grad_cam

#: Hounsfield units between which lung turns from aerated to opaque; vessels and consolidation lie above all of it.
_OPACITY_HU = (-950.0, -450.0)

#: Reach of the guided filter, mm along z, y, x, and the standard deviation of noise and lung texture, of the window.
_REACH_MM = (4.0, 10.0, 10.0)
_TEXTURE = 0.08


def layer_cam(network: SliceNet, layer: nn.Module, images: Tensor) -> Tensor:
    """Grad-CAM of the slice logit at any layer, by backpropagation.

    Args:
        network: in evaluation mode.
        layer: a part of it that returns ``[N, C, h, w]``.
        images: ``[N, 3, H, W]``, see :func:`ct_models.slices.pictures`.

    Returns:
        ``[N, h, w]``, not negative (:func:`neural.gradcam.grad_cam`).
    """
    with torch.enable_grad(), capture(layer) as outputs:
        return grad_cam(network(images.detach().requires_grad_()).logit, outputs[0])


def head_cam(network: SliceNet, reading: SliceReading) -> Tensor:
    """Grad-CAM of the slice logit at the layer that the head averages, in closed form, ``[N, h, w]``."""
    return gap_linear_cam(reading.activation, network.head.weight[0])


def disease_probability(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Probability that a pixel of a picture shows disease, ``[N, H, W]``.

    Grad-CAM times the number of locations is the evidence of each, cut off at zero, and evidence has a fixed relation
    to a location's probability (:func:`ct_models.networks.slice_net.location_logits`). Between locations the logits
    are interpolated linearly.

    Args:
        cam: ``[N, h, w]``, of :func:`head_cam`.
        size: rows and columns of the picture.
    """
    logits = location_logits(cam * (cam.shape[-2] * cam.shape[-1]))
    return F.interpolate(logits.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1).sigmoid()


def refine_probability(probability: Volume, hu: Volume, lungs: Mask) -> Volume:
    """Let the borders of a coarse probability map follow the borders of opacified lung.

    A guided filter (He et al. 2013, 10.1109/TPAMI.2012.213) within the lungs: around each voxel the probability is
    taken as a linear function of the density, so it falls where the opacity ends and not half a location later. Where
    the map sees no disease the slope is 0, so vessels stay out.

    Args:
        probability: float32 ``[z, y, x]``, 0-1, on the grid ``SPACING_MM``.
        hu: same shape, Hounsfield units.
        lungs: bool, same shape.

    Returns:
        float32 ``[z, y, x]``, 0-1; outside the lungs it goes on for some mm, so that it can be interpolated there.
    """
    size = tuple(2 * round(reach / step) + 1 for reach, step in zip(_REACH_MM, SPACING_MM, strict=True))
    inside = lungs.astype(np.float32)
    share = np.maximum(ndimage.uniform_filter(inside, size, mode="constant"), 1e-6)

    def mean(values: Volume) -> Volume:
        return np.asarray(ndimage.uniform_filter(values * inside, size, mode="constant") / share)

    density = window(hu, *_OPACITY_HU)
    mean_density, mean_probability = mean(density), mean(probability)
    covariance = mean(density * probability) - mean_density * mean_probability
    slope = covariance / (mean(density * density) - mean_density**2 + _TEXTURE**2)
    offset = mean_probability - slope * mean_density
    return np.clip(mean(slope) * density + mean(offset), 0.0, 1.0)
