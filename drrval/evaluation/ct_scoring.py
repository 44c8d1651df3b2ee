"""Reading a CT of a table with its label maps, and the cells of its row that every CT task has in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ct_models.contract import CTScore
from drrval.disease import disease_truth
from drrval.disease.masks import LEFT, RIGHT, read_labels, read_lungs
from drrval.evaluation.cases import RATIOS
from drrval.evaluation.ct_table import CTCase
from drrval.evaluation.task import PredictionRow
from drrval.intake import read_ct
from drrval.volume import CTVolume

_HIGHEST_LESION = 255


@dataclass(frozen=True)
class OpenedCT:
    """A CT with its case and what its label maps say.

    Attributes:
        case, ct: which scan.
        lungs: uint8 ``[z, y, x]``: 1 right, 2 left lung, or 1 alone for a mask without sides; None without a mask.
        ratios: true ratio of both lungs, the right and the left, 0-100 % or NaN.
    """

    case: CTCase
    ct: CTVolume
    lungs: npt.NDArray[np.uint8] | None
    ratios: tuple[float, ...]


def open_ct(case: CTCase) -> OpenedCT:
    """Read the CT of a case and its label maps.

    Raises:
        IntakeError, StudyError: the CT or a map cannot be used.
    """
    ct = read_ct(case.path, series_uid=case.series_uid)
    lungs = None
    if case.lungs is not None:
        lungs = read_labels(case.lungs, ct.grid, "lung mask", LEFT)
        if not set(np.unique(lungs)) <= {0, RIGHT}:
            lungs = read_lungs(case.lungs, ct)  # a mask with sides must have them right
    return OpenedCT(case, ct, lungs, _ratios(case, ct, lungs))


def _ratios(case: CTCase, ct: CTVolume, lungs: npt.NDArray[np.uint8] | None) -> tuple[float, ...]:
    """What the table says, or else what the label maps say."""
    if lungs is None or case.lesions is None or not math.isnan(case.ratios[0]):
        return case.ratios
    lesions = read_labels(case.lesions, ct.grid, "lesion mask", _HIGHEST_LESION)
    truth = disease_truth(lungs, (lesions > 0).astype(np.uint8), ct.grid.voxel_volume_cm3)
    one_label = not (lungs == LEFT).any()
    return tuple(math.nan if one_label and name != RATIOS[0] else truth[name] for name in RATIOS)


def base_row(opened: OpenedCT, score: CTScore) -> PredictionRow:
    """Scan, patient and the numbers of a score."""
    return {
        "path": opened.case.name,
        "patient": opened.case.patient,
        "p_pneumonia": score.p_pneumonia,
        **{name: float(getattr(score, name)) for name in RATIOS},
        "lung_cm3": score.lung_cm3,
        "lesion_cm3": score.lesion_cm3,
        "flags": ";".join(score.flags),
    }
