"""How viral pneumonia develops over days, in a patient and in a cohort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from drrval.errors import StudyError
from drrval.phantom.legacy.anatomy import check_range, random_anatomy
from drrval.phantom.legacy.lesions import Lesion
from drrval.phantom.legacy.thorax import SPACING_MM, PhantomScan, make_thorax

Severity = Literal["mild", "moderate", "severe"]

# Number of lesions and mean radius (mm) at the peak.
_PEAK: dict[str, tuple[int, float]] = {"mild": (5, 24.0), "moderate": (10, 30.0), "severe": (18, 38.0)}
_COHORT_ORDER: tuple[Severity, ...] = ("moderate", "severe", "mild", "severe")
# Days from onset to half of the peak extent and from the peak to half of it. CT extent is largest about day 10 after
# onset and falls slowly from day 14 on (Pan et al. Radiology 2020, 10.1148/radiol.2020200370).
_RISE_DAYS, _FALL_DAYS = (3.2, 4.4), (5.5, 8.5)


def disease_course(
    seed: int, n_timepoints: int, *, severity: Severity | None = None
) -> list[tuple[int, tuple[Lesion, ...]]]:
    """Draw the lesions of one patient at a few days after onset.

    Lesions are bilateral, and mostly peripheral, posterior and basal. Their extent grows to a peak at day 9 to 12 and
    then falls more slowly; at the peak some are consolidated.

    Args:
        seed: any non-negative integer.
        n_timepoints: number of scans, 1 to 12.
        severity: ``mild``, ``moderate`` or ``severe``; drawn when not given.

    Returns:
        ``(day after onset, lesions)`` in order of day.

    Raises:
        StudyError: a value outside its range.
    """
    check_range("n_timepoints", n_timepoints, 1, 12)
    rng = np.random.default_rng([seed, 0xD5])
    drawn = str(rng.choice(list(_PEAK)))
    if (severity or drawn) not in _PEAK:
        raise StudyError(f"severity={severity!r}. Expected one of: {', '.join(map(repr, _PEAK))}.")
    count, radius = _PEAK[severity or drawn]
    peak_day = rng.uniform(9.0, 12.0)
    rise, fall = rng.uniform(*_RISE_DAYS), rng.uniform(*_FALL_DAYS)
    foci = [_Focus.draw(rng, number, radius) for number in range(count)]
    out = []
    for day in _days(rng, n_timepoints, peak_day):
        away = (day - peak_day) / (rise if day < peak_day else fall)
        extent = float(0.5 ** (away**2))
        out.append((day, tuple(focus.at(extent) for focus in foci)))
    return out


def _days(rng: np.random.Generator, count: int, peak_day: float) -> list[int]:
    """Days of the scans: early, about the peak, and on into resolution; distinct and ascending."""
    if count == 1:
        return [round(peak_day)]
    first, last = rng.uniform(3.0, 5.5), peak_day + rng.uniform(9.0, 13.0)
    days = np.linspace(first, last, count) if count != 2 else np.array([first, peak_day])
    days[1:-1] += rng.uniform(-1.0, 1.0, len(days[1:-1]))
    whole = np.rint(days).astype(int)
    for index in range(1, count):
        whole[index] = max(whole[index], whole[index - 1] + 1)
    return [int(day) for day in whole]


@dataclass(frozen=True)
class _Focus:
    """A place of disease at its peak."""

    side: Literal["right", "left"]
    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float
    consolidates: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, number: int, radius_mm: float) -> _Focus:
        lateral = float(rng.beta(5.0, 1.6))
        back, up = float(rng.beta(3.5, 1.5)), float(rng.beta(1.6, 3.0))
        radii = radius_mm * rng.uniform(0.75, 1.2) * rng.uniform(0.8, 1.25, 3)
        return cls(
            side="right" if number % 2 == 0 else "left",
            centre=(lateral, back, up),
            radii_mm=(float(radii[0]), float(radii[1]), float(radii[2])),
            hu=float(rng.uniform(-620.0, -480.0)),
            consolidates=bool(rng.random() < 0.3),
        )

    def at(self, extent: float) -> Lesion:
        """The lesion when the disease has this fraction of its peak volume."""
        shrink = float(np.cbrt(extent))
        x, y, z = (max(radius * shrink, 4.0) for radius in self.radii_mm)
        if self.consolidates and extent > 0.6:
            return Lesion(self.side, self.centre, (0.8 * x, 0.8 * y, 0.8 * z), "consolidation", 30.0)
        return Lesion(self.side, self.centre, (x, y, z), "ggo", self.hu)


@dataclass(frozen=True)
class SimulatedScan:
    """The recipe of one scan of a simulated cohort.

    Attributes:
        subject, session: two-digit labels from ``01``.
        day: days after onset.
        cohort_seed: seed of the cohort.
        timepoints: scans per patient in the cohort.
        spacing_mm: voxel edge, mm.
    """

    subject: str
    session: str
    day: int
    cohort_seed: int
    timepoints: int
    spacing_mm: float

    def make(self) -> PhantomScan:
        """Build the scan; the same recipe gives the same bytes wherever and whenever it is built."""
        patient, visit = int(self.subject), int(self.session)
        _, lesions = _patient_course(self.cohort_seed, patient, self.timepoints)[visit - 1]
        rng = np.random.default_rng([self.cohort_seed, patient, visit])
        scan = make_thorax(
            random_anatomy(_patient_seed(self.cohort_seed, patient)),
            spacing_mm=self.spacing_mm,
            lesions=lesions,
            inspiration=float(rng.uniform(0.9, 1.0)),
            noise_hu=float(rng.uniform(11.0, 18.0)),
            seed=int(rng.integers(2**31)),
        )
        name = f"simulated subject {self.subject}, session {self.session}"
        return replace(scan, volume=replace(scan.volume, name=name))


def simulate_cohort(patients: int, timepoints: int, seed: int, spacing_mm: float) -> list[SimulatedScan]:
    """List the scans of a virtual cohort, by subject and session; each is built on demand.

    Args:
        patients: 1 to 99.
        timepoints: scans per patient, 1 to 12.
        seed: non-negative integer.
        spacing_mm: voxel edge, mm.

    Raises:
        StudyError: a value outside its range.
    """
    check_range("patients", patients, 1, 99)
    check_range("spacing_mm", spacing_mm, *SPACING_MM)
    if seed < 0:
        raise StudyError(f"seed={seed!r} is negative. Choose an integer of 0 or above.")
    return [
        SimulatedScan(f"{patient:02d}", f"{visit:02d}", day, seed, timepoints, spacing_mm)
        for patient in range(1, patients + 1)
        for visit, (day, _) in enumerate(_patient_course(seed, patient, timepoints), start=1)
    ]


def _patient_seed(cohort_seed: int, patient: int) -> int:
    return int(np.random.SeedSequence([cohort_seed, patient]).generate_state(1)[0])


def _patient_course(cohort_seed: int, patient: int, timepoints: int) -> list[tuple[int, tuple[Lesion, ...]]]:
    severity = _COHORT_ORDER[(cohort_seed + patient) % len(_COHORT_ORDER)]
    return disease_course(_patient_seed(cohort_seed, patient), timepoints, severity=severity)
