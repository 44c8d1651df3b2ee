"""Who the patients of a virtual cohort are: how ill, in which way, and when they are scanned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from drrval.disease import Pattern
from drrval.simulation.courses import Severity, draw_days
from drrval.simulation.settings import CourseSettings

Name = TypeVar("Name", bound=str)

_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class VirtualPatient:
    """One patient.

    Attributes:
        seed: of the anatomy, the course and the findings.
        severity, pattern: of the pneumonia.
        confounders: findings that are not pneumonia, names of :class:`drrval.simulation.settings.ConfounderSettings`.
        days: of the scans, after the onset.
    """

    seed: int
    severity: Severity
    pattern: Pattern
    confounders: tuple[str, ...]
    days: tuple[int, ...]


def draw_patient(settings: CourseSettings, number: int) -> VirtualPatient:
    """Draw patient ``number`` (from 1) of a cohort; it does not depend on how many others there are.

    Severities follow the additive recurrence of the golden ratio instead of independent draws, so that even a few
    patients come close to the stated shares (Kuipers and Niederreiter, Uniform Distribution of Sequences, 1974).
    """
    shift = np.random.default_rng([settings.seed, 0x5E]).random()
    rng = np.random.default_rng([settings.seed, number, 0x9A])
    seed = int(rng.integers(2**31))
    times = settings.timepoints
    return VirtualPatient(
        seed=seed,
        severity=_at_share(settings.severity, (shift + number * _GOLDEN_RATIO) % 1.0),
        pattern=_at_share(settings.pattern, float(rng.random())),
        confounders=tuple(
            name for name, probability in settings.confounders.model_dump().items() if rng.random() < probability
        ),
        days=draw_days(seed, int(rng.integers(times.min, times.max + 1))),
    )


def _at_share(weights: Mapping[Name, float], share: float) -> Name:
    """The name at a place 0..1 along the weights laid end to end."""
    ends = np.cumsum(list(weights.values()))
    place = int(np.searchsorted(ends, share * ends[-1], side="right"))
    return list(weights)[min(place, len(weights) - 1)]
