"""Planning virtual cohorts: from settings to one recipe per scan."""

from __future__ import annotations

from collections.abc import Sequence

from drrval.simulation.conditions import Conditions, draw_conditions
from drrval.simulation.patients import draw_patient
from drrval.simulation.recipes import InsertedScan, ProceduralScan, RealScan
from drrval.simulation.settings import CourseSettings, SimulateSettings


def simulate_cohort(settings: SimulateSettings) -> list[ProceduralScan]:
    """List the scans of a cohort of procedural thoraces, by subject and session; each is built on demand.

    Subjects and sessions are numbered from ``01``. The first patients of a larger cohort with the same seed are those
    of the smaller one.
    """
    digits = max(2, len(str(settings.patients)))
    patients = [(f"{n:0{digits}d}", draw_patient(settings, n)) for n in range(1, settings.patients + 1)]
    return [
        ProceduralScan(
            subject=subject,
            session=f"{visit:02d}",
            day=day,
            patient=patient,
            conditions=draw_conditions(patient.seed, visit, settings.nuisance),
            spacing_mm=settings.spacing_mm,
            protocol=settings.protocol,
            dressed=settings.nuisance,
        )
        for subject, patient in patients
        for visit, day in enumerate(patient.days, start=1)
    ]


def insert_cohort(settings: CourseSettings, scans: Sequence[RealScan]) -> list[InsertedScan]:
    """List the scans of a cohort of real chests with disease put into them: each real scan is one virtual patient.

    Args:
        settings: of the courses.
        scans: the real scans; each has a subject of its own.
    """
    patients = [(scan, draw_patient(settings, number)) for number, scan in enumerate(scans, start=1)]
    return [
        InsertedScan(
            subject=scan.subject,
            session=f"{visit:02d}",
            day=day,
            patient=patient,
            conditions=_position_alone(draw_conditions(patient.seed, visit, settings.nuisance)),
            real=scan,
        )
        for scan, patient in patients
        for visit, day in enumerate(patient.days, start=1)
    ]


def _position_alone(conditions: Conditions) -> Conditions:
    """What can differ between two scans that start from the same one: not the breath, and not the noise."""
    return Conditions(rotation_deg=conditions.rotation_deg, shift_mm=conditions.shift_mm)
