"""One scan, from CT file to a folder with its scores, masks and picture."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ct_models.contract import CTScore, CTScorer
from drrval.ct_scoring.dicom_seg import Algorithm, highdicom_version, write_segmentation
from drrval.ct_scoring.flags import CONTROL_FAILED, SEG_MISSING, why_incomplete
from drrval.ct_scoring.scans import CTScan
from drrval.ct_scoring.source import SourceImage, images_by_slice, labels_on, source_images, volume_file_grid
from drrval.ct_scoring.tables import number, score_row, slices_text
from drrval.errors import DrrvalError, IntakeError, ScorerError, StudyError
from drrval.intake import IntakeReport, input_digest, read_ct
from drrval.report.ct_montage import ct_montage
from drrval.stats.ct_scorers import DISAGREE_FLAG, DISAGREEMENT_POINTS
from drrval.study.config import ScorerSpec
from drrval.study.fingerprint import code_digest, library_versions, scorer_digest
from drrval.study.scorer_cache import ct_scorer
from drrval.study.scorers import label_map, score_ct
from drrval.study.slices import slice_table
from drrval.study.store import atomic_folder, write_json, write_picture, write_text, write_volume
from drrval.volume import CTVolume

CONTROL = "opacity"
RECORD, SLICES = "scan.json", "slices.tsv"

log = logging.getLogger("drrval")

Record = dict[str, Any]


@dataclass(frozen=True)
class ScoredCT:
    """A CT with what was found in it.

    Attributes:
        ct: the volume.
        images: the DICOM images that it came from; none for a volume file.
        scores: by scorer: the one asked for, and the control if it is another and did not fail.
    """

    ct: CTVolume
    images: list[SourceImage]
    scores: dict[str, CTScore]


def score_scan(scan: CTScan, scorer: str, out: Path) -> tuple[Record, str]:
    """Score a scan, or take the finished result of an earlier run.

    Returns:
        The scan's record and ``ok``, ``cached`` or ``failed``. A failing scan never raises: ``row`` of its record says
        why, and ``logs/crash-*.txt`` holds the traceback, unless the scan was refused for what it is.
    """
    crash = out / "logs" / f"crash-{scan.label}.txt"
    report = IntakeReport(path=str(scan.path))
    try:
        key = scan_key(scan, scorer)
        state, record = "cached", finished_record(scan, out, key)
        if record is None:
            with atomic_folder(out / scan.label, out / "work") as folder:
                record = _score(scan, scorer, folder, report)
                record |= {"key": key, "files": sorted(path.name for path in folder.iterdir())}
                write_json(folder / RECORD, record)
            state = "ok"
    except (Exception, SystemExit) as error:  # one bad scan never stops the others
        expected = isinstance(error, DrrvalError | OSError)
        crash.unlink(missing_ok=True)
        if not isinstance(error, IntakeError | StudyError):  # their messages say all there is
            write_text(crash, traceback.format_exc())
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        return failed_record(scan, scorer, message, report), "failed"
    crash.unlink(missing_ok=True)
    return record, state


def failed_record(scan: CTScan, scorer: str, message: str, report: IntakeReport | None = None) -> Record:
    """The record of a scan that could not be scored; ``report``, if intake looked at it, says what it said."""
    intake = report.status if report is not None and (report.findings or report.facts) else None
    row = {"scan": scan.label, "scorer": scorer, "intake": intake, "status": "failed", "message": message}
    return {"row": {**row, "path": str(scan.path)}, "notes": []}


def scan_key(scan: CTScan, scorer: str) -> str:
    """SHA-256 over the scan's files, the scorer's and drrval's code, and the versions of the libraries.

    Raises:
        IntakeError: the files are missing or cannot be read.
        ScorerError: the scorer cannot be loaded.
    """
    parts = {
        "input": input_digest(scan.path),
        "series": scan.series_uid,
        "scorer": [scorer, scorer_digest(ScorerSpec(use=scorer), "ct")],
        "code": code_digest(),
        "libraries": {**library_versions(), "highdicom": highdicom_version()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def finished_record(scan: CTScan, out: Path, key: str) -> Record | None:
    """The record of a finished scan with this key and all its files in place, or None.

    Raises:
        StudyError: the folder holds the results of another scan of that name.
    """
    folder = out / scan.label
    try:
        record: Record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if record.get("key") == key and all((folder / name).is_file() for name in record["files"]):
        return record
    earlier = Path(record["row"]["path"])
    if earlier.absolute() != scan.path.absolute() and earlier.exists():
        raise StudyError(
            f"{scan.path}: {folder} holds the results of another scan of that name, {earlier}. Give another --out, or "
            "score both with one command, which gives them different names."
        )
    return None


def _score(scan: CTScan, scorer: str, folder: Path, report: IntakeReport) -> Record:
    """Fill a scan's folder; return its record, without key and files."""
    ct = read_ct(scan.path, series_uid=scan.series_uid or None, report=report)
    repairs = [finding for finding in report.findings if finding.outcome == "repaired"]
    notes = [f"{scan.path} was repaired by rule '{finding.rule}': {finding.message}" for finding in repairs]
    flags: list[str] = []
    begun = time.perf_counter()
    score = score_ct(_scorer(scorer), ct)
    seconds = time.perf_counter() - begun
    flags += score.flags
    found = ScoredCT(ct, source_images(scan.path, scan.series_uid), {scorer: score})
    control = score if scorer == CONTROL else _control(found, flags, notes)
    control_ratio = float("nan") if control is None else control.ratio_percent
    if abs(score.ratio_percent - control_ratio) > DISAGREEMENT_POINTS:
        flags.append(DISAGREE_FLAG)
    _write_masks(scan, found, scorer, folder, flags, notes)
    _write_slices(scan, found, scorer, folder)
    sx, sy, sz = ct.grid.spacing_mm
    picture = ct_montage(ct.hu, (sz, sy, sx), score.lungs, score.lesion, score.slice_probability)
    write_picture(folder / f"ct_{_file_name(scorer)}.png", picture)
    whole = not math.isnan(score.ratio_percent)
    row = {
        "scan": scan.label,
        **score_row(score),
        "opacity_ratio_percent": number(control_ratio),
        "flags": ";".join(flags) or None,
        "seconds": number(seconds),
        "scorer": scorer,
        "intake": report.status,
        "status": "ok" if whole else "incomplete",
        "message": None if whole else why_incomplete(flags),
        "path": str(scan.path),
    }
    weights = dict(getattr(_scorer(scorer), "weights_sha256", {}))
    return {"row": row, "notes": notes, "weights_sha256": weights, "intake": report.to_dict()}


def _control(found: ScoredCT, flags: list[str], notes: list[str]) -> CTScore | None:
    """The classical score; a scan on which it fails keeps the score that was asked for."""
    try:
        found.scores[CONTROL] = score_ct(_scorer(CONTROL), found.ct)
    except ScorerError as error:
        flags.append(CONTROL_FAILED)
        notes.append(str(error))
    return found.scores.get(CONTROL)


def _write_masks(scan: CTScan, found: ScoredCT, scorer: str, folder: Path, flags: list[str], notes: list[str]) -> None:
    """Label maps on the voxels of the CT's own file, and a DICOM segmentation of a DICOM series."""
    grid = found.ct.grid if found.images else volume_file_grid(scan.path)
    for name, score in found.scores.items():
        [labels] = labels_on(label_map(score), found.ct.grid, [grid])
        write_volume(folder / f"ct_{_file_name(name)}_labels.nii.gz", labels, grid)
    if not found.images or highdicom_version() is None:
        return
    score = found.scores[scorer]
    try:
        write_segmentation(
            folder / f"ct_{_file_name(scorer)}_seg.dcm",
            found.images,
            label_map(score),
            found.ct.grid,
            Algorithm.of(_scorer(scorer), network=score.slice_probability is not None),
        )
    except IntakeError as error:  # the scores do not depend on it
        flags.append(SEG_MISSING)
        notes.append(f"{scan.path}: no DICOM segmentation: {error}")


def _write_slices(scan: CTScan, found: ScoredCT, scorer: str, folder: Path) -> None:
    table = slice_table(found.scores[scorer], found.ct.grid)
    images = images_by_slice(found.images, found.ct.grid)
    table["scan"] = scan.label
    table["instance_number"] = [_instance(images.get(place)) for place in table["slice"]]
    table["sop_instance_uid"] = [_uid(images.get(place)) for place in table["slice"]]
    write_text(folder / SLICES, slices_text(table))


def _instance(image: SourceImage | None) -> str | None:
    value = None if image is None else image.dataset.get("InstanceNumber")
    return None if value in (None, "") else str(value)


def _uid(image: SourceImage | None) -> str | None:
    if image is None:
        return None
    uid, frame = str(image.dataset.get("SOPInstanceUID", "")), image.header.frame
    return (uid if frame is None else f"{uid}#{frame + 1}") or None


def _scorer(use: str) -> CTScorer:
    return ct_scorer(ScorerSpec(use=use))


def _file_name(scorer: str) -> str:
    return "".join(c if c.isalnum() or c == "-" else "-" for c in scorer)
