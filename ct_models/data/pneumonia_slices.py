"""Axial slices with disease labels as training examples for the slice classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional as F

from ct_models.data.augmentation import OUTSIDE_HU, identity_points, random_points, random_scanner, sample_at, tensor
from ct_models.data.examples import SliceExamples
from ct_models.data.slices import slice_stack, window
from ct_models.data.volumes import SPACING_MM, LabelledVolume
from ct_models.slices import FILL_HU, MARGIN_PIXELS, PICTURE, WINDOW_HU, lung_crop

Array = npt.NDArray[np.float32]

#: Share of a slice's lung that is diseased: from where on the slice counts as positive, and up to where as negative.
#: In between its label is left open.
POSITIVE, NEGATIVE = 0.005, 0.0005

#: Pixels per location of the finest map, the grid of the targets.
TARGET_STRIDE = 4

_LEAST_LUNG_CM2 = 10.0

#: Share of diseased slices among those drawn from a scan that has diseased and healthy ones.
_DISEASED = 2.0 / 3.0

#: How often an augmented slice shows what lies around the lungs, is in expiration, or turns upside down.
_UNMASKED, _EXPIRATION, _UPSIDE_DOWN = 0.15, 0.4, 0.5
_WIDE_MARGIN = 15


class PneumoniaSliceDataset(SliceExamples):
    """Random augmented slices of labelled scans (:class:`neural.training.EpochDataset`), or fixed ones as they are.

    Augmented slices: every scan has the same chance; two in three are diseased where a scan has both kinds.

    Args:
        volumes: see :func:`ct_models.data.volumes.load_volumes`; each with a lesion map or labels of its slices.
        per_epoch: augmented examples in an epoch; 0 for every ``every``-th slice unchanged.
        every: see ``per_epoch``.
        seed: of the augmentation.

    Raises:
        ValueError: no scans, or one with neither lesion map nor slice labels.
    """

    def __init__(
        self, volumes: Sequence[LabelledVolume], *, per_epoch: int = 0, every: int = 16, seed: int = 0
    ) -> None:
        if unknown := [v.patient for v in volumes if not v.has_lesion_map and np.isnan(v.infected).all()]:
            raise ValueError(
                f"{len(unknown)} scan(s) have neither a lesion map nor slice labels, first that of patient "
                f"{unknown[0]!r}. Give one of them, an empty map where all is healthy, or leave these scans out."
            )
        self.shares = [lesion_shares(volume) for volume in volumes]
        fixed = [(n, int(z)) for n, s in enumerate(self.shares) for z in np.flatnonzero(~np.isnan(s))[::every]]
        super().__init__(volumes, fixed, per_epoch, seed)
        crops = [lung_crop(volume.lungs) for volume in self.volumes]
        self._centres = [(c.row + (c.rows - 1) / 2, c.column + (c.columns - 1) / 2) for c in crops]
        self._points = identity_points(PICTURE, SPACING_MM[1])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One example.

        Returns:
            ``images`` float32 ``[3, H, W]``, 0-1; ``lesion`` and ``lung`` ``[H / 4, W / 4]``, the diseased share of
            the lung in a location and its share of lung; ``located``, 0 where the slice is diseased and nobody knows
            where; ``label`` 0 or 1; ``label_weight``, 0 where the label is open.
        """
        if not self.per_epoch:
            number, z = self.fixed[index]
            hu, lungs, lesions = self._sample(number, z, self._points)
            visible = ndimage.maximum_filter(lungs, (1, 2 * MARGIN_PIXELS + 1, 2 * MARGIN_PIXELS + 1))
            return _example(hu, visible, lungs[1], lesions, self._label(number, z))
        rng = np.random.default_rng([self.seed, self.epoch, index])
        number = int((index + rng.integers(len(self.volumes))) % len(self.volumes))
        z = _draw_slice(self.shares[number], rng)
        hu, lungs, lesions = self._sample(number, z, random_points(self._points, rng))
        hu = random_scanner(_expired(hu, lungs[1], rng), rng)
        if rng.random() < _UPSIDE_DOWN:
            hu, lungs = hu[::-1], lungs[::-1]
        return _example(hu, _random_margin(lungs, rng), lungs[1], lesions, self._label(number, z))

    def _label(self, number: int, z: int) -> float | None:
        """The label of a slice, 0 or 1, where its disease is not mapped."""
        return None if self.volumes[number].has_lesion_map else float(self.shares[number][z])

    def _sample(self, number: int, z: int, points: Array) -> tuple[Array, Array, Array]:
        """HU and lungs (0-1) ``[3, row, col]`` and lesions (0-1) ``[row, col]`` at points of a slice."""
        volume, centre, pixel = self.volumes[number], self._centres[number], SPACING_MM[1]
        hu = sample_at(slice_stack(volume.hu, z), points, pixel, centre, fill=OUTSIDE_HU)
        maps = np.concatenate([slice_stack(volume.lungs, z) > 0, volume.lesions[z : z + 1] > 0])
        sampled = sample_at(maps, points, pixel, centre, fill=0.0)
        return hu, sampled[:3], sampled[3] * (sampled[1] > 0)


def lesion_shares(volume: LabelledVolume) -> Array:
    """Diseased share of the lung in each slice, 0-1; NaN where there is less than 10 cm2 of lung.

    Without a lesion map the slice's label, 0 or 1; NaN too between slices of different label.
    """
    lungs = np.count_nonzero(volume.lungs, axis=(1, 2))
    lesions = np.count_nonzero((volume.lesions > 0) & (volume.lungs > 0), axis=(1, 2))
    enough = lungs * SPACING_MM[1] * SPACING_MM[2] / 100.0 >= _LEAST_LUNG_CM2
    if volume.has_lesion_map:
        shares = lesions / np.maximum(lungs, 1)
    else:
        shares = np.where(np.isin(volume.infected, (0.0, 1.0)), volume.infected, np.nan)
    return np.where(enough, shares, np.nan).astype(np.float32)


def _draw_slice(shares: Array, rng: np.random.Generator) -> int:
    """A diseased slice in two of three draws and a healthy one in the third, where a scan has both."""
    diseased, healthy = np.flatnonzero(shares >= POSITIVE), np.flatnonzero(shares <= NEGATIVE)
    wanted, other = (diseased, healthy) if rng.random() < _DISEASED else (healthy, diseased)
    for group in (wanted, other, np.flatnonzero(~np.isnan(shares))):
        if len(group):
            return int(rng.choice(group))
    raise ValueError(f"no slice of the scan has {_LEAST_LUNG_CM2:g} cm2 of lung: check its lung map.")


def _expired(hu: Array, lung: Array, rng: np.random.Generator) -> Array:
    """In some slices denser lungs, more so towards the back, as in expiration or in lungs that lie long."""
    if rng.random() >= _EXPIRATION:
        return hu
    down = np.linspace(0.0, 1.0, hu.shape[1], dtype=np.float32)[:, None]
    rise = rng.uniform(-30.0, 60.0) + rng.uniform(0.0, 120.0) * (down - 0.4)
    air = np.clip((-300.0 - hu) / 500.0, 0.0, 1.0)  # fluid and tissue do not become denser
    return (hu + rise * air * lung).astype(np.float32)


def _random_margin(lungs: Array, rng: np.random.Generator) -> Array:
    """What is visible, 0-1: the lungs with a random margin, as masks err, and now and then far more."""
    if rng.random() < _UNMASKED:
        return np.ones_like(lungs) if rng.random() < 0.5 else _widened(lungs, _WIDE_MARGIN)
    return _widened(lungs, int(rng.integers(1, 2 * MARGIN_PIXELS)))


def _widened(lungs: Array, margin: int) -> Array:
    size = 2 * margin + 1
    return np.asarray(ndimage.maximum_filter(lungs, (1, size, size)))


def _example(
    hu: Array, visible: Array, lung: Array, lesions: Array, slice_label: float | None
) -> dict[str, torch.Tensor]:
    share = float(lesions.sum() / max(float(lung.sum()), 1.0)) if slice_label is None else slice_label
    images = window(FILL_HU + (hu - FILL_HU) * (visible > 0.5), *WINDOW_HU)
    maps = F.avg_pool2d(tensor(np.stack([lesions, lung])), TARGET_STRIDE)
    return {
        "images": tensor(images),
        "lesion": (maps[0] / maps[1].clamp_min(1e-3)).clamp(0.0, 1.0) * (maps[1] > 0),
        "lung": maps[1],
        "located": torch.tensor(float(not slice_label)),
        "label": torch.tensor(float(share >= POSITIVE)),
        "label_weight": torch.tensor(float(share >= POSITIVE or share <= NEGATIVE)),
    }
