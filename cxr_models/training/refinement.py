"""DLNet's second stage: finer targets from the first stage's own Grad-CAM (the paper's section III-B, 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional as F

from cxr_models.data.detection import DetectionDataset
from cxr_models.networks.dlnet import DLNet
from neural.gradcam import grad_cam

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RefinementSettings:
    """How proposals are made.

    Attributes:
        detection_threshold: probability from which a positive may be refined (the paper: 0.8).
        share: share of those positives that is refined (the paper: half).
        map_threshold: of the fused map, normalised to 0-1 (the paper: 0.4).
        smoothing: standard deviation of the Gaussian that smooths the fused map, as a share of the image's side; the
            paper gives none.
        blur: of the final proposal, likewise; the first stage's.
        seed: which positives are refined.
    """

    detection_threshold: float = 0.8
    share: float = 0.5
    map_threshold: float = 0.4
    smoothing: float = 0.02
    blur: float = 0.01
    seed: int = 0


def fused_grad_cam(network: DLNet, image: torch.Tensor, smoothing: float) -> tuple[float, Array]:
    """Probability of one image, and its fused Grad-CAM map.

    The score is the sum of the localisation head's output. Its Grad-CAM at Act-28 and at Act-14, each brought to a
    maximum of 1 so that neither drowns the other, are resized to the image, their maximum is taken, smoothed and
    normalised to 0-1.

    Args:
        network: in evaluation mode.
        image: ``[row, col]``, 0-1 after CLAHE.
        smoothing: see :class:`RefinementSettings`.

    Returns:
        The probability, 0-1, and the map, float32 ``[row, col]``, 0-1 (all 0 where nothing raises the score).
    """
    with torch.enable_grad():
        output = network(image.unsqueeze(0))
        score = output.maps.sum(dim=(1, 2, 3))
        heats = [_to_unit_peak(grad_cam(score, act)) for act in (output.act_28, output.act_14)]
    sized = [F.interpolate(h.unsqueeze(1), size=image.shape, mode="bilinear", align_corners=False) for h in heats]
    fused = torch.maximum(*sized)[0, 0].cpu().numpy()
    smooth = ndimage.gaussian_filter(fused, smoothing * fused.shape[0])
    low, high = float(smooth.min()), float(smooth.max())
    normal = (smooth - low) / (high - low) if high > low else np.zeros_like(smooth)
    return float(output.probability()[0].detach()), normal.astype(np.float32)


def refine_targets(network: DLNet, dataset: DetectionDataset, settings: RefinementSettings | None = None) -> list[int]:
    """Replace the targets of some positives by proposals that lie inside their boxes.

    Args:
        network: the trained first stage.
        dataset: the training set; changed in place. Images without a known lesion keep what they have.
        settings: see :class:`RefinementSettings`.

    Returns:
        Indices of the images whose target was replaced.
    """
    settings = settings or RefinementSettings()
    network.eval()
    device = next(network.parameters()).device
    proposals: dict[int, Array] = {}
    for index, item in enumerate(dataset.items):
        if item.label != 1.0 or not item.lesion.any():
            continue
        image = dataset.plain_image(index).to(device)
        probability, heat = fused_grad_cam(network, image, settings.smoothing)
        inside = (heat >= settings.map_threshold) & (item.lesion >= 0.5)
        if probability > settings.detection_threshold and inside.any():
            proposals[index] = ndimage.gaussian_filter(inside.astype(np.float32), settings.blur * heat.shape[0])
    rng = np.random.default_rng(settings.seed)
    chosen = sorted(rng.permutation(sorted(proposals))[: round(settings.share * len(proposals))].tolist())
    for index in chosen:
        dataset.items[index].lesion = proposals[index]
    return chosen


def _to_unit_peak(heat: torch.Tensor) -> torch.Tensor:
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
