"""A whole set: plan, make every scan's images, check the splits, write tables and COCO files."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from drrval import __version__
from drrval.disease import KINDS
from drrval.errors import StudyError
from drrval.settings_file import read_mapping, validated
from drrval.study.executor import run_all
from drrval.study.fingerprint import code_digest, library_versions
from drrval.study.store import clear_unfinished, held_folder, is_new, write_json, write_text
from drrval.synthesis.coco import document
from drrval.synthesis.files import DENSITY_G_CM2, THICKNESS_CM
from drrval.synthesis.make import ANNOTATIONS, PATTERN, make_scan, read_record
from drrval.synthesis.masks import MASK_NAMES
from drrval.synthesis.scans import SourceScan, plan_scans
from drrval.synthesis.settings import SPLITS, SynthesisSettings
from drrval.synthesis.splits import assign_splits, check_leakage
from drrval.synthesis.truth import COLUMNS

_BOX_COLUMNS = ["image", "patient", "split", "x", "y", "width", "height", "side", "kind"]

log = logging.getLogger("drrval")


def load_synthesis(path: Path) -> SynthesisSettings:
    """Read and validate a synthesis file.

    Raises:
        StudyError: naming the file, each key, the value given and what is allowed.
    """
    return validated(SynthesisSettings, read_mapping(path, "synthesis file", "name, cohorts"), path)


def synthesize(
    settings: SynthesisSettings,
    out: Path,
    *,
    data_root: Path = Path(),
    jobs: int = 1,
    progress: bool | None = None,
) -> list[str]:
    """Make a set of labelled radiographs, or what is left of it.

    ``out`` gets ``images.csv`` (one row per image, see ``images.json``), ``boxes.csv``, ``annotations/*.json`` (COCO,
    one file per split), ``dataset.json`` (settings, seed, versions, meaning of the masks) and the images below
    ``cohort-*/sub-*/ses-*/``. The same settings give the same bytes whenever, and with as many jobs as, they are made.

    Args:
        settings: what to make.
        out: output folder; new, empty, or that of an earlier run of a set of this name. Finished scans are kept.
        data_root: folder that paths of the cohorts are relative to.
        jobs: scans worked on at the same time, each in a process of its own.
        progress: show a progress bar; by default when the output is a terminal.

    Returns:
        The scans that failed; ``logs/crash-*.txt`` says why.

    Raises:
        StudyError: a cohort or output folder that breaks a rule, a folder in which another run works, or splits that
            leak.
    """
    scans = plan_scans(settings, data_root)
    parts = assign_splits([scan.chests for scan in scans], settings.split, settings.seed)
    with held_folder(out):
        _claim(out, settings)
        clear_unfinished(out / "work")
        states = _make_all(scans, settings, out, jobs, progress)
        shutil.rmtree(out / "work", ignore_errors=True)
        done = [(scan, part) for scan, part in zip(scans, parts, strict=True) if states[scan.scan_id] != "failed"]
        n_images = _describe(done, settings, out)
    failed = [scan.scan_id for scan in scans if states[scan.scan_id] == "failed"]
    log.info("%d images of %d scans in %s, %d scans failed", n_images, len(done), out, len(failed))
    return failed


def _describe(done: list[tuple[SourceScan, str]], settings: SynthesisSettings, out: Path) -> int:
    """Write the tables and COCO files of the finished scans, each with its split; return the number of images.

    Raises:
        StudyError: splits that leak.
    """
    records = {scan.scan_id: read_record(out / scan.folder) for scan, _ in done}
    check_leakage(
        {scan.scan_id: part for scan, part in done},
        {scan.scan_id: scan.patient for scan, _ in done},
        {scan.scan_id: np.load(out / scan.folder / PATTERN) for scan, _ in done if not scan.is_procedural},
        {name: [image["sha256"] for image in record["images"]] for name, record in records.items()},
        settings.split.twin_correlation,
    )
    images = [
        (scan, {**image, "row": {**image["row"], "split": part}})
        for scan, part in done
        for image in records[scan.scan_id]["images"]
    ]
    _write_tables(out, [image for _, image in images])
    _write_coco(out, settings, done, [image for _, image in images])
    return len(images)


def _claim(out: Path, settings: SynthesisSettings) -> None:
    """Make sure that the output folder is new or holds this set, and describe the set.

    Raises:
        StudyError: it holds foreign files, or another set.
    """
    path = out / "dataset.json"
    if not path.exists() and not is_new(out):
        raise StudyError(f"The output folder {out} holds foreign files. Give a new or empty folder with --out.")
    if path.exists() and (name := json.loads(path.read_text(encoding="utf-8")).get("name")) != settings.name:
        raise StudyError(f"The output folder {out} holds the set {name!r}, not {settings.name!r}. Give another --out.")
    resolved = settings.model_dump(mode="json")
    write_json(
        path,
        {
            "name": settings.name,
            "seed": settings.seed,
            "settings_sha256": hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest(),
            "drrval": __version__,
            "code_sha256": code_digest(),
            "libraries": library_versions(),
            "mask_bits": {name: number for number, name in enumerate(MASK_NAMES)},
            "lesion_kinds": list(KINDS),
            "thickness_cm_per_grey_level": THICKNESS_CM,
            "density_g_cm2_per_grey_level": DENSITY_G_CM2,
            "settings": resolved,
        },
    )


def _make_all(
    scans: list[SourceScan], settings: SynthesisSettings, out: Path, jobs: int, progress: bool | None
) -> dict[str, str]:
    states = {}
    shown = sys.stderr.isatty() if progress is None else progress
    work = partial(make_scan, settings=settings, out=out)
    with tqdm(total=len(scans) * settings.views_per_scan, unit="image", disable=not shown) as bar:
        for scan, (state, message) in run_all(work, scans, jobs, _died):
            states[scan.scan_id] = state
            if state == "failed":
                log.error("%s failed: %s", scan.scan_id, message)
            bar.set_postfix_str(f"{scan.scan_id} {state}")
            bar.update(settings.views_per_scan)
    return states


def _died(_: SourceScan) -> tuple[str, str]:
    return "failed", "the worker process was killed, most likely for want of memory. Run again with a smaller --jobs."


def _write_tables(out: Path, images: list[dict[str, Any]]) -> None:
    rows = [image["row"] for image in images]
    boxes = [
        {"image": image["row"]["image"], "patient": image["row"]["patient"], "split": image["row"]["split"], **box}
        for image in images
        for box in image["boxes"]
    ]
    for name, table, columns in (("images.csv", rows, list(COLUMNS)), ("boxes.csv", boxes, _BOX_COLUMNS)):
        write_text(out / name, pd.DataFrame(table, columns=columns).to_csv(index=False, lineterminator="\n"))
    write_json(out / "images.json", {name: {"Description": text} for name, text in COLUMNS.items()})


def _write_coco(
    out: Path, settings: SynthesisSettings, done: list[tuple[SourceScan, str]], images: list[dict[str, Any]]
) -> None:
    """One COCO file per split; file names are relative to the set's folder."""
    found = [one for scan, _ in done for one in json.loads((out / scan.folder / ANNOTATIONS).read_text("utf-8"))]
    for split in SPLITS:
        chosen = [
            (image["row"], one) for image, one in zip(images, found, strict=True) if image["row"]["split"] == split
        ]
        entries = [
            {
                "file_name": row["image"],
                "height": row["rows"],
                "width": row["columns"],
                "patient": row["patient"],
                "view": row["view"],
            }
            for row, _ in chosen
        ]
        text = document(entries, [one for _, one in chosen], f"{settings.name}, {split}")
        write_text(out / "annotations" / f"{split}.json", json.dumps(text, separators=(",", ":")) + "\n")
