"""How the pneumonia of one patient develops over days; the numbers and their sources are in ``courses.yaml``.

Lesions appear one after another, grow to a peak on day 9 to 12 after the onset of symptoms, and are absorbed more
slowly. Each keeps its place and its texture and changes smoothly in size and density: ground glass first, crazy paving
and consolidation inside it about the peak, fading ground glass at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
import yaml

from drrval.disease import PATTERNS, Lesion, Pattern, draw_lesions
from drrval.errors import StudyError

Severity = Literal["none", "mild", "moderate", "severe", "relapse"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
LUNG_CM3 = 5000.0  # both lungs of an adult at full inspiration

_SMALLEST_MM = 2.0  # half axis below which a lesion is left out: it would hold less than 0.04 cm3


@dataclass(frozen=True)
class Wave:
    """One rise and fall of a lesion.

    Attributes:
        start_day, peak_day: when it appears and when it is largest.
        half_days: days from the peak to half of it.
        size: largest volume over that of the lesion's first peak.
    """

    start_day: float
    peak_day: float
    half_days: float
    size: float = 1.0

    def level(self, day: float, pace: float = 1.0) -> float:
        """What is there at a day, 0..1 of the peak, smooth; ``pace`` above 1 hastens the fall."""
        if day <= self.peak_day:
            return _smoothstep((day - self.start_day) / (self.peak_day - self.start_day))
        return float(0.5 ** ((pace * (day - self.peak_day) / self.half_days) ** 1.5))


@dataclass(frozen=True)
class Focus:
    """One place of disease and its course.

    Attributes:
        peak: the lesion at its (first) peak, in lungs of ``LUNG_CM3``.
        core: what is consolidated inside it then, or None.
        waves: one, or two in a relapse.
    """

    peak: Lesion
    core: Lesion | None
    waves: tuple[Wave, ...]

    def volume(self, day: float) -> float:
        """Volume at a day over that of both lungs, before the border of the lung cuts it."""
        return _share(self.peak) * self.size(day)

    def size(self, day: float) -> float:
        """Volume at a day over that at the peak."""
        return _union(wave.size * wave.level(day) for wave in self.waves)

    def at(self, day: float, lung_cm3: float) -> list[Lesion]:
        """Lesions of this place at a day: ground glass, and what has developed inside it."""
        size = self.size(day) * lung_cm3 / LUNG_CM3
        density = _union(wave.level(day, pace=1.4) for wave in self.waves)
        faint_hu = _table()["density"]["faint_hu"]
        hu = faint_hu + (self.peak.hu - faint_hu) * density if self.peak.kind != "consolidation" else self.peak.hu
        parts = [(replace(self.peak, kind="ggo", hu=min(hu, _table()["density"]["ggo_most_hu"])), 1.0)]
        if self.peak.kind != "ggo":
            parts.append((replace(self.peak, hu=hu), _developed(density, self.peak)))
        if self.core is not None:
            parts.append((self.core, _developed(density, self.core)))
        grown = [part.scaled(size * share) for part, share in parts if size * share > 0.0]
        return [lesion for lesion in grown if min(lesion.radii_mm) >= _SMALLEST_MM]


@dataclass(frozen=True)
class Course:
    """The pneumonia of one patient.

    Attributes:
        severity, pattern: as drawn.
        peak_day: when the extent is largest; with a relapse its first peak. NaN without disease.
        second_peak_day: of a relapse, else None.
        foci: all places of disease, whenever they appear.
    """

    severity: Severity
    pattern: Pattern
    peak_day: float
    second_peak_day: float | None
    foci: tuple[Focus, ...]

    def at(self, day: float, lung_cm3: float = LUNG_CM3) -> tuple[Lesion, ...]:
        """The lesions at a day after the onset of symptoms.

        At the peak they take up a median of about 4 % (mild), 13 % (moderate, relapse) or 36 % (severe) of the lungs;
        in given lungs the extent is within a few points of :meth:`expected_percent` (see ``courses.yaml``).

        Args:
            day: any; before the first lesion the result is empty.
            lung_cm3: volume of both lungs. Extents are shares of it, so the shares of the course come out in any chest.
        """
        return tuple(lesion for focus in self.foci for lesion in focus.at(day, lung_cm3))

    def expected_percent(self, day: float) -> float:
        """Share of both lungs that will be diseased at a day, %, of a typical lung."""
        volume = sum(focus.volume(day) for focus in self.foci)
        table = _table()["covering"]
        return float(np.interp(volume, table[self.pattern], table["percent"]))


def draw_course(seed: int, severity: Severity, pattern: Pattern = "covid") -> Course:
    """Draw the course of one patient.

    Args:
        seed: any integer of 0 or above; the same seed gives the same course.
        severity: ``none``, ``mild``, ``moderate`` or ``severe``, or ``relapse``: moderate, with a second peak.
        pattern: how the places lie in the lungs, one of :data:`drrval.disease.PATTERNS`.

    Raises:
        StudyError: a value outside its range.
    """
    if severity not in SEVERITIES:
        raise StudyError(f"severity={severity!r}. Expected one of: {', '.join(map(repr, SEVERITIES))}.")
    if pattern not in PATTERNS:
        raise StudyError(f"pattern={pattern!r}. Expected one of: {', '.join(map(repr, PATTERNS))}.")
    if seed < 0:
        raise StudyError(f"seed={seed!r} is negative. Choose an integer of 0 or above.")
    if severity == "none":
        return Course(severity, pattern, float("nan"), None, ())
    rng = np.random.default_rng([seed, 0xC0])
    table = _table()["severity"][severity]
    peak_day = float(rng.uniform(*_table()["timing"]["peak_day"]))
    percent = np.clip(table["peak_percent"] * np.exp(table["spread"] * rng.standard_normal()), *table["range"])
    places = _places(rng, pattern, float(percent))
    foci = [Focus(peak, core, (_first_wave(rng, table, peak_day),)) for peak, core in places]
    if severity != "relapse":
        return Course(severity, pattern, peak_day, None, tuple(foci))
    second_peak, foci = _relapsing(rng, foci, _places(rng, pattern, float(percent)), peak_day)
    return Course(severity, pattern, peak_day, second_peak, tuple(foci))


def _places(rng: np.random.Generator, pattern: Pattern, percent: float) -> list[tuple[Lesion, Lesion | None]]:
    """Lesions that together take up this share of lungs of ``LUNG_CM3``, each with its core."""
    drawn = draw_lesions(pattern, int(rng.integers(2**31)), percent)
    groups = [list(group) for _, group in groupby(drawn, key=lambda lesion: (lesion.side, lesion.centre))]
    table = _table()["covering"]
    gain = float(np.interp(percent, table["percent"], table[pattern]) / sum(_share(group[0]) for group in groups))
    return [(peak.scaled(gain), core[0].scaled(gain) if core else None) for peak, *core in groups]


def _first_wave(rng: np.random.Generator, table: dict[str, Any], peak_day: float) -> Wave:
    timing = _table()["timing"]
    peak = peak_day + timing["peak_spread_days"] * float(rng.uniform(-1.0, 1.0))
    first = rng.uniform(*timing["first_lesion_day"])
    start = float(rng.uniform(first, peak - timing["last_lesion_before_peak_days"]))
    return Wave(start, peak, float(rng.uniform(*table["half_days"])))


def _relapsing(
    rng: np.random.Generator, foci: list[Focus], places: list[tuple[Lesion, Lesion | None]], peak_day: float
) -> tuple[float, list[Focus]]:
    """Let some places grow again and new ones appear; returns the day of the second peak, too."""
    table = _table()["relapse"]
    onset = peak_day + float(rng.uniform(*table["onset_after_peak_days"]))
    peak = onset + float(rng.uniform(*table["peak_after_onset_days"]))
    size = float(rng.uniform(*table["size"]))

    def again() -> Wave:
        start = onset + float(rng.uniform(0.0, 0.3)) * (peak - onset)
        return Wave(start, peak + float(rng.uniform(-0.5, 0.5)), float(rng.uniform(*table["half_days"])), size)

    recurring = rng.random(len(foci)) < table["recurring"]
    old = [
        replace(focus, waves=(*focus.waves, again())) if recurs else focus
        for focus, recurs in zip(foci, recurring, strict=True)
    ]
    new = [Focus(lesion, core, (again(),)) for lesion, core in places if rng.random() >= table["recurring"]]
    return peak, old + new


def draw_days(seed: int, n: int) -> tuple[int, ...]:
    """Draw the days of a patient's scans as a clinic takes them: ascending whole days after the onset of symptoms.

    The first is that of admission, the next follow every few days, and after discharge at longer intervals.

    Args:
        seed: any integer of 0 or above.
        n: how many, 1 or more.

    Raises:
        StudyError: ``n`` or ``seed`` outside its range.
    """
    if n < 1 or seed < 0:
        raise StudyError(f"n={n!r} scans with seed={seed!r}. Ask for at least one scan, with a seed of 0 or above.")
    rng = np.random.default_rng([seed, 0xDA])
    table = _table()["days"]
    day = round(_clipped_normal(rng, table["first_day"]))
    days = [day]
    for _ in range(n - 1):
        slow = 3.0 if day >= table["follow_up_from_day"] else 1.0
        day += max(round(slow * _clipped_normal(rng, table["interval_days"])), 1)
        days.append(day)
    return tuple(days)


def _share(lesion: Lesion) -> float:
    """Volume of a lesion's ellipsoid over that of both lungs."""
    return 4.0 / 3.0 * math.pi * math.prod(lesion.radii_mm) / (1000.0 * LUNG_CM3)


def _developed(density: float, part: Lesion) -> float:
    """How much of its size a denser part inside ground glass has reached, 0..1."""
    first = _table()["density"]["develops_from"][part.kind]
    return _smoothstep((density - first) / (1.0 - first))


def _smoothstep(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def _union(parts: Iterable[float]) -> float:
    """Share that several independent shares cover together."""
    return 1.0 - math.prod(1.0 - part for part in parts)


def _clipped_normal(rng: np.random.Generator, table: dict[str, Any]) -> float:
    return float(np.clip(rng.normal(table["mean"], table["sd"]), *table["range"]))


@cache
def _table() -> dict[str, Any]:
    text = files("drrval.simulation").joinpath("courses.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
