"""Lung segmentation of chest CT by a trained network: dense disease counts as lung wherever it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ct_models.contract import LEFT, RIGHT
from ct_models.data.slices import slice_stack
from ct_models.grid import resample, resampled_shape
from ct_models.lung_split import Labels
from ct_models.lungs import (
    AIR_HU,
    SMALLEST_LUNG_CM3,
    SMALLEST_PART_CM3,
    LungSegmentation,
    block_means,
    find_body,
    lung_flags,
    refine_border,
)
from ct_models.morphology import (
    Mask,
    Spacing,
    Volume,
    bounding_box,
    dilate_mm,
    fill_axial_holes,
)
from ct_models.networks.lung_net import MULTIPLE, PIXEL_MM, STEP_MM, LungNet
from neural.store import load_weights
from neural.training import pick_device, place

#: Where the bundled weights are.
WEIGHTS = Path(__file__).parent / "weights"

_GRID_MM: Spacing = (STEP_MM, PIXEL_MM, PIXEL_MM)
_OUTSIDE_HU = -1024.0
_BATCH = 4
_ALONG_Z = (0.25, 0.5, 0.25)
_SCOUT_STEP = 4  # slices between those that are read first, to see where the lungs are
_SCOUT_CM2 = 1.0  # of lung that a slice shows if it is to count
_LUNG_IN_AIR, _AIR_REACH_MM = 0.2, 6.0  # probability from which air next to lung is lung, and how far from it
_AROUND_MM = 40.0  # of surroundings that the network gets to see beside the lungs


class NeuralLungSegmenter:
    """A lung segmenter, ``(hu, spacing_mm) -> LungSegmentation``, that runs a U-Net on axial slices.

    The slices are 4 mm apart and have pixels of 2 mm; between them the probabilities are interpolated. On the full grid
    the border to aerated lung follows the -400 HU surface; vessels and dense disease inside the lungs belong to them,
    trachea, main bronchi and pleural fluid do not. Right is the side of the image that the patient's right hand is on:
    a mirrored chest (situs inversus) has its right lung there too.

    Args:
        folder: store of the weights (:mod:`neural.store`).
        variant: ``ct-lungs-light``, or ``ct-lungs`` if the store has it.
        device: ``auto`` takes a GPU if there is one.

    Raises:
        KeyError: the store lacks the weights.
        ValueError: no such variant, or damaged weights.
    """

    def __init__(self, folder: Path | str = WEIGHTS, variant: str = "ct-lungs-light", device: str = "auto") -> None:
        self.network = LungNet(variant)
        self.sha256 = load_weights(self.network, Path(folder), variant)
        place(self.network, pick_device(device)).eval()

    def __call__(self, hu: Volume, spacing_mm: Spacing) -> LungSegmentation:
        """Segment the right and the left lung.

        Args:
            hu: float32 ``[z, y, x]``, Hounsfield units; z grows to the head, y to the back, x to the patient's left.
            spacing_mm: voxel spacing along z, y, x, mm.

        Raises:
            ValueError: the array is not a volume, the spacing is not positive, or no lungs are in it.
        """
        work, spacing, factors = block_means(hu, spacing_mm)
        right, left = lung_probability(self.network, hu, spacing_mm)
        # Blocks that the volume does not fill stick out at its end only.
        middle = [(w * s - n * f) / 2 for w, s, n, f in zip(work.shape, spacing, hu.shape, spacing_mm, strict=True)]
        shift_mm = (middle[0], middle[1], middle[2])
        right, left = (resample(p, _GRID_MM, work.shape, spacing, shift_mm) for p in (right, left))
        body = find_body(work, spacing)
        air = work < AIR_HU
        filled = lung_labels(right * body, left * body, air, spacing)
        aerated = np.where(air, filled, np.uint8(0))
        full = refine_border(hu, aerated, filled, factors, spacing)
        return LungSegmentation(full, lung_flags(full, spacing_mm, separated=True))


def lung_probability(network: LungNet, hu: Volume, spacing_mm: Spacing) -> npt.NDArray[np.float32]:
    """Probability of right and left lung, float32 ``[2, z, y, x]`` on the network's grid of 4 x 2 x 2 mm.

    Every fourth slice is read first; the others are read only where those show lung nearby, and cut to the lungs, once
    as they are and once mirrored. Each then takes a quarter of its probability from either neighbour.

    Args:
        network: in evaluation mode.
        hu: float32 ``[z, y, x]``, Hounsfield units.
        spacing_mm: voxel spacing along z, y, x, mm.

    Raises:
        ValueError: the slices that are read first show no lung.
    """
    grid = resample(hu, spacing_mm, resampled_shape(_shape(hu), spacing_mm, _GRID_MM), _GRID_MM)
    depth, rows, cols = grid.shape
    scouts = np.unique(np.append(np.arange(0, depth, _SCOUT_STEP), depth - 1))
    seen = _read(network, grid, scouts, (slice(0, rows), slice(0, cols))).sum(axis=1) > 0.5
    with_lung = np.count_nonzero(seen, axis=(1, 2)) * PIXEL_MM**2 / 100.0 > _SCOUT_CM2
    if not with_lung.any():
        raise ValueError(
            f"no lungs found in a volume of {hu.shape} voxels of {spacing_mm} mm (z, y, x). Check that it is a chest "
            "CT in Hounsfield units (air -1000, water 0) with axes [z, y, x], or pass another lung segmenter."
        )
    around = round(_AROUND_MM / PIXEL_MM)
    box = bounding_box(seen[with_lung].any(axis=0), margin=around)
    first, last = scouts[with_lung][[0, -1]]
    wanted = np.arange(max(first - _SCOUT_STEP + 1, 0), min(last + _SCOUT_STEP, depth))
    probability = np.zeros((2, *grid.shape), dtype=np.float32)
    read = (_read(network, grid, wanted, box) + _read_mirrored(network, grid, wanted, box)) / 2
    probability[:, wanted[0] : wanted[-1] + 1, box[0], box[1]] = np.swapaxes(read, 0, 1)
    return ndimage.convolve1d(probability, _ALONG_Z, axis=1, mode="nearest")


def lung_labels(right: Volume, left: Volume, air: Mask, spacing_mm: Spacing) -> Labels:
    """Lung labels from probabilities: each lung in one piece, with large parts that disease cuts off.

    Dense tissue is lung where the network finds that more probable than not. Air next to it is lung at a lower
    probability, so that the border of aerated lung is that of the air, and the network only tells which air it is.

    Args:
        right, left: ``[z, y, x]``, 0-1.
        air: bool, same shape: less dense than half-way between lung and soft tissue.
        spacing_mm: voxel spacing z, y, x, mm.

    Raises:
        ValueError: nothing as large as a lung.
    """
    both = right + left
    lung = both > 0.5
    lung |= air & (both > _LUNG_IN_AIR) & dilate_mm(lung, _AIR_REACH_MM, spacing_mm)
    voxel_cm3 = float(np.prod(spacing_mm)) / 1000.0
    lung_cm3 = np.count_nonzero(lung) * voxel_cm3
    if lung_cm3 < SMALLEST_LUNG_CM3:
        raise ValueError(
            f"no lungs found: the network calls {lung_cm3:.0f} cm3 lung, and a lung needs more than "
            f"{SMALLEST_LUNG_CM3:.0f} cm3. Check that the volume is a chest CT in Hounsfield units (air -1000, "
            "water 0) with axes [z, y, x], or pass another lung segmenter."
        )
    sides = {RIGHT: lung & (right >= left), LEFT: lung & (right < left)}
    labels = np.zeros(lung.shape, dtype=np.uint8)
    parts = {side: _main_part(mask) for side, mask in sides.items()}
    for side, mask in sides.items():
        labels[parts[side]] = side
        other = LEFT if side == RIGHT else RIGHT
        rest, _ = ndimage.label(mask & ~parts[side])
        beside = ndimage.binary_dilation(parts[other])
        for index, box in enumerate(ndimage.find_objects(rest), start=1):
            island = rest[box] == index
            if (island & beside[box]).any():
                labels[box][island] = other
            elif np.count_nonzero(island) * voxel_cm3 >= SMALLEST_PART_CM3:
                labels[box][island] = side
    for side in (RIGHT, LEFT):
        labels[fill_axial_holes(labels == side) & (labels == 0)] = side
    return labels


def _main_part(mask: Mask) -> Mask:
    """The largest component of a mask."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return mask & (parts == sizes.argmax())


def _read(
    network: LungNet, grid: Volume, slices: npt.NDArray[np.int_], box: tuple[slice, ...]
) -> npt.NDArray[np.float32]:
    """Probabilities ``[slice, side, y, x]`` of some slices, cut to a box of rows and columns."""
    device = next(network.parameters()).device
    cut = grid[(slice(None), *box)]
    missing = [-n % MULTIPLE for n in cut.shape[1:]]
    padding = [(0, 0), *((n // 2, n - n // 2) for n in missing)]
    padded = np.pad(cut, padding, constant_values=_OUTSIDE_HU)
    inside = tuple(slice(before, before + n) for (before, _), n in zip(padding[1:], cut.shape[1:], strict=True))
    found = []
    with torch.inference_mode():
        for start in range(0, len(slices), _BATCH):
            stacks = np.stack([slice_stack(padded, z) for z in slices[start : start + _BATCH]])
            logits = network(torch.from_numpy(stacks).to(device).contiguous(memory_format=torch.channels_last))
            found.append(logits.softmax(dim=1)[:, 1:].cpu().numpy()[(..., *inside)])
    return np.concatenate(found)


def _read_mirrored(
    network: LungNet, grid: Volume, slices: npt.NDArray[np.int_], box: tuple[slice, ...]
) -> npt.NDArray[np.float32]:
    """As :func:`_read`, from the mirrored slices."""
    rows, cols = box
    start, stop, _ = cols.indices(grid.shape[2])
    mirrored = slice(grid.shape[2] - stop, grid.shape[2] - start)
    return _read(network, grid[:, :, ::-1], slices, (rows, mirrored))[:, ::-1, :, ::-1]


def _shape(volume: Volume) -> tuple[int, int, int]:
    nz, ny, nx = volume.shape
    return nz, ny, nx
