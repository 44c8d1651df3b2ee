"""How the lung fields found in an image compare with those of real frontal radiographs.

Noise, CT slices, lateral views, turned and inverted radiographs get lung fields from the network too, but with less
certainty, other sizes, and another contrast to what surrounds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy import ndimage

from cxr_models.postprocessing import Array, LungMasks, Mask, lung_masks

FEATURES = ("mediastinum", "rim", "area_right", "area_left", "certainty_right", "certainty_left")
"""What is measured, in this order; see :func:`lung_features`."""

FILE = Path(__file__).with_name("typical_lungs.yaml")

#: Probability from which the network is sure.
_SURE = 0.9
#: The rim lies between these distances from the lung fields, as shares of the image's side: beyond their blurred
#: border, and not yet beyond the chest wall.
_RIM = (0.01, 0.055)
#: Fewer pixels than this share of the image are no mediastinum.
_LEAST_PIXELS = 0.0005

Floats = npt.NDArray[np.float64]


def lung_features(image: Array, probability: Array) -> Floats:
    """Measure the lung fields of one image.

    Args:
        image: float32 ``[row, col]``, grey values in any unit, bone bright.
        probability: ``[2, row, col]`` (right, left), 0-1, on the same pixels.

    Returns:
        By :data:`FEATURES`, NaN where a lung that it needs was not found: mean grey value of the lung fields minus that
        of what lies between them, and minus that of a rim around them, both in standard deviations of the image (below
        0 where lungs are darker); logarithm of each lung's share of the image; logit of the share of its pixels that
        the network is sure of (90 %).
    """
    masks = lung_masks(probability)
    grey = (image - image.mean()) / max(float(image.std()), 1e-6)
    lungs = float(_mean(grey, masks.both))
    contrasts = [lungs - _mean(grey, mediastinum(masks)), lungs - _mean(grey, _rim(masks.both))]
    sides = (masks.right, masks.left)
    areas = [float(np.log(side.mean())) if side.any() else np.nan for side in sides]
    certainties = [_logit(_mean(part >= _SURE, side)) for part, side in zip(probability, sides, strict=True)]
    return np.array([*contrasts, *areas, *certainties])


def certainty(probability: Array) -> float:
    """Share of all that may be lung (10 % or more) of which the network is sure (90 %), 0-1; 0 where nothing may be."""
    best = probability.max(axis=0)
    possible = int((best >= 1.0 - _SURE).sum())
    return int((best >= _SURE).sum()) / possible if possible else 0.0


def mediastinum(masks: LungMasks) -> Mask:
    """Between the lungs: in each row that crosses both, from the right lung's last column to the left's first."""
    cols = np.arange(masks.right.shape[1])
    crossed = np.asarray(masks.right.any(axis=1) & masks.left.any(axis=1))
    last = np.where(masks.right, cols, -1).max(axis=1)
    first = np.where(masks.left, cols, cols.size).min(axis=1)
    return crossed[:, None] & (cols > last[:, None] + 1) & (cols < first[:, None] - 1)


@dataclass(frozen=True)
class TypicalLungs:
    """Mean and covariance of the features of real frontal radiographs, found with one lung network.

    Attributes:
        weights_sha256: of that network; others are sure of other things.
        mean: ``[feature]``, see :data:`FEATURES`.
        covariance: ``[feature, feature]``.
    """

    weights_sha256: str
    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, features: Floats, weights_sha256: str) -> TypicalLungs:
        """Median and covariance about it of complete rows ``[image, feature]``."""
        known = features[np.isfinite(features).all(axis=1)]
        median = np.median(known, axis=0)
        return cls(weights_sha256, median, np.asarray((known - median).T @ (known - median) / (len(known) - 1)))

    def distance(self, features: Floats) -> float:
        """Squared Mahalanobis distance (Mahalanobis 1936) by the number of features that are known.

        About 1 for an ordinary radiograph; infinite where no feature is known.
        """
        known = np.isfinite(features)
        if not known.any():
            return float("inf")
        off = (features - self.mean)[known]
        return float(off @ np.linalg.solve(self.covariance[np.ix_(known, known)], off) / known.sum())

    def to_dict(self) -> dict[str, Any]:
        """As the YAML file holds it, 6 significant digits."""
        rounded = [[float(f"{v:.6g}") for v in row] for row in (self.mean, *self.covariance)]
        return {
            "weights_sha256": self.weights_sha256,
            "features": list(FEATURES),
            "mean": rounded[0],
            "covariance": rounded[1:],
        }


def load_typical_lungs(weights_sha256: str, file: Path = FILE) -> TypicalLungs | None:
    """What is typical for the lung network with these weights; None for a network that it was not measured with."""
    held = yaml.safe_load(file.read_text(encoding="utf-8"))
    if held["weights_sha256"] != weights_sha256:
        return None
    return TypicalLungs(held["weights_sha256"], np.array(held["mean"]), np.array(held["covariance"]))


def _rim(lungs: Mask) -> Mask:
    distance = ndimage.distance_transform_edt(~lungs)
    near, far = (share * min(lungs.shape) for share in _RIM)
    return np.asarray((distance > near) & (distance <= far))


def _mean(values: npt.NDArray[Any], where: Mask) -> float:
    return float(values[where].mean()) if where.mean() >= _LEAST_PIXELS else float("nan")


def _logit(share: float) -> float:
    held = min(max(share, 0.01), 0.99)
    return float(np.log(held / (1.0 - held)))
