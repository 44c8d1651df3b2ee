"""The projected-lesion reference: what a perfect reader of the image plane would score.

Both scorers look at the CT's lungs and lesions projected with the radiograph's own geometry, not at grey values. They
bound what a model that sees only the radiograph can reach.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxr_models.contract import CXRContract, CXRInput, CXRScore, ProjectedAnatomy
from cxr_models.severity import severity_score

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_CONTRACT = CXRContract(views=("PA", "AP", "LL"), needs_projection=True)


class _ProjectedScorer:
    """What both references share: their contract and their thresholds."""

    contract = _CONTRACT

    def __init__(self, min_lung_cm: float = 1.0, min_lesion_cm: float = 1.0) -> None:
        _check_positive(min_lung_cm=min_lung_cm, min_lesion_cm=min_lesion_cm)
        self.min_lung_cm = min_lung_cm
        self.min_lesion_cm = min_lesion_cm


class ProjectedAreaScorer(_ProjectedScorer):
    """Ratio of lesion shadow to lung shadow, the paper's pneumonia ratio (equation 2) on ideal masks.

    The lung shadow is every pixel whose ray crosses at least ``min_lung_cm`` of lung, the lesion shadow every pixel of
    it whose ray crosses at least ``min_lesion_cm`` of lesion in that lung. The total counts the union of both lungs'
    shadows, so that pixels where they overlap (lateral view) count once.

    Args:
        min_lung_cm: least lung on a ray, cm; 1 cm leaves out the thin rim where the lung does not show.
        min_lesion_cm: least lesion on a ray, cm. The default of 1 cm makes a perfect but not superhuman reader: the
            cancers that radiologists missed measured 1.6 cm on average, 0.6 to 3.4 cm (Austin, Romney and Goldsmith
            1992, 10.1148/radiology.182.1.1727272).

    Raises:
        ValueError: a threshold that is not positive.
    """

    name = "projected-area"

    def score(self, radiograph: CXRInput) -> CXRScore:
        """Score one radiograph by shadow areas.

        Raises:
            ValueError: no projected masks were given, or no lung is in the field.
        """
        projected = _projected(radiograph)
        lung_right, lung_left = (path >= self.min_lung_cm for path in (projected.lung_right_cm, projected.lung_left_cm))
        lesion_right = lung_right & (projected.lesion_right_cm >= self.min_lesion_cm)
        lesion_left = lung_left & (projected.lesion_left_cm >= self.min_lesion_cm)
        return _score(
            (lung_right, lung_left, lung_right | lung_left),
            (lesion_right, lesion_left, lesion_right | lesion_left),
            lung_mask=lung_right | lung_left,
            lesion_mask=lesion_right | lesion_left,
        )


class ProjectedThicknessScorer(_ProjectedScorer):
    """Ratio of summed lesion path length to summed lung path length.

    Weighting by thickness makes the ratio follow the CT's volume ratio up to cone-beam magnification; what is left
    between the two is geometry and cropping.

    Args:
        min_lung_cm, min_lesion_cm: least lung and lesion on a ray for the overlay masks, cm; the ratio does not use
            them.

    Raises:
        ValueError: a threshold that is not positive.
    """

    name = "projected-thickness"

    def score(self, radiograph: CXRInput) -> CXRScore:
        """Score one radiograph by path lengths.

        Raises:
            ValueError: no projected masks were given, or no lung is in the field.
        """
        projected = _projected(radiograph)
        lung = projected.lung_right_cm + projected.lung_left_cm
        lesion = projected.lesion_right_cm + projected.lesion_left_cm
        return _score(
            (projected.lung_right_cm, projected.lung_left_cm, lung),
            (projected.lesion_right_cm, projected.lesion_left_cm, lesion),
            lung_mask=lung >= self.min_lung_cm,
            lesion_mask=lesion >= self.min_lesion_cm,
        )


def _score(
    lungs: tuple[Image | Mask, Image | Mask, Image | Mask],
    lesions: tuple[Image | Mask, Image | Mask, Image | Mask],
    *,
    lung_mask: Mask,
    lesion_mask: Mask,
) -> CXRScore:
    """Ratios of the sums over (right, left, both); a lung outside the field has ratio and hence score NaN."""
    right, left, both = (_percent(lesion, lung) for lesion, lung in zip(lesions, lungs, strict=True))
    if np.isnan(both):
        raise ValueError(
            "no lung in the field: no ray of this view crosses lung, so there is no pneumonia ratio. Check the "
            "isocentre and the field size of the geometry, and the CT's lung mask."
        )
    return CXRScore(
        ratio_percent=both,
        ratio_right_percent=right,
        ratio_left_percent=left,
        score=severity_score(right, left),
        lung_mask=lung_mask,
        lesion_mask=lesion_mask,
    )


def _percent(lesion: Image | Mask, lung: Image | Mask) -> float:
    """100 x summed lesion / summed lung, within 0-100 (rounding of the sums must not leave it); NaN without lung."""
    total = float(lung.sum(dtype=np.float64))
    return min(100.0, 100.0 * float(lesion.sum(dtype=np.float64)) / total) if total > 0 else float("nan")


def _projected(radiograph: CXRInput) -> ProjectedAnatomy:
    if radiograph.projected is None:
        raise ValueError(
            "CXRInput.projected is missing. The projected-lesion reference scores projected CT masks: render the "
            "radiograph from a CT with lung and lesion masks, or use a scorer that reads images."
        )
    return radiograph.projected


def _check_positive(**thresholds_cm: float) -> None:
    for name, value in thresholds_cm.items():
        if not value > 0:
            raise ValueError(
                f"{name}={value:g} must be positive: a ray needs some path length to cast a shadow. Give cm."
            )
