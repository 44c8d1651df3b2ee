"""Percent opacity of the lungs from Hounsfield values: a lesion measure that needs no training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ct_models.contract import CTInput, CTScore
from ct_models.lungs import LungSegmentation, segment_lungs
from ct_models.measures import measured
from ct_models.morphology import (
    Mask,
    Spacing,
    Volume,
    bounding_box,
    coarse_factors,
    coarse_spacing,
    coarsen,
    dilate_mm,
    open_mm,
    refine,
)

_WORK_MM = 1.25

Segmenter = Callable[[Volume, Spacing], LungSegmentation]


class OpacityScorer:
    """Ratio of high-opacity volume to lung volume.

    A lesion is lung denser than ``threshold_hu`` that holds a ball of ``vessel_radius_mm`` (vessels and airway walls
    are thinner), with the dense voxels within half that radius of it, and has at least ``smallest_cm3``. -700 HU is
    the upper end of well-aerated lung in Colombi et al. (2020, 10.1148/radiol.2020201433); ground glass and
    consolidation both lie above it. The values are means over about 1.25 mm, so noise and thin vessels count less.

    Known floor: hilar vessels wider than the ball count as lesion, about 1 % of the lung volume in a normal scan. The
    normal gradient towards the back stays under the threshold in inspiration; a scan in expiration reads too high.

    Args:
        threshold_hu: lower end of high opacity, HU.
        vessel_radius_mm: radius of the thickest structure that is taken for a vessel, mm; on voxels wider than this the
            in-plane voxel size is used.
        smallest_cm3: smallest lesion, cm3.
        segment: lung segmenter, ``(hu, spacing_mm) -> LungSegmentation``; ``hu`` is ``[z, y, x]`` in Hounsfield units,
            and diseased lung must count as lung.

    Raises:
        ValueError: a threshold outside -1000 to 0 HU, or a negative size.
    """

    name = "opacity"

    def __init__(
        self,
        threshold_hu: float = -700.0,
        vessel_radius_mm: float = 4.0,
        smallest_cm3: float = 0.5,
        segment: Segmenter = segment_lungs,
    ) -> None:
        if not -1000.0 < threshold_hu < 0.0:
            raise ValueError(
                f"threshold_hu={threshold_hu:g} does not divide aerated from dense lung. Expected a value between "
                "-1000 (air) and 0 HU (water); the default is -700."
            )
        if vessel_radius_mm < 0 or smallest_cm3 < 0:
            raise ValueError(
                f"vessel_radius_mm={vessel_radius_mm:g} and smallest_cm3={smallest_cm3:g}: sizes must not be negative. "
                "Use 0 to switch a rule off."
            )
        self.threshold_hu = threshold_hu
        self.vessel_radius_mm = vessel_radius_mm
        self.smallest_cm3 = smallest_cm3
        self.segment = segment

    def score(self, ct: CTInput) -> CTScore:
        """Score one CT; a lung that is missing or cut has ratio NaN (:func:`ct_models.measures.measured`).

        Raises:
            ValueError: no lungs were found.
        """
        lungs = self.segment(ct.hu, ct.spacing_mm)
        labels = lungs.labels
        if not labels.any():
            raise ValueError(
                "no lungs found: the lung segmenter returned an empty mask. Check the scan or the segmenter."
            )
        lesion = self._find_lesion(ct.hu, labels > 0, ct.spacing_mm)
        return measured(ct, lungs, lesion)

    def _find_lesion(self, hu: Volume, lungs: Mask, spacing_mm: Spacing) -> Mask:
        """High-opacity voxels without vessels and specks, bool ``[z, y, x]``."""
        box = bounding_box(lungs)
        inside = lungs[box]
        factors = coarse_factors(spacing_mm, _WORK_MM)
        spacing = coarse_spacing(spacing_mm, factors)
        dense = (coarsen(hu[box], factors) > self.threshold_hu) & (coarsen(inside.astype(np.float32), factors) > 0.5)
        if self.vessel_radius_mm:
            step_mm = 1.01 * max(spacing[1:])
            thick = open_mm(dense, max(self.vessel_radius_mm, step_mm), spacing)
            dense &= dilate_mm(thick, max(self.vessel_radius_mm / 2, step_mm), spacing)
        parts, _ = ndimage.label(dense)
        large = np.bincount(parts.ravel()) * np.prod(spacing) / 1000.0 >= self.smallest_cm3
        large[0] = False
        lesion = np.zeros_like(lungs)
        lesion[box] = refine(large[parts], factors, inside.shape) & inside
        return lesion
