"""The shape of a lesion: where it lies in a lung, and how far its soft, irregular border reaches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from drrval.disease.fissures import rough_lobes
from drrval.disease.lesion import Kind, Lesion
from drrval.disease.texture import Array, Axes, smooth_noise
from drrval.errors import StudyError
from drrval.volume import Grid

Box = tuple[slice, slice, slice]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

SIDES = {"right": 1, "left": 2}
_RAGGED_SCALES = (0.9, 0.45)  # of the border, as fractions of the radii
_RAGGED_SCALES_MM = (6.0, 2.5)
# The border inside and outside may take up this much of the mean radius. Inside it gets sharper with density (HU,
# share), as it must for a small lesion to be dense on average.
_SHARPENING = ((-500.0, -200.0, 0.0), (0.5, 0.3, 0.08))
_WIDEST_OUTER = 0.6
_HILUM_HEIGHT = 0.55  # of the lung, from its base
_REACH = 1.75  # no border lies further out, in radii
# How much a lesion shrinks where it crosses a fissure, as a fraction of its radius. Nearly half of the oblique fissures
# are incomplete, so disease does cross (Aziz et al. J Thorac Imaging 2004, 10.1097/01.rti.0000131590.74658.24).
_FISSURE = 0.35


@dataclass(frozen=True)
class Envelope:
    """Where a lesion acts.

    Attributes:
        box: its part of the volume.
        axes: positions of the voxels of the box along z, y, x relative to the lesion's centre, mm.
        weight: float32 ``[z, y, x]`` of the box, 0..1: share of the full change; defined outside the lung too.
        lung: bool, the voxels of the box that may hold this lesion: its lung, or its lobe.
        to_hilum_mm: from the lesion's centre to about the hilum of its lung, z, y, x, mm.
    """

    box: Box
    axes: Axes
    weight: Array
    lung: Mask
    to_hilum_mm: tuple[float, float, float]

    @property
    def lesion(self) -> Mask:
        """Voxels that count as lesion: in the lung, and at least half of the full change."""
        return self.lung & (self.weight >= 0.5)


@cache
def kind_table() -> dict[Kind, dict[str, Any]]:
    """How each kind of opacity looks; see ``kinds.yaml``."""
    return yaml.safe_load((files("drrval.disease") / "kinds.yaml").read_text(encoding="utf-8"))


class LungSpace:
    """A lung map with what is needed to place many lesions in it.

    Args:
        grid: of the maps.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        lobes: uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5, or None.

    Raises:
        StudyError: a map of another shape, or lung labels other than 0, 1, 2, or no lung at all.
    """

    def __init__(self, grid: Grid, lungs: Labels, lobes: Labels | None = None) -> None:
        _check_map("lungs", lungs, grid, 2)
        if lobes is not None:
            _check_map("lobes", lobes, grid, 5)
        self.spacing_mm = grid.spacing_mm[::-1]
        self.lungs, self.lobes = lungs, lobes
        self._boxes = {label: box for label in SIDES.values() if (box := _bounds(lungs == label)) is not None}
        if not self._boxes:
            raise StudyError("lungs: the map is empty. Give a map with 1 in the right and 2 in the left lung.")

    def envelope(self, lesion: Lesion) -> Envelope | None:
        """Shape of a lesion, or None where its lung is missing.

        An ellipsoid with a border that is ragged at four scales, from lobes of the lesion to single lobules. Where it
        crosses into another lobe its border steps back, because fissures hold disease up.
        """
        label = SIDES[lesion.side]
        if label not in self._boxes:
            return None
        centre = self._place(lesion)
        box = self._around(centre, lesion)
        axes = self._axes(box, centre)
        lung = self.lungs[box] == label
        depth = _depth(lesion, axes)
        if lesion.lobe:
            lung &= self._confining_lobes[box] == lesion.lobe
        elif self.lobes is not None:
            depth -= np.float32(_FISSURE) * (lung & (self.lobes[box] != self.lobes[centre]))
        table = kind_table()[lesion.kind]
        radius_mm = float(np.cbrt(np.prod(lesion.radii_mm)))
        shares = (np.interp(lesion.hu, *_SHARPENING), _WIDEST_OUTER)
        inner, outer = (
            np.float32(min(share, width / radius_mm)) for share, width in zip(shares, table["edge_mm"], strict=True)
        )
        weight = 0.5 * (np.clip(depth / inner, 0.0, 1.0) + np.clip(1.0 + depth / outer, 0.0, 1.0))
        return Envelope(box, axes, weight, lung, self._to_hilum(centre, lesion))

    @cached_property
    def _confining_lobes(self) -> Labels:
        return rough_lobes(self.lungs) if self.lobes is None else self.lobes

    def _place(self, lesion: Lesion) -> tuple[int, int, int]:
        """Voxel of the lesion's centre: base to apex picks the slice, front to back the row of the lung in this slice,
        medial to lateral the place in this row, so that it always lies between the borders of the lung."""
        label = SIDES[lesion.side]
        box = self._boxes[label]
        lung = self.lungs[box] == label
        medial, back, up = lesion.centre
        z = _between(np.flatnonzero(lung.any(axis=(1, 2))), up)
        y = _between(np.flatnonzero(lung[z].any(axis=1)), back)
        x = _between(np.flatnonzero(lung[z, y]), 1.0 - medial if lesion.side == "right" else medial)
        return box[0].start + z, box[1].start + y, box[2].start + x

    def _to_hilum(self, centre: tuple[int, int, int], lesion: Lesion) -> tuple[float, float, float]:
        z, y, x = self._boxes[SIDES[lesion.side]]
        inner = x.stop - 0.1 * (x.stop - x.start) if lesion.side == "right" else x.start + 0.1 * (x.stop - x.start)
        hilum = (z.start + _HILUM_HEIGHT * (z.stop - z.start), (y.start + y.stop) / 2.0, inner)
        dz, dy, dx = ((h - c) * step for h, c, step in zip(hilum, centre, self.spacing_mm, strict=True))
        return dz, dy, dx

    def _around(self, centre: tuple[int, int, int], lesion: Lesion) -> Box:
        """The box that the lesion can reach, cut to the box of its lung and a voxel more."""
        lung = self._boxes[SIDES[lesion.side]]
        sides = []
        for axis, (index, step) in enumerate(zip(centre, self.spacing_mm, strict=True)):
            reach = int(np.ceil(_REACH * lesion.radii_mm[2 - axis] / step)) + 1
            low, high = max(lung[axis].start - 1, 0), min(lung[axis].stop + 1, self.lungs.shape[axis])
            sides.append(slice(max(index - reach, low), min(index + reach + 1, high)))
        return sides[0], sides[1], sides[2]

    def _axes(self, box: Box, centre: tuple[int, int, int]) -> Axes:
        z, y, x = (
            ((np.arange(part.start, part.stop) - index) * step).astype(np.float32)
            for part, index, step in zip(box, centre, self.spacing_mm, strict=True)
        )
        return z, y, x


def _depth(lesion: Lesion, axes: Axes) -> Array:
    """How deep a voxel lies inside the ragged border, in mean radii: 1 at the centre, 0 on the border."""
    z, y, x = (axis / np.float32(radius) for axis, radius in zip(axes, lesion.radii_mm[::-1], strict=True))
    depth = 1.0 - np.sqrt((z**2)[:, None, None] + (y**2)[:, None] + x**2)
    table = kind_table()[lesion.kind]
    radius_mm = float(np.cbrt(np.prod(lesion.radii_mm)))
    ragged = np.zeros_like(depth)
    for number, (scale, size) in enumerate(zip(_RAGGED_SCALES, table["ragged"], strict=True)):
        ragged += np.float32(size) * smooth_noise((z, y, x), scale, (lesion.seed, number))
    for number, (scale, size) in enumerate(zip(_RAGGED_SCALES_MM, table["ragged_mm"], strict=True), start=2):
        ragged += np.float32(size / max(radius_mm, 2.0 * scale)) * smooth_noise(axes, scale, (lesion.seed, number))
    return np.asarray(depth + np.clip(ragged, -0.6, 0.6), dtype=np.float32)


def _between(indices: npt.NDArray[np.int64], fraction: float) -> int:
    return int(indices[round(fraction * (len(indices) - 1))])


def _bounds(mask: Mask) -> Box | None:
    sides = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not sides[0].size:
        return None
    z, y, x = (slice(int(side[0]), int(side[-1]) + 1) for side in sides)
    return z, y, x


def _check_map(name: str, labels: Labels, grid: Grid, highest: int) -> None:
    if labels.shape != grid.shape:
        raise StudyError(f"{name}: shape {labels.shape} differs from the CT's {grid.shape}. Give a map on its grid.")
    if labels.dtype != np.uint8 or labels.max() > highest:
        raise StudyError(
            f"{name}: {labels.dtype} with values up to {labels.max()}. Give uint8 labels from 0 to {highest}."
        )
