"""The scans that radiographs are made from: any mix of cohorts, each scan with its labels."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from drrval.disease import KINDS, disease_truth
from drrval.errors import StudyError
from drrval.intake import input_digest, read_ct
from drrval.simulation import VirtualScan
from drrval.study.cohort import PlannedScan, plan_cohort
from drrval.study.cohort_settings import CohortSettings
from drrval.study.fingerprint import input_sha256
from drrval.study.scorer_cache import ct_scorer
from drrval.study.scorers import score_ct
from drrval.synthesis.settings import SourceSettings, SynthesisSettings
from drrval.volume import Grid

_MAPS = ("lungs", "lesions", "organs")
_CONSOLIDATED_HU = -300.0  # opacities that hide their vessels are denser than about a third of soft tissue
_SMOOTH_MM = 2.0


@dataclass(frozen=True)
class SourceScan:
    """One scan and where its labels come from.

    Attributes:
        cohort: number of its cohort, from 1.
        planned: subject, session, date, and CT or recipe.
        maps: label map files by ``lungs``, ``lesions``, ``organs``; empty when the labels are made or found.
        first_date: of the subject's scans, ISO, or empty.
    """

    cohort: int
    planned: PlannedScan
    maps: tuple[tuple[str, Path], ...] = ()
    first_date: str = ""

    @property
    def patient(self) -> str:
        """Name of the patient in the whole set."""
        return f"{self.cohort}-{self.planned.subject}"

    @property
    def scan_id(self) -> str:
        """Name of the scan in the whole set."""
        return f"cohort-{self.cohort}_{self.planned.scan_id}"

    @property
    def folder(self) -> Path:
        """Folder of its images below the output folder."""
        return Path(f"cohort-{self.cohort}") / self.planned.folder

    @property
    def chests(self) -> tuple[str, ...]:
        """What identifies whose chest it is: scans that share one of these must not be parted by a split."""
        recipe = self.planned.recipe
        if recipe is not None and self.is_procedural:
            return (self.patient, f"anatomy {recipe.patient.seed}")
        files = recipe.inputs[:1] if recipe is not None else (self.planned.path,)
        return (self.patient, *(str(path.resolve()) for path in files if path is not None))

    @property
    def is_procedural(self) -> bool:
        """Whether the chest is drawn from a seed, which identifies it; else it comes from files."""
        return self.planned.recipe is not None and not self.planned.recipe.inputs

    @property
    def label_source(self) -> str:
        """``truth`` (made with the scan), ``files`` or ``scorer`` (found in the CT, so not exact)."""
        return "truth" if self.planned.recipe is not None else "files" if self.maps else "scorer"

    def digest(self) -> list[str]:
        """What decides the scan's voxels and labels.

        Raises:
            IntakeError: files are missing or cannot be read.
        """
        return [input_sha256(self.planned), *(input_digest(path) for _, path in self.maps)]


def plan_scans(settings: SynthesisSettings, data_root: Path) -> list[SourceScan]:
    """List the scans of all cohorts.

    Raises:
        StudyError: nothing found, a broken table, or two scans with the same subject and session.
    """
    found = []
    for number, source in enumerate(settings.cohorts, start=1):
        scans = _planned(source, data_root)
        for planned, maps in scans:
            dates = [p.date for p, _ in scans if p.subject == planned.subject and p.date]
            found.append(SourceScan(number, planned, maps, min(dates, default="")))
    return found


def load_scan(source: SourceScan, settings: SynthesisSettings) -> VirtualScan:
    """Make or read a scan and its labels.

    Raises:
        IntakeError: a CT that cannot be used.
        StudyError: label maps that do not fit the CT.
        ScorerError: the labeller failed.
    """
    planned = source.planned
    if planned.recipe is not None:
        return planned.recipe.make()
    assert planned.path is not None  # a planned scan has a path or a recipe
    ct = read_ct(planned.path, series_uid=planned.series_uid or None)
    if not source.maps:
        score = score_ct(ct_scorer(settings.labeller), ct)
        lungs, lesions, organs = score.lungs, _by_density(score.lesion, ct.hu, ct.grid), None
    else:
        maps = {name: read_labels_on(path, ct.grid) for name, path in source.maps}
        lungs, lesions, organs = maps["lungs"], maps["lesions"], maps.get("organs")
        _check_labels(lungs, 2, "lungs", "0, 1 (right), 2 (left)", planned.source)
        _check_labels(lesions, len(KINDS), "lesions", f"0, or 1 to {len(KINDS)} for {', '.join(KINDS)}", planned.source)
        lesions = np.where(lungs > 0, lesions, np.uint8(0))
    return VirtualScan(ct, lungs, lesions, disease_truth(lungs, lesions, ct.grid.voxel_volume_cm3), organs=organs)


def read_labels_on(path: Path, grid: Grid) -> npt.NDArray[np.uint8]:
    """Read a label map onto the grid of its CT by nearest neighbour, uint8 ``[z, y, x]``; 0 where it has no voxel.

    Raises:
        StudyError: it cannot be read.
    """
    try:
        labels = sitk.ReadImage(str(path), sitk.sitkUInt8)
    except RuntimeError as error:
        raise StudyError(f"Cannot read the label map {path}: {str(error).strip().splitlines()[-1]}") from None
    resampled = sitk.Resample(
        labels,
        grid.shape[::-1],
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        grid.origin_mm,
        grid.spacing_mm,
        grid.direction.ravel().tolist(),
    )
    return np.asarray(sitk.GetArrayFromImage(resampled), dtype=np.uint8)


def _planned(source: SourceSettings, data_root: Path) -> list[tuple[PlannedScan, tuple[tuple[str, Path], ...]]]:
    if source.labelled is None:
        values = {name: value for name, value in source if name != "labelled"}
        return [(planned, ()) for planned in plan_cohort(CohortSettings(**values), data_root)]
    table = data_root / source.labelled.table
    columns = _map_columns(table)
    planned = plan_cohort(CohortSettings(table=source.labelled.table, instructions=source.instructions), data_root)
    return [(p, _maps_of(p, columns[p.source], data_root, table)) for p in planned]


def _map_columns(table: Path) -> dict[str, dict[str, str]]:
    """Label map columns of each row, by the row's ``path``; an unreadable table is the planner's to refuse."""
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="," if table.suffix.lower() == ".csv" else "\t"))
    return {(row.get("path") or "").strip(): {n: (row.get(n) or "").strip() for n in _MAPS} for row in rows}


def _maps_of(planned: PlannedScan, given: dict[str, str], data_root: Path, table: Path) -> tuple[tuple[str, Path], ...]:
    for name in ("lungs", "lesions"):
        if not given[name]:
            raise StudyError(
                f"{table}: {planned.source} has no {name} map. Fill in the column {name!r}, or list CTs without label "
                "maps in a cohort of their own (table or glob)."
            )
    return tuple((name, data_root / given[name]) for name in _MAPS if given[name])


def _by_density(lesion: npt.NDArray[np.bool_], hu: npt.NDArray[np.float32], grid: Grid) -> npt.NDArray[np.uint8]:
    """Lesions of a scorer as kinds: consolidation where denser than -300 HU over 2 mm, else ground glass."""
    smooth = ndimage.gaussian_filter(hu, [_SMOOTH_MM / s for s in grid.spacing_mm[::-1]])
    dense = np.where(smooth > _CONSOLIDATED_HU, 1 + KINDS.index("consolidation"), 1 + KINDS.index("ggo"))
    return np.where(lesion, dense, 0).astype(np.uint8)


def _check_labels(labels: npt.NDArray[np.uint8], top: int, what: str, meaning: str, source: str) -> None:
    if int(labels.max(initial=0)) > top or (what == "lungs" and not labels.any()):
        raise StudyError(
            f"{source}: the {what} map holds the labels {np.unique(labels)[:8].tolist()} where the CT is. "
            f"It must hold {meaning}."
        )
