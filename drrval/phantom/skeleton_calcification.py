"""Calcified spots of the costal cartilages, which grow with age and follow the sex."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.skeleton_ribs import Rib
from drrval.phantom.skeleton_shapes import Bar

_FIRST_YEARS, _FULL_YEARS = 30.0, 85.0


def calcified_fraction(age: float, number: int) -> float:
    """Part of the cartilage of a rib that is calcified on average; none before 30 years, the first rib leads.

    Ontell et al., Radiographics 1997;17:571.
    """
    part = float(np.clip((age - _FIRST_YEARS) / (_FULL_YEARS - _FIRST_YEARS), 0.0, 1.0))
    return min(0.75, part * (1.1 if number == 1 else 0.5))


def calcifications(anatomy: Anatomy, cartilages: Sequence[Rib]) -> list[Bar]:
    """Short rods inside the cartilages: along both edges in men, along the middle in women (Ontell et al. 1997)."""
    rng = np.random.default_rng([anatomy.seed, 0xCA1C])
    out: list[Bar] = []
    for rib in cartilages:
        fraction = calcified_fraction(anatomy.age, rib.number)
        lines = (0.0,) if anatomy.female else (-0.72, 0.72)
        for line in lines:
            out += _rods(rib.bone, line, fraction, rng)
    return out


def _rods(cartilage: Bar, line: float, fraction: float, rng: np.random.Generator) -> list[Bar]:
    """Rods that cover a random part of a line inside a cartilage, more at its rib end."""
    count = len(cartilage.points)
    along = np.linspace(0.0, 1.0, count)
    rough = np.convolve(rng.standard_normal(count + 4), np.ones(5) / np.sqrt(5.0), mode="valid")
    calcified = rough < np.quantile(rough, np.clip(fraction * (1.5 - along), 0.0, 1.0))
    path = cartilage.points + line * cartilage.half_width[:, None] * cartilage.wide
    thick = np.clip(rng.normal(1.3 if line else 1.9, 0.4, count), 0.7, 3.0)
    return [
        Bar(path[run], cartilage.wide[run], 1.5 * thick[run], thick[run])
        for run in _runs(calcified)
        if run.stop - run.start > 1
    ]


def _runs(flags: npt.NDArray[np.bool_]) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, dtype=int), [0]])))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
