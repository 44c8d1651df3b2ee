"""What every confounder takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import yaml

from drrval.errors import StudyError
from drrval.volume import Grid

Finding = Literal["effusion", "atelectasis", "nodules", "emphysema", "tubes", "leads"]
FINDINGS: tuple[Finding, ...] = get_args(Finding)  # a findings map holds 1 + the index; 0 is none

HU = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]
SIDES: dict[str, int] = {"right": 1, "left": 2}  # labels of a lung map

LOWEST_HU, HIGHEST_HU = -1024.0, 16000.0  # metal beyond the 3071 HU of 12 bits: else it would project like bone


@dataclass(frozen=True)
class Confounded:
    """A CT with findings that are not pneumonia.

    Attributes:
        hu: float32 ``[z, y, x]``, Hounsfield units.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung, without what took the lung's place (pleural
            fluid, tubes). Collapsed and destroyed lung (atelectasis, emphysema, nodules) is still lung.
        findings: uint8 ``[z, y, x]``: 0, else 1 + index in ``FINDINGS`` of the finding that shows in the voxel.
    """

    hu: HU
    lungs: Labels
    findings: Labels

    def mask(self, finding: Finding) -> Mask:
        """Voxels of one finding, bool ``[z, y, x]``."""
        return self.findings == code(finding)

    def kept(self, lesions: Labels) -> Labels:
        """A lesion map without the lesions that fluid or a tube has taken the place of.

        Truth is what :func:`drrval.disease.disease_truth` says of ``lungs`` and this map.
        """
        return np.where(self.lungs > 0, lesions, np.uint8(0))


def code(finding: Finding) -> int:
    """Label of a finding in a findings map."""
    return FINDINGS.index(finding) + 1


def start(hu: HU, lungs: Labels) -> Confounded:
    """Copies to work on, with no finding yet.

    Raises:
        StudyError: the arrays differ in shape, or a lung is missing.
    """
    if hu.shape != lungs.shape:
        raise StudyError(f"CT of shape {hu.shape} with lungs of shape {lungs.shape}. Give the lungs of this CT.")
    missing = [name for name, label in SIDES.items() if not (lungs == label).any()]
    if missing:
        raise StudyError(f"The lung map has no {' and no '.join(missing)} lung. Label the right lung 1 and the left 2.")
    return Confounded(hu.astype(np.float32), lungs.astype(np.uint8), np.zeros(hu.shape, dtype=np.uint8))


def box_of(mask: Mask, margin_mm: float, grid: Grid) -> Box:
    """Index slices ``[z, y, x]`` around the true voxels, with a margin."""
    box = []
    for axis, spacing in enumerate(reversed(grid.spacing_mm)):
        others = tuple(k for k in range(3) if k != axis)
        found = np.flatnonzero(mask.any(axis=others))
        margin = int(np.ceil(margin_mm / spacing))
        box.append(slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + margin + 1, mask.shape[axis])))
    return box[0], box[1], box[2]


def axes_mm(box: Box, grid: Grid) -> tuple[HU, HU, HU]:
    """Coordinates x ``[1, 1, nx]``, y ``[1, ny, 1]``, z ``[nz, 1, 1]`` of a box: array index times spacing, mm."""
    z, y, x = (
        (np.arange(s.start, s.stop) * step).astype(np.float32)
        for s, step in zip(box, reversed(grid.spacing_mm), strict=True)
    )
    return x[None, None, :], y[None, :, None], z[:, None, None]


def replace_by(hu: HU, cover: HU, value: float | HU) -> None:
    """Put a material into the covered share of each voxel, in place."""
    hu += cover * (np.clip(np.float32(value), LOWEST_HU, HIGHEST_HU) - hu)


@cache
def reference() -> dict[str, Any]:
    """The table of sizes and Hounsfield units, ``confounders.yaml``."""
    text = files("drrval.disease.confounders").joinpath("confounders.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
