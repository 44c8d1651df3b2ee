"""Random changes of CT slices, so that a network sees more scanners, postures and disease than the training set has.

Slices are float32 ``[3, y, x]`` (below, middle, above), Hounsfield units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

Slices = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

OUTSIDE_HU = -1024.0

_ROTATION_DEG = 12.0
_ZOOM = (0.8, 1.25)
_SHIFT_MM = 30.0
_ELASTIC_MM, _ELASTIC_NODES = 5.0, 6


def identity_points(size: tuple[int, int], pixel_mm: float) -> npt.NDArray[np.float32]:
    """Where the pixels of a slice lie from its middle, mm: ``[2, y, x]``, down and to the right."""
    down, right = ((np.arange(n, dtype=np.float32) - (n - 1) / 2) * pixel_mm for n in size)
    return np.stack(np.meshgrid(down, right, indexing="ij")).astype(np.float32)


def random_points(points_mm: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Points turned, zoomed (each axis on its own by 5 % more), mirrored in half of the cases, bent and shifted, mm.

    A mirrored patient keeps right and left by the side of the image: see :func:`sides_after`.
    """
    angle = np.deg2rad(rng.normal(0.0, _ROTATION_DEG / 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    zoom = np.exp(rng.uniform(*np.log(_ZOOM))) * rng.uniform(0.95, 1.05, 2)
    mirror = np.array([1.0, rng.choice((-1.0, 1.0))])
    matrix = np.diag(mirror) @ turn @ np.diag(1.0 / zoom)
    moved = np.einsum("ij,jyx->iyx", matrix, points_mm) + rng.uniform(-_SHIFT_MM, _SHIFT_MM, (2, 1, 1))
    nodes = rng.normal(0.0, _ELASTIC_MM * rng.random(), (1, 2, _ELASTIC_NODES, _ELASTIC_NODES))
    bend = F.interpolate(torch.from_numpy(nodes), size=points_mm.shape[1:], mode="bicubic", align_corners=True)[0]
    return (moved + bend.numpy()).astype(np.float32)


def is_mirrored(points_mm: npt.NDArray[np.float32]) -> bool:
    """Whether the points run from right to left."""
    return bool(points_mm[1, :, -1].mean() < points_mm[1, :, 0].mean())


def sample_at(
    image: npt.NDArray[np.generic],
    points_mm: npt.NDArray[np.float32],
    pixel_mm: float,
    centre: tuple[float, float],
    *,
    fill: float,
    nearest: bool = False,
) -> Slices:
    """Values of an image ``[channel, y, x]`` at points from a centre.

    Args:
        image: any numbers.
        points_mm: ``[2, y, x]``, down and to the right of the centre, mm.
        pixel_mm: of the image.
        centre: row and column of the image's pixel that the points count from.
        fill: value beyond the image.
        nearest: take the nearest pixel's value; the default interpolates linearly.
    """
    size = np.array(image.shape[1:], dtype=np.float32).reshape(2, 1, 1)
    pixels = points_mm / pixel_mm + np.array(centre, dtype=np.float32).reshape(2, 1, 1)
    grid = torch.from_numpy(np.stack([2 * p / n + 1 / n - 1 for p, n in zip(pixels, size, strict=True)][::-1], axis=-1))
    values = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32) - np.float32(fill))
    mode = "nearest" if nearest else "bilinear"
    sampled = F.grid_sample(values[None], grid[None].float(), mode=mode, padding_mode="zeros", align_corners=False)
    return np.asarray((sampled[0] + fill).numpy())


def random_scanner(hu: Slices, rng: np.random.Generator) -> Slices:
    """Other calibration, slice thickness, sharpness and noise."""
    hu = hu * rng.normal(1.0, 0.02) + rng.normal(0.0, 12.0)
    if rng.random() < 0.25:
        hu = ndimage.convolve1d(hu, (0.25, 0.5, 0.25), axis=0, mode="nearest")
    sharpness = rng.random()
    if sharpness < 0.4:
        hu = _blurred(hu, rng.uniform(0.3, 1.2))
    elif sharpness < 0.55:
        hu = hu + rng.uniform(0.3, 1.0) * (hu - _blurred(hu, 1.0))
    if rng.random() < 0.6:
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        if rng.random() < 0.5:
            noise = _blurred(noise, 0.7) * 2.5
        hu = hu + rng.uniform(3.0, 45.0) * noise
    return hu.astype(np.float32)


def random_contrast_agent(hu: Slices, lungs: Mask, rng: np.random.Generator) -> Slices:
    """Enhance soft tissue around a point between the lungs, as an agent does in heart and great vessels."""
    rows, cols = np.nonzero(lungs) if lungs.any() else np.nonzero(np.ones_like(lungs))
    centre = (rng.normal(rows.mean(), 10.0), rng.normal((cols.min() + cols.max()) / 2, 10.0))
    squared = sum((axis - c) ** 2 for axis, c in zip(np.ogrid[: lungs.shape[0], : lungs.shape[1]], centre, strict=True))
    glow = rng.uniform(40.0, 250.0) * np.exp(-squared / (2 * rng.uniform(10.0, 35.0) ** 2))
    share = np.clip((hu - 5.0) / 30.0, 0.0, 1.0) * ~lungs
    return (hu + glow * share).astype(np.float32)


def random_field_of_view(hu: Slices, lungs: Mask, pixel_mm: float, rng: np.random.Generator) -> tuple[Slices, Mask]:
    """Cut the slices by a reconstruction circle that may clip the chest wall; returns them and what is inside."""
    rows, cols = np.ogrid[: hu.shape[1], : hu.shape[2]]
    centre = np.array(hu.shape[1:]) / 2 + rng.normal(0.0, 8.0, 2)
    inside = np.hypot(rows - centre[0], cols - centre[1]) * pixel_mm < rng.uniform(125.0, 190.0)
    return np.where(inside, hu, rng.choice((OUTSIDE_HU, -2000.0, -1000.0))).astype(np.float32), inside


def implant_consolidation(hu: Slices, lungs: npt.NDArray[np.uint8], rng: np.random.Generator) -> tuple[Slices, Mask]:
    """Fill a random part of one lung or both with airless tissue, up to four fifths of it.

    Some lung is left: full of tissue it would look as the liver does, which is no lung.

    Args:
        hu: the slices.
        lungs: uint8 ``[y, x]`` of the middle slice, 1 right, 2 left.

    Returns:
        the slices, and where tissue was put, bool ``[y, x]``.
    """
    sides = [side for side in (1, 2) if (lungs == side).any()]
    if not sides:
        return hu, np.zeros(lungs.shape, bool)
    chosen = np.isin(lungs, sides if rng.random() < 0.3 else [rng.choice(sides)])
    field = _smooth_noise(lungs.shape, rng.uniform(6.0, 20.0), rng)
    slope = rng.normal(0.0, 1.0, 2) * np.array([1.5, 0.7])  # more to the back or front than to a side
    rows, cols = np.ogrid[-1 : 1 : lungs.shape[0] * 1j, -1 : 1 : lungs.shape[1] * 1j]
    field = field + slope[0] * 2 * rows + slope[1] * 2 * cols
    level = np.quantile(field[chosen], rng.uniform(0.2, 0.9))
    filled = chosen & (field >= level)
    tissue = rng.uniform(-60.0, 60.0) + rng.normal(0.0, 1.0) * 15.0 * _smooth_noise(lungs.shape, 3.0, rng)
    if rng.random() < 0.8:  # bronchi keep their air
        tissue = np.where(_smooth_noise(lungs.shape, 1.0, rng) > rng.uniform(1.8, 3.0), -700.0, tissue)
    texture = hu - _blurred(hu, 1.0)
    soft = _blurred(filled.astype(np.float32)[None], 0.5)
    dense = np.maximum(hu, tissue + np.clip(texture, -60.0, 60.0))
    return (hu + soft * filled * (dense - hu)).astype(np.float32), filled


def implant_bowel_gas(
    hu: Slices, lungs: npt.NDArray[np.uint8], pixel_mm: float, rng: np.random.Generator
) -> tuple[Slices, Mask]:
    """Put gas as in the colon into soft tissue, often next to the lungs, a wall away; it is no lung.

    Args:
        hu: the slices, of the lower chest or the abdomen.
        lungs: uint8 ``[y, x]`` of the middle slice, 0 elsewhere.
        pixel_mm: pixel size.

    Returns:
        the slices, and where gas was put, bool ``[y, x]``: nowhere where there is no soft tissue to hold it.
    """
    smooth = _blurred(hu, 1.0).min(axis=0)
    tissue = ndimage.binary_opening((smooth > -150.0) & (smooth < 150.0) & (lungs == 0))
    body = ndimage.binary_fill_holes(tissue | (lungs > 0))
    deep = ndimage.distance_transform_edt(body) * pixel_mm > 12.0
    from_lungs = ndimage.distance_transform_edt(lungs == 0) * pixel_mm if lungs.any() else np.full(lungs.shape, 20.0)
    places = np.argwhere(tissue & deep & (from_lungs < (25.0 if rng.random() < 0.7 else np.inf)))
    if not len(places):
        return hu, np.zeros(lungs.shape, bool)
    rows, cols = np.ogrid[: lungs.shape[0], : lungs.shape[1]]
    centre = places[rng.integers(len(places))].astype(float)
    gas = np.zeros(lungs.shape, bool)
    heading = rng.uniform(0.0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 5))):  # one haustrum after the other
        radii = rng.uniform(6.0, 24.0, 2) / pixel_mm
        gas |= ((rows - centre[0]) / radii[0]) ** 2 + ((cols - centre[1]) / radii[1]) ** 2 < 1.0
        heading += rng.normal(0.0, 0.5)
        centre = centre + radii.mean() * np.array([np.sin(heading), np.cos(heading)])
    wall_mm = rng.uniform(2.0, 6.0)
    gas &= deep & (smooth < 150.0) & (from_lungs > wall_mm)
    around = ndimage.binary_dilation(gas, iterations=max(1, round(wall_mm / pixel_mm))) & ~gas & (lungs == 0)
    changed = np.where(around & (smooth < 150.0), np.maximum(hu, rng.uniform(0.0, 50.0)), hu)
    inside = np.full(lungs.shape, rng.uniform(-1010.0, -930.0), np.float32)
    if gas.any() and rng.random() < 0.4:  # stool or fluid lies at the back
        level = np.quantile(np.nonzero(gas)[0], rng.uniform(0.3, 0.9))
        stool = rng.uniform(-150.0, 60.0) + rng.uniform(10.0, 120.0) * _smooth_noise(lungs.shape, 1.5, rng)
        inside = np.where(rows > level, stool, inside)
    inside = inside + rng.uniform(0.0, 20.0) * rng.standard_normal(hu.shape, dtype=np.float32)
    soft = _blurred(gas.astype(np.float32)[None], 0.5)
    return (changed + soft * (inside - changed)).astype(np.float32), gas


def _smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, truncate=3.0)
    return np.asarray((noise - noise.mean()) / noise.std())


def _blurred(image: npt.NDArray[Any], sigma: float) -> Slices:
    """Each slice blurred on its own."""
    return np.asarray(ndimage.gaussian_filter(image, (0.0, sigma, sigma), truncate=3.0))


def sides_after(labels: npt.NDArray[np.uint8], mirrored: bool) -> npt.NDArray[np.uint8]:
    """Lung labels by the side of the image: right and left change places in a mirrored slice."""
    return np.array([0, 2, 1], dtype=np.uint8)[labels] if mirrored else labels


def tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """A contiguous tensor of an array."""
    return torch.from_numpy(np.ascontiguousarray(array))
