"""What a user states about a model of his own: the image it wants, and what its outputs mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Outputs that are one number, and outputs that are a map.
NUMBERS = ("probability", "logit", "softmax")
MAPS = ("map", "map-logit")

_CHOICES = {
    "polarity": ("bone-bright", "bone-dark"),
    "channels": (1, 3),
    "normalise": ("none", "imagenet", "image"),
    "map_polarity": ("disease-bright", "disease-dark"),
}


@dataclass(frozen=True)
class ModelOptions:
    """The description of a model. Nothing is guessed; what does not fit is refused.

    Attributes:
        value_range: values of the darkest and the brightest pixel in the image that the model was trained on, such as
            ``[0, 1]``, ``[0, 255]`` or ``[-1024, 1024]``.
        size: side of the square that the image is stretched to, pixels; None gives it as it is.
        polarity: ``bone-bright`` (the usual) or ``bone-dark``.
        channels: 1, or 3 equal ones.
        normalise: after scaling to the value range: ``none``; ``imagenet`` (less ImageNet's mean, by its standard
            deviation; the value range must be ``[0, 1]``); or ``image`` (to mean 0 and standard deviation 1).
        output: what each output is, in order: ``probability``; ``logit`` (its sigmoid is the probability); ``softmax``
            (logits of classes that exclude each other); ``map`` (localisation map); ``map-logit`` (its sigmoid is the
            map); ``ignore``. One word for a model with one output. At most one number and one map.
        index: which class of an output that holds several, from 0.
        map_range: lowest and highest value that a ``map`` can have; a value outside is refused.
        map_polarity: ``disease-bright``, or ``disease-dark`` where low values mean disease.
        detection_threshold: probability below which the ratio is 0.
        localisation_threshold: share of the map's range (0-1) from which a pixel counts as diseased.
        views: view positions that the model reads.
        lungs: store of the ``lsnet-light`` weights (:mod:`neural.store`); None takes the bundled one.

    Raises:
        ValueError: an option outside what is listed here.
    """

    value_range: tuple[float, float]
    size: int | None = None
    polarity: str = "bone-bright"
    channels: int = 1
    normalise: str = "none"
    output: str | tuple[str, ...] = "probability"
    index: int | None = None
    map_range: tuple[float, float] = (0.0, 1.0)
    map_polarity: str = "disease-bright"
    detection_threshold: float = 0.5
    localisation_threshold: float = 0.5
    views: tuple[str, ...] = ("PA", "AP")
    lungs: str | Path | None = None

    def __post_init__(self) -> None:
        for name in ("value_range", "map_range"):
            object.__setattr__(self, name, _range(name, getattr(self, name)))
        object.__setattr__(self, "output", (self.output,) if isinstance(self.output, str) else tuple(self.output))
        object.__setattr__(self, "views", tuple(self.views))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(map(str, allowed))}.")
        if self.normalise == "imagenet" and (self.value_range != (0.0, 1.0) or self.channels != 3):
            raise ValueError(
                f"normalise=imagenet with value_range={list(self.value_range)} and channels={self.channels}: "
                "ImageNet's mean is that of 3 channels in 0-1. Give value_range: [0, 1] and channels: 3."
            )
        self._check_output()
        for name in ("detection_threshold", "localisation_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}={getattr(self, name)!r} is outside 0-1.")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size={self.size!r}: give the side of the model's input in pixels.")

    def _check_output(self) -> None:
        known = (*NUMBERS, *MAPS, "ignore")
        if unknown := [kind for kind in self.output if kind not in known]:
            raise ValueError(f"output={unknown}: expected one or several of {', '.join(known)}.")
        numbers, maps = (sum(kind in group for kind in self.output) for group in (NUMBERS, MAPS))
        if numbers > 1 or maps > 1 or numbers + maps == 0:
            raise ValueError(
                f"output={list(self.output)} names {numbers} numbers and {maps} maps. Name at most one of each and at "
                "least one of them; call the others ignore."
            )

    @property
    def has_map(self) -> bool:
        """Whether the model localises."""
        return any(kind in MAPS for kind in self.output)


def _range(name: str, value: Any) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r}: give two numbers, such as [0, 255].") from None
    if not low < high:
        raise ValueError(f"{name}={value!r}: give [low, high] with low < high.")
    return low, high
