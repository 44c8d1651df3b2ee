"""What the slice classifier says about a scan, voxel by voxel and slice by slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ct_models.data.volumes import SPACING_MM
from ct_models.localisation import disease_probability, head_cam, refine_probability
from ct_models.morphology import Mask, Volume
from ct_models.networks.slice_net import SliceNet
from ct_models.slices import FILL_HU, cut, lung_crop, paste, pictures

_BATCH = 8
_LEAST_LUNG_CM2 = 2.0

#: Neighbouring slices of 4 mm that must all show pneumonia before a scan does.
_SLICES_IN_A_ROW = 3


@dataclass(frozen=True)
class Reading:
    """What the classifier says about a scan, on the grid ``SPACING_MM`` over the lungs' bounding box.

    Attributes:
        probability: float32 ``[z, y, x]``, 0-1: Grad-CAM, refined, as the probability that a voxel is diseased;
            for lung only.
        slice_probability: float32 ``[z]``, 0-1; 0 in slices without lung.
    """

    probability: Volume
    slice_probability: npt.NDArray[np.float32]


def read_slices(network: SliceNet, hu: Volume, lungs: Mask) -> Reading:
    """Run a classifier on every slice with at least 2 cm2 of lung.

    Args:
        network: in evaluation mode.
        hu: float32 ``[z, y, x]`` on the grid ``SPACING_MM``, Hounsfield units.
        lungs: bool, same shape, not empty.
    """
    device = next(network.parameters()).device
    crop = lung_crop(lungs)
    near, inside = cut(hu, crop, FILL_HU), cut(lungs, crop, False)
    heat = np.zeros(near.shape, np.float32)
    probability = np.zeros(len(hu), np.float32)
    area_cm2 = np.count_nonzero(lungs, axis=(1, 2)) * SPACING_MM[1] * SPACING_MM[2] / 100.0
    with_lung = np.flatnonzero(area_cm2 >= _LEAST_LUNG_CM2)
    with torch.inference_mode():
        for start in range(0, len(with_lung), _BATCH):
            chosen = with_lung[start : start + _BATCH]
            reading = network(torch.from_numpy(pictures(near, inside, chosen)).to(device))
            heat[chosen] = disease_probability(head_cam(network, reading), (crop.rows, crop.columns)).cpu().numpy()
            probability[chosen] = reading.logit.sigmoid().cpu().numpy()
    return Reading(refine_probability(paste(heat, crop, hu.shape), hu, lungs), probability)


def scan_probability(slices: npt.NDArray[np.float32]) -> float:
    """Probability of pneumonia in a scan: the highest that three neighbouring slices (12 mm) all reach.

    One slice or two with a fold of bowel, a vessel or the tip of a lung that look like disease do not count.

    Args:
        slices: ``[z]``, 0-1, 4 mm apart, 0 where there is no lung.
    """
    return float(ndimage.minimum_filter1d(slices, _SLICES_IN_A_ROW, mode="constant").max())
