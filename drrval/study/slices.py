"""What a CT scorer found slice by slice, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ct_models.contract import CTScore
from drrval.volume import Grid

SLICE_DICTIONARY: dict[str, dict[str, str]] = {
    "slice": {"Description": "Axial slice, counted from 0 at the feet, in patient axes."},
    "z_mm": {"Description": "Position of the slice's centre along the patient's axis, up to the head.", "Units": "mm"},
    "probability": {
        "Description": "Probability that the slice shows pneumonia; n/a where the scorer looks at no slices.",
        "Range": "0-1",
    },
    "lung_cm2": {"Description": "Area of both lungs, disease included.", "Units": "cm2"},
    "lesion_cm2": {"Description": "Area of the lesions.", "Units": "cm2"},
}


def slice_table(score: CTScore, grid: Grid) -> pd.DataFrame:
    """One row per axial slice, feet first, with the columns of :data:`SLICE_DICTIONARY`.

    Args:
        score: of the CT.
        grid: where the CT's voxels lie.
    """
    n, rows, columns = grid.shape
    number = np.arange(n)
    middle = np.stack([number, np.full(n, (rows - 1) / 2), np.full(n, (columns - 1) / 2)], axis=1)
    pixel_cm2 = grid.spacing_mm[0] * grid.spacing_mm[1] / 100.0
    return pd.DataFrame(
        {
            "slice": number,
            "z_mm": grid.index_to_world(middle)[:, 2],
            "probability": np.nan if score.slice_probability is None else score.slice_probability.astype(float),
            "lung_cm2": np.count_nonzero(score.lungs, axis=(1, 2)) * pixel_cm2,
            "lesion_cm2": np.count_nonzero(score.lesion, axis=(1, 2)) * pixel_cm2,
        }
    )
