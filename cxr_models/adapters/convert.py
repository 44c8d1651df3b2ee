"""From a radiograph to a model's input, and from a model's outputs to a probability and a localisation map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from cxr_models.adapters.options import MAPS, ModelOptions
from cxr_models.data.images import resize
from neural.constants import IMAGENET_MEAN, IMAGENET_STD

Array = npt.NDArray[np.float32]

#: How far a map may leave its declared range, as a share of it: rounding, not another range.
_SLACK = 1e-3
#: A map on a wide scale that peaks below this share of it where the model is sure of disease is on another scale.
_LEAST_PEAK = 0.01
_WIDE = 2.0


def to_input(image: Array, options: ModelOptions) -> Array:
    """A radiograph ``[row, col]``, 0-255 and bone bright, as the model wants it: float32 ``[channel, row, col]``."""
    unit = (image if options.size is None else resize(image, options.size)) / np.float32(255.0)
    unit = np.clip(unit, 0.0, 1.0)
    if options.polarity == "bone-dark":
        unit = 1.0 - unit
    low, high = options.value_range
    scaled = np.repeat((low + (high - low) * unit)[None], options.channels, axis=0)
    if options.normalise == "imagenet":
        scaled = (scaled - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
    elif options.normalise == "image":
        scaled = (scaled - scaled.mean()) / max(float(scaled.std()), 1e-6)
    return scaled.astype(np.float32)


def from_outputs(outputs: Sequence[Array], options: ModelOptions) -> tuple[float, Array | None]:
    """Probability (0-1, NaN where the model gives none) and localisation map (float32 ``[h, w]``, 0-1, or None).

    Args:
        outputs: of one image, batch axes and other axes of length 1 allowed.
        options: what they are.

    Raises:
        ValueError: another number or shape of outputs than stated, or values outside the stated range.
    """
    if len(outputs) != len(options.output):
        raise ValueError(
            f"The model gave {len(outputs)} outputs and output={list(options.output)} names {len(options.output)}. "
            "Name them all, in order; call those that do not matter ignore."
        )
    probability, localisation = float("nan"), None
    for values, kind in zip(outputs, options.output, strict=True):
        if kind in MAPS:
            localisation = _to_map(np.asarray(values, np.float32), kind, options)
        elif kind != "ignore":
            probability = _to_probability(np.asarray(values, np.float32), kind, options.index)
    if localisation is not None and probability >= options.detection_threshold:
        _check_peak(localisation, probability, options)
    return probability, localisation


def _to_probability(values: Array, kind: str, index: int | None) -> float:
    numbers = values.reshape(-1)
    if values.squeeze().ndim > 1:
        raise ValueError(f"The {kind} has shape {values.shape}: a number, or one number for each class, was expected.")
    if kind == "logit":
        numbers = expit(numbers)
    elif kind == "softmax":
        if len(numbers) < 2:
            raise ValueError("The softmax of one class is always 1. Say output: logit for a single logit.")
        numbers = softmax(numbers)
    value = float(_chosen(numbers, kind, index))
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"The probability is {value:g}, outside 0-1. If the model gives logits, say output: logit.")
    return value


def _to_map(values: Array, kind: str, options: ModelOptions) -> Array:
    maps = values.reshape(-1, *values.shape[-2:]) if values.ndim >= 2 else values
    if maps.ndim != 3 or min(maps.shape) < 1 or min(maps.shape[1:]) < 2:
        raise ValueError(f"The localisation map has shape {values.shape}: [row, col] of at least 2 x 2 was expected.")
    chosen: Array = _chosen(maps, kind, options.index)
    if not np.isfinite(chosen).all():
        raise ValueError("The localisation map holds NaN or infinity.")
    if kind == "map-logit":
        unit = expit(chosen)
    else:
        low, high = options.map_range
        slack = _SLACK * (high - low)
        if chosen.min() < low - slack or chosen.max() > high + slack:
            raise ValueError(
                f"The localisation map spans {chosen.min():g} to {chosen.max():g}, outside map_range="
                f"[{low:g}, {high:g}]. State its true range, or output: map-logit if it holds logits."
            )
        unit = np.clip((chosen - low) / (high - low), 0.0, 1.0)
    return (unit if options.map_polarity == "disease-bright" else 1.0 - unit).astype(np.float32)


def _chosen(values: Array, kind: str, index: int | None) -> Any:
    """The entry that ``index`` names along the first axis, or the only one."""
    if len(values) == 1:
        return values[0]
    if index is None or not 0 <= index < len(values):
        raise ValueError(
            f"The {kind} holds {len(values)} classes and index is {index}. Say with index, from 0, which is pneumonia."
        )
    return values[index]


def _check_peak(localisation: Array, probability: float, options: ModelOptions) -> None:
    low, high = options.map_range
    if high - low > _WIDE and localisation.max() < _LEAST_PEAK and "map" in options.output:
        raise ValueError(
            f"The model is sure of pneumonia (probability {probability:.2f}) but its map peaks at "
            f"{100.0 * float(localisation.max()):.2g} % of map_range=[{low:g}, {high:g}]. State the map's true range, "
            "such as [0, 1], and check map_polarity."
        )
