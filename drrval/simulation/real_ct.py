"""Real chest CTs as the chests of virtual patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from drrval.disease.masks import read_lungs
from drrval.volume import CTVolume, Grid


@dataclass(frozen=True)
class RealScan:
    """A CT to put disease into.

    Attributes:
        subject: label of the virtual patient.
        path: file or folder of the CT.
        series_uid: DICOM series to take, or empty.
        lungs: file of its lung mask (1 right, 2 left lung, or one label for both), or None: the lungs are then found
            in the CT.
    """

    subject: str
    path: Path
    series_uid: str = ""
    lungs: Path | None = None


def moved(grid: Grid, rotation_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Grid:
    """The grid of a patient who lies otherwise on the table: no voxel is resampled, so noise and detail stay.

    Args:
        grid: where the voxels lie.
        rotation_deg: about x, then y, then z through the middle of the volume, degrees.
        shift_mm: along x, y, z, mm.
    """
    turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    centre = grid.centre_mm
    x, y, z = (float(v) for v in turn @ (np.asarray(grid.origin_mm) - centre) + centre + np.asarray(shift_mm))
    return replace(grid, direction=turn @ grid.direction, origin_mm=(x, y, z))


def find_lungs(ct: CTVolume, scan: RealScan) -> npt.NDArray[np.uint8]:
    """Lungs of a real scan, uint8 ``[z, y, x]``: 1 right, 2 left, on the grid of ``ct``.

    They come from the mask file where there is one, else from the classical segmentation of the CT scorers.

    Raises:
        StudyError: the mask cannot be read, or is no lung mask of this CT.
        ScorerError: the segmentation failed.
    """
    if scan.lungs is not None:
        return read_lungs(scan.lungs, ct)
    # The bridge to the scorers belongs to the studies, which import this module.
    from drrval.study.config import ScorerSpec
    from drrval.study.scorers import load_ct_scorer, score_ct

    return score_ct(load_ct_scorer(ScorerSpec(use="opacity")), ct).lungs
