"""Material decomposition: Hounsfield units to air, soft tissue or bone, and to mass density.

Thresholds and the density line are those of DeepDRR (Unberath et al., MICCAI 2018, doi:10.1007/978-3-030-00937-3_12):
air up to -800 HU, soft tissue up to 350 HU, bone above; density max(min(0.001029 HU + 1.03, 0.0005886 HU + 1.03), 0)
in g/cm3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.projection import DensityModel
from drrval.settings import MaterialSettings

MATERIALS = ("air", "soft_tissue", "bone")
AIR_HU = -1000.0  # what the outside of the body becomes; 0 HU would be water
_DENSITY_LINES = ((0.001029, 1.03), (0.0005886, 1.03))


def density_model(settings: MaterialSettings | None = None) -> DensityModel:
    """The map from Hounsfield units to one of :data:`MATERIALS` and its density in g/cm3."""
    chosen = settings or MaterialSettings()
    return DensityModel(thresholds=(chosen.air_max_hu, chosen.soft_tissue_max_hu), lines=_DENSITY_LINES)


def hu_to_density(hu: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mass density in g/cm3 of Hounsfield values of any shape."""
    values = np.asarray(hu, dtype=float)
    (a0, b0), (a1, b1) = _DENSITY_LINES
    return np.maximum(np.minimum(a0 * values + b0, a1 * values + b1), 0.0)


def decompose(hu: npt.ArrayLike, settings: MaterialSettings | None = None) -> npt.NDArray[np.uint8]:
    """Label of each voxel as an index into :data:`MATERIALS`, same shape as ``hu``."""
    thresholds = density_model(settings).thresholds
    return np.searchsorted(thresholds, np.asarray(hu, dtype=float), side="left").astype(np.uint8)
