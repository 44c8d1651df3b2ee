"""Scans that are made when they are needed: a recipe holds all that decides their bytes, and pickles small."""

from __future__ import annotations

import datetime
import json
import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.disease import disease_truth, insert_disease
from drrval.disease.confounders import add_confounders
from drrval.intake import read_ct
from drrval.phantom import Accessories, Pose, Protocol, acquire, make_thorax, random_accessories, random_anatomy
from drrval.simulation.conditions import Conditions
from drrval.simulation.courses import draw_course
from drrval.simulation.dicom import SeriesLabels
from drrval.simulation.patients import VirtualPatient
from drrval.simulation.real_ct import RealScan, find_lungs, moved
from drrval.simulation.scan import VirtualScan
from drrval.simulation.settings import ProtocolSettings
from drrval.volume import CTVolume, Grid

FIRST_DAY = datetime.date(2020, 1, 1)  # day 0 of every course, so that scans have dates

HU = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe(ABC):
    """What procedural scans and scans of real chests have in common.

    Attributes:
        subject, session: labels.
        day: days after the onset.
        patient: who it is; the same in all scans of a subject.
        conditions: of this scan.
    """

    subject: str
    session: str
    day: int
    patient: VirtualPatient
    conditions: Conditions

    @property
    def date(self) -> datetime.date:
        """Date of the scan."""
        return FIRST_DAY + datetime.timedelta(days=self.day)

    @property
    def scan_id(self) -> str:
        """``sub-SUBJECT_ses-SESSION``."""
        return f"sub-{self.subject}_ses-{self.session}"

    @property
    def folder(self) -> Path:
        """Folder of the scan below that of the cohort."""
        return Path(f"sub-{self.subject}") / f"ses-{self.session}"

    @property
    def name(self) -> str:
        """What to call the scan in messages."""
        return f"virtual subject {self.subject}, session {self.session}"

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders that the scan starts from."""
        return ()

    @abstractmethod
    def make(self) -> VirtualScan:
        """Build the scan; the same recipe gives the same bytes wherever and whenever it is built."""

    def values(self) -> dict[str, Any]:
        """All that decides the scan but the contents of its inputs, JSON-ready."""
        return asdict(self)

    def described(self) -> dict[str, str | float]:
        """What a table says about the patient and the conditions."""
        c = self.conditions
        return {
            "date": self.date.isoformat(),
            "severity": self.patient.severity,
            "pattern": self.patient.pattern,
            "confounders": ";".join(self.patient.confounders),
            "inspiration": c.inspiration,
            **{f"rotation_{axis}_deg": value + 0.0 for axis, value in zip("xyz", c.rotation_deg, strict=True)},
            **{f"shift_{axis}_mm": value + 0.0 for axis, value in zip("xyz", c.shift_mm, strict=True)},
            "table_height_mm": c.table_height_mm,
            "noise_factor": c.noise_factor,
        }

    @property
    def slice_mm(self) -> float | None:
        """Slice thickness, mm, where it is not the spacing of the slices."""
        return None

    def series_labels(self) -> SeriesLabels:
        """How the scan is labelled as a DICOM series."""
        origin = json.dumps(self.values(), sort_keys=True)
        return SeriesLabels(self.subject, self.session, self.date, origin, self.slice_mm)

    def _diseased(
        self, hu: HU, grid: Grid, lungs: Labels, lobes: Labels | None
    ) -> tuple[HU, Labels, Labels, HU, dict[str, float]]:
        """Put the pneumonia of the day and other findings into a chest.

        Returns:
            Its new HU, lungs, lesions, rise of HU by the pneumonia, and the truth.
        """
        patient = self.patient
        lung_cm3 = float(np.count_nonzero(lungs)) * grid.voxel_volume_cm3
        course = draw_course(patient.seed, patient.severity, patient.pattern)
        inserted = insert_disease(hu, grid, lungs, course.at(self.day, lung_cm3), lobes=lobes)
        hu, lesions = inserted.hu, inserted.lesions
        if patient.confounders:
            found = add_confounders(hu, grid, lungs, patient.confounders, patient.seed)
            hu, lungs, lesions = found.hu, found.lungs, found.kept(lesions)
            lobes = None if lobes is None else np.where(lungs > 0, lobes, np.uint8(0))
        truth = disease_truth(lungs, lesions, grid.voxel_volume_cm3, lobes=lobes, rise_hu=inserted.rise_hu)
        return hu, lungs, lesions, inserted.rise_hu, truth


def truth_row(recipe: Recipe, scan: VirtualScan) -> dict[str, str | float | None]:
    """Who, when, the truth and the conditions of a scan, as tables state them; None where there is no number."""
    numbers = {name: None if math.isnan(value) else value for name, value in scan.truth.items()}
    return {"subject": recipe.subject, "session": recipe.session, "day": recipe.day, **numbers, **recipe.described()}


@dataclass(frozen=True)
class ProceduralScan(Recipe):
    """A scan of a procedural thorax.

    Attributes:
        spacing_mm: voxel spacing (x, y, z), mm.
        protocol: how the CT is taken.
        dressed: whether the patient wears something and lies on a mattress, drawn for each scan.
    """

    spacing_mm: tuple[float, float, float]
    protocol: ProtocolSettings
    dressed: bool

    def make(self) -> VirtualScan:
        """Build the scan; the same recipe gives the same bytes wherever and whenever it is built."""
        c = self.conditions
        anatomy = random_anatomy(self.patient.seed)
        worn = random_accessories(c.seed, female=anatomy.female) if self.dressed else Accessories()
        thorax = make_thorax(
            anatomy,
            spacing_mm=self.spacing_mm,
            inspiration=c.inspiration,
            pose=Pose(rotation_deg=c.rotation_deg, shift_mm=c.shift_mm, table_height_mm=c.table_height_mm),
            accessories=replace(worn, leads=0),  # they are one of the patient's findings
        )
        hu, lungs, lesions, rise_hu, truth = self._diseased(thorax.hu, thorax.grid, thorax.lungs, thorax.lobes)
        volume = acquire(hu, thorax.grid, self._protocol(), c.seed)
        return VirtualScan(
            volume=replace(volume, name=self.name),
            lungs=lungs,
            lesions=lesions,
            truth=truth,
            lobes=np.where(lungs > 0, thorax.lobes, np.uint8(0)),
            organs=thorax.labels,
            rise_hu=rise_hu,
        )

    @property
    def slice_mm(self) -> float:
        """Slice thickness, mm."""
        return max(self.protocol.slice_mm, self.spacing_mm[2])

    def _protocol(self) -> Protocol:
        settings = self.protocol
        return Protocol(
            slice_mm=settings.slice_mm,
            kernel_fwhm_mm=settings.kernel_fwhm_mm,
            noise_hu=settings.noise_hu * self.conditions.noise_factor,
        )

    def values(self) -> dict[str, Any]:
        """All that decides the scan, JSON-ready."""
        return {**super().values(), "protocol": self.protocol.model_dump()}


@dataclass(frozen=True)
class InsertedScan(Recipe):
    """A scan of a real chest with disease put into it.

    The truth is of what was put in: disease that the patient really has is not in it.

    Attributes:
        real: the scan to start from.
    """

    real: RealScan

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The real scan, and its lung mask if there is one."""
        return tuple(path for path in (self.real.path, self.real.lungs) if path is not None)

    def make(self) -> VirtualScan:
        """Build the scan; the same recipe gives the same bytes wherever and whenever it is built."""
        ct = read_ct(self.real.path, series_uid=self.real.series_uid or None)
        hu, lungs, lesions, rise_hu, truth = self._diseased(ct.hu, ct.grid, find_lungs(ct, self.real), None)
        grid = moved(ct.grid, self.conditions.rotation_deg, self.conditions.shift_mm)
        return VirtualScan(CTVolume(hu, grid, ct.scanned, self.name), lungs, lesions, truth, rise_hu=rise_hu)

    def values(self) -> dict[str, Any]:
        """All that decides the scan but the contents of its inputs, JSON-ready."""
        return {**super().values(), "real": self.real.series_uid}
