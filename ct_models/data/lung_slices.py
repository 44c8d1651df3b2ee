"""Axial slices with lung labels as training examples for the lung network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ct_models.data.augmentation import (
    OUTSIDE_HU,
    identity_points,
    implant_bowel_gas,
    implant_consolidation,
    is_mirrored,
    random_contrast_agent,
    random_field_of_view,
    random_points,
    random_scanner,
    sample_at,
    sides_after,
    tensor,
)
from ct_models.data.examples import SliceExamples
from ct_models.data.slices import slice_stack
from ct_models.data.volumes import SPACING_MM, LabelledVolume
from ct_models.networks.lung_net import MULTIPLE, PIXEL_MM

#: Of the drawn slices, how many lie anywhere in the scan (neck and abdomen included) and not at the lungs; and how
#: often each change happens. Gas of the bowel is put into slices from the lowest part of the lungs downwards.
_ANYWHERE, _IMPLANT, _GAS, _AGENT, _CIRCLE = 0.35, 0.2, 0.35, 0.25, 0.25
_LOWEST = 0.4


class LungSliceDataset(SliceExamples):
    """Random augmented slices of labelled scans (:class:`neural.training.EpochDataset`), or fixed ones as they are.

    Args:
        volumes: see :func:`ct_models.data.volumes.load_volumes`.
        size: rows and columns of an example, pixels of 2 mm, multiples of 32.
        per_epoch: augmented examples in an epoch; 0 for every ``every``-th slice unchanged.
        every: see ``per_epoch``.
        seed: of the augmentation.

    Raises:
        ValueError: a size that is no multiple of 32, or no scans.
    """

    def __init__(
        self,
        volumes: Sequence[LabelledVolume],
        size: tuple[int, int] = (160, 192),
        *,
        per_epoch: int = 0,
        every: int = 5,
        seed: int = 0,
    ) -> None:
        if any(n % MULTIPLE or n <= 0 for n in size):
            raise ValueError(
                f"size={size} does not suit the network: give multiples of {MULTIPLE}, such as (160, 192)."
            )
        fixed = [(v, z) for v, volume in enumerate(volumes) for z in range(0, len(volume.hu), every)]
        super().__init__(volumes, fixed, per_epoch, seed)
        self._points = identity_points(size, PIXEL_MM)
        self._centres = [_centre(volume.lungs) for volume in self.volumes]
        ends = [np.flatnonzero(volume.lungs.any(axis=(1, 2)))[[0, -1]] for volume in self.volumes]
        self._lowest = [first + _LOWEST * (last - first) for first, last in ends]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """``hu`` float32 ``[3, y, x]``, ``lungs`` int64 ``[y, x]`` (0, 1, 2), ``lesions`` float32 ``[y, x]`` (0, 1)."""
        if not self.per_epoch:
            number, z = self.fixed[index]
            return _example(*self._sample(number, z, self._points))
        rng = np.random.default_rng([self.seed, self.epoch, index])
        number = int(rng.integers(len(self.volumes)))
        points = random_points(self._points, rng)
        z = self._draw_slice(number, rng)
        hu, lungs, lesions = self._sample(number, z, points)
        if z < self._lowest[number] and rng.random() < _GAS:
            hu, _ = implant_bowel_gas(hu, lungs, PIXEL_MM, rng)
        return _example(*_augmented(hu, sides_after(lungs, is_mirrored(points)), lesions, rng))

    def _draw_slice(self, number: int, rng: np.random.Generator) -> int:
        """A slice at or near the lungs, now and then anywhere."""
        slices = np.flatnonzero(self.volumes[number].lungs.any(axis=(1, 2)))
        depth = len(self.volumes[number].hu)
        if rng.random() < _ANYWHERE:
            return int(rng.integers(depth))
        return int(rng.integers(max(slices[0] - 3, 0), min(slices[-1] + 4, depth)))

    def _sample(
        self, number: int, z: int, points: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        volume, centre, pixel = self.volumes[number], self._centres[number], SPACING_MM[1]
        hu = sample_at(slice_stack(volume.hu, z), points, pixel, centre, fill=OUTSIDE_HU)
        maps = np.stack([volume.lungs[z], volume.lesions[z]])
        lungs, lesions = sample_at(maps, points, pixel, centre, fill=0.0, nearest=True)
        return hu, lungs.astype(np.uint8), lesions > 0.5


def _augmented(
    hu: npt.NDArray[np.float32],
    lungs: npt.NDArray[np.uint8],
    lesions: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    if rng.random() < _IMPLANT:
        hu, filled = implant_consolidation(hu, lungs, rng)
        lesions = lesions | filled
    if rng.random() < _AGENT:
        hu = random_contrast_agent(hu, lungs > 0, rng)
    hu = random_scanner(hu, rng)
    if rng.random() < _CIRCLE:
        hu, inside = random_field_of_view(hu, lungs > 0, PIXEL_MM, rng)
        lungs, lesions = lungs * inside, lesions & inside
    return hu, lungs, lesions


def _example(
    hu: npt.NDArray[np.float32], lungs: npt.NDArray[np.uint8], lesions: npt.NDArray[np.bool_]
) -> dict[str, torch.Tensor]:
    return {
        "hu": tensor(hu),
        "lungs": tensor(lungs.astype(np.int64)),
        "lesions": tensor((lesions & (lungs > 0)).astype(np.float32)),
    }


def _centre(lungs: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Middle of the lungs' bounding box, row and column."""
    rows, cols = np.flatnonzero(lungs.any(axis=(0, 2))), np.flatnonzero(lungs.any(axis=(0, 1)))
    return (rows[0] + rows[-1]) / 2, (cols[0] + cols[-1]) / 2
