"""Is an image a readable frontal chest radiograph, bone bright and head up? What is said of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cxr_models.contract import UnsuitableImageError
from cxr_models.postprocessing import Array, lung_masks
from cxr_models.typical_lungs import FEATURES, TypicalLungs, certainty, lung_features

#: An image with fewer grey levels, counted as the exponential of their entropy, is a drawing, a mask or a 1-bit copy.
LEAST_GREY_LEVELS = 4.0
#: Width by height of a radiograph of both lungs.
ASPECT_RATIOS = (0.5, 2.2)

#: Lungs darker than the mediastinum have a contrast below 0; above, the image is taken to be inverted.
HIGHEST_CONTRAST = 0.0
#: Distance (:meth:`cxr_models.typical_lungs.TypicalLungs.distance`) from which the image is looked at turned as well.
SECOND_LOOK = 1.3
#: From which it is flagged, and from which it is refused.
UNUSUAL, IMPOSSIBLE = 5.0, 12.0

RIGHT_MISSING, LEFT_MISSING = "right_lung_not_found", "left_lung_not_found"
UNUSUAL_LUNGS = "unusual_lung_fields"

#: How an image may lie, and what mends it but for a mirroring, which the network cannot tell.
_TURNS: dict[str, Callable[[Array], Array]] = {
    "upside down": lambda image: image[::-1],
    "turned by 90 degrees to the left": lambda image: np.rot90(image, -1),
    "turned by 90 degrees to the right": lambda image: np.rot90(image),
}


@dataclass(frozen=True)
class Examination:
    """What was seen.

    Attributes:
        problem: why the image cannot be scored and what to do; empty where it can.
        flags: doubts about an image that can: :data:`RIGHT_MISSING`, :data:`LEFT_MISSING`, :data:`UNUSUAL_LUNGS`.
    """

    problem: str = ""
    flags: tuple[str, ...] = ()


def check_grey_levels(image: Array) -> None:
    """Refuse drawings, masks and stretched images by their grey values and shape alone.

    Args:
        image: ``[row, col]``, 0-255.

    Raises:
        UnsuitableImageError: too few grey levels, or far from the shape of a chest radiograph.
    """
    counts = np.bincount(np.rint(image).astype(np.intp).ravel(), minlength=256)
    shares = counts[counts > 0] / image.size
    levels = float(np.exp(-(shares * np.log(shares)).sum()))
    if levels < LEAST_GREY_LEVELS:
        raise UnsuitableImageError(
            f"The image has about {levels:.1f} grey levels (real radiographs: more than 20): it is a mask, a drawing "
            "or a 1-bit copy. Give the radiograph with all its grey values."
        )
    aspect, (low, high) = image.shape[1] / image.shape[0], ASPECT_RATIOS
    if not low <= aspect <= high:
        raise UnsuitableImageError(
            f"The image is {image.shape[1]} pixels wide and {image.shape[0]} high; a frontal chest radiograph is "
            f"{low:g} to {high:g} times as wide as high. Give it unstretched, and one view in one image."
        )


def examine(
    image: Array, probability: Array, segment: Callable[[Array], Array], typical: TypicalLungs | None
) -> Examination:
    """Judge an image by the lung fields that were found in it.

    Args:
        image: float32 square ``[row, col]`` as the lung network takes it, meant to be bone bright, head up.
        probability: ``[2, row, col]`` (right, left), 0-1: what the network says of it.
        segment: the network; it runs on the turned image where the lung fields are not quite ordinary.
        typical: of that network; None leaves out what depends on it.
    """
    masks = lung_masks(probability)
    if not masks.both.any():
        return Examination(
            "No lung field was found in the image. Check that it is a frontal chest radiograph, bone bright, head up."
        )
    features = lung_features(image, probability)
    contrast = features[FEATURES.index("mediastinum")]
    if contrast > HIGHEST_CONTRAST:
        return Examination(
            f"The lung fields are brighter than the mediastinum (by {contrast:.2f} standard deviations of the image): "
            "it looks inverted, bone dark. Save it with bone bright, or say so in its header (MONOCHROME1)."
        )
    distance, turn = float("nan"), ""
    if typical is not None:
        distance = typical.distance(features)
        turn = _better_turned(image, probability, segment, typical) if distance > SECOND_LOOK else ""
    if turn:
        return Examination(f"The image looks {turn}. Save it with the head up and the patient's right on the left.")
    if distance > IMPOSSIBLE:
        return Examination(
            f"What was found in the image is unlike the lung fields of radiographs (distance {distance:.0f}, of real "
            f"ones mostly below {UNUSUAL:g}). Check that it is one frontal chest radiograph with both lungs."
        )
    doubts = {
        RIGHT_MISSING: not masks.right.any(),
        LEFT_MISSING: not masks.left.any(),
        UNUSUAL_LUNGS: distance > UNUSUAL,
    }
    return Examination(flags=tuple(flag for flag, holds in doubts.items() if holds))


def _better_turned(image: Array, probability: Array, segment: Callable[[Array], Array], typical: TypicalLungs) -> str:
    """How the image seems to lie; empty where it lies best as it is.

    It lies better turned if the network is surer then, and the lungs more usual and those of a radiograph; of several
    turns, where it is surest.
    """
    given = certainty(probability)
    most = min(UNUSUAL, typical.distance(lung_features(image, probability)))
    found = {}
    for name, turn in _TURNS.items():
        turned = np.ascontiguousarray(turn(image))
        maps = segment(turned)
        if certainty(maps) > given and typical.distance(lung_features(turned, maps)) < most:
            found[name] = certainty(maps)
    return max(found, key=lambda name: found[name], default="")
