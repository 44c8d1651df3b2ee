"""Augmentation of radiographs: arrays in, arrays out, every random number from the generator that is passed in.

Images are float32 ``[row, col]`` on the 0-1 scale, bone bright; masks are bool or float32 of the same shape. Nothing
here needs PyTorch, so that the same functions serve a PyTorch dataset, a notebook and the synthesis of training images.
"""

from cxr_models.augment.blobs import implant_blobs
from cxr_models.augment.geometric import random_affine, random_mirror
from cxr_models.augment.intensity import adjust_gamma, random_gamma, random_intensity, random_quality
from cxr_models.augment.opacities import Abnormal, abnormal_from_normal

__all__ = [
    "Abnormal",
    "abnormal_from_normal",
    "adjust_gamma",
    "implant_blobs",
    "random_affine",
    "random_gamma",
    "random_intensity",
    "random_mirror",
    "random_quality",
]
