"""All images of one scan, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from drrval.errors import DrrvalError
from drrval.geometry import Geometry
from drrval.study.fingerprint import code_digest, library_versions, noise_seed
from drrval.study.store import atomic_folder, write_json, write_text
from drrval.synthesis.coco import annotate
from drrval.synthesis.draw import draw_image
from drrval.synthesis.files import write_image
from drrval.synthesis.image import LabelledRadiograph, make_image
from drrval.synthesis.masks import Box
from drrval.synthesis.projections import prepare
from drrval.synthesis.scans import SourceScan, load_scan
from drrval.synthesis.settings import SynthesisSettings
from drrval.synthesis.splits import chest_pattern
from drrval.synthesis.truth import truth_row

# Settings that do not change what a scan's folder holds.
_SET_ONLY = ("name", "description", "cohorts", "split")
RECORD, ANNOTATIONS, PATTERN = "scan.json", "annotations.json", "chest.npy"


def make_scan(source: SourceScan, settings: SynthesisSettings, out: Path) -> tuple[str, str]:
    """Make the images of a scan, unless an earlier run has.

    Returns:
        ``ok``, ``cached`` or ``failed``, and why it failed. Never raises; ``logs/crash-*.txt`` holds the traceback.
    """
    crash = out / "logs" / f"crash-{source.scan_id}.txt"
    try:
        key = scan_key(source, settings)
        state = "cached"
        if not _finished(out / source.folder, key):
            with atomic_folder(out / source.folder, out / "work") as folder:
                _make(source, settings, folder, key)
            state = "ok"
    except (Exception, SystemExit) as error:  # one bad scan never stops a set
        expected = isinstance(error, DrrvalError | OSError)
        write_text(crash, traceback.format_exc())
        return "failed", str(error) if expected else f"{type(error).__name__}: {error}"
    crash.unlink(missing_ok=True)
    return state, ""


def scan_key(source: SourceScan, settings: SynthesisSettings) -> str:
    """SHA-256 over the scan, the settings that decide its images, drrval's code and library versions.

    Raises:
        IntakeError: files are missing or cannot be read.
    """
    kept = {name: value for name, value in settings.model_dump(mode="json").items() if name not in _SET_ONLY}
    planned = source.planned
    parts = {
        "input": source.digest(),
        "scan": [source.scan_id, planned.date, planned.source, planned.series_uid, source.first_date],
        "settings": kept,
        "code": code_digest(),
        "libraries": library_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """What a scan's folder says of its images: ``key``, ``images`` and ``files``."""
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return record


def _finished(folder: Path, key: str) -> bool:
    try:
        record = read_record(folder)
    except (OSError, ValueError):
        return False
    return record.get("key") == key and all((folder / name).is_file() for name in record["files"])


def _make(source: SourceScan, settings: SynthesisSettings, folder: Path, key: str) -> None:
    scan = load_scan(source, settings)
    prepared = prepare(scan, settings.materials)
    records, found = [], []
    for number in range(1, settings.views_per_scan + 1):
        drawn = draw_image(settings, noise_seed(settings.seed, source.scan_id, str(number)))
        made = make_image(prepared, drawn, settings)
        stem = f"{number:03d}_{drawn.acquisition.view}"
        files = write_image(folder, stem, made, settings)
        records.append(_record(source, made, scan.truth, files, folder))
        found.append(annotate(made.labels))
    np.save(folder / PATTERN, chest_pattern(prepared.patient))
    write_text(folder / ANNOTATIONS, json.dumps(found, separators=(",", ":")) + "\n")
    files_there = sorted(path.name for path in folder.iterdir())
    write_json(folder / RECORD, {"key": key, "scan_id": source.scan_id, "images": records, "files": files_there})


def _record(
    source: SourceScan, made: LabelledRadiograph, truth: dict[str, float], files: dict[str, str], folder: Path
) -> dict[str, Any]:
    """One image: its row of the table, its boxes, and all that was drawn for it."""
    return {
        "row": truth_row(source, made, truth) | {n: (source.folder / f).as_posix() for n, f in files.items()},
        "sha256": hashlib.sha256((folder / files["image"]).read_bytes()).hexdigest(),
        "boxes": [_box(box) for box in made.labels.boxes],
        "stamps": [
            {"text": s.text, "lead": s.lead, "row": s.row, "column": s.column, "size": list(s.ink.shape)}
            for s in made.stamps
        ],
        "geometry": _geometry(made.geometry),
        "drawn": asdict(made.drawn),
    }


def _box(box: Box) -> dict[str, Any]:
    return {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "side": box.side, "kind": box.kind}


def _geometry(geometry: Geometry) -> dict[str, Any]:
    return {
        "source_mm": list(geometry.source_mm),
        "detector_centre_mm": list(geometry.detector_centre_mm),
        "column_axis": list(geometry.column_axis),
        "row_axis": list(geometry.row_axis),
        "shape": list(geometry.shape),
        "pixel_mm": geometry.pixel_mm,
    }
