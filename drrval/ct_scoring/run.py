"""Scoring many CT scans: plan, score each, write the tables."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drrval import __version__
from drrval.ct_scoring.dicom_seg import MISSING, highdicom_version
from drrval.ct_scoring.one import CONTROL, SLICES, Record, failed_record, score_scan
from drrval.ct_scoring.scans import CTScan, plan_scans
from drrval.ct_scoring.tables import SCAN_SLICE_DICTIONARY, SCORE_DICTIONARY, joined_slices, scores_text
from drrval.errors import StudyError
from drrval.report.text import number
from drrval.study.config import ScorerSpec
from drrval.study.executor import run_all
from drrval.study.fingerprint import code_digest, library_versions
from drrval.study.scorer_cache import ct_scorer
from drrval.study.store import clear_unfinished, held_folder, is_new, write_json, write_text

DESCRIPTION = "score-ct.json"

log = logging.getLogger("drrval")


def score_cts(
    paths: Iterable[Path],
    out: Path,
    *,
    scorer: str = "corona",
    series_uid: str = "",
    jobs: int = 1,
    progress: bool | None = None,
) -> list[str]:
    """Score CT scans, or those that an earlier run has not finished.

    ``out`` gets ``scores.tsv`` and ``slices.tsv`` of the scans of this call (see ``scores.json`` and ``slices.json``
    for the columns) and, per scan, a folder with label maps, a DICOM segmentation and a picture.

    Args:
        paths: DICOM folders, volume files, or folders of such scans.
        out: output folder; new, empty, or that of an earlier run with the same scorer. Finished scans are kept.
        scorer: CT scorer by entry-point name or ``module:attribute``.
        series_uid: DICOM series to take where a folder holds several; empty: intake chooses.
        jobs: scans scored at the same time, each in a process of its own.
        progress: show a progress bar; by default when the output is a terminal.

    Returns:
        The scans that failed, or have no ratio of both lungs; ``scores.tsv`` says why.

    Raises:
        StudyError: no scan, a path that does not exist, an output folder that breaks a rule, or one in which another
            run works.
        ScorerError: the scorer cannot be made.
    """
    ct_scorer(ScorerSpec(use=scorer))
    with held_folder(out):
        _check_folder(out, scorer)
        scans = plan_scans(paths, out, series_uid)
        if not scans:
            raise StudyError(
                "No CT was given, or only files of the output folder. Name scans, or folders that hold some."
            )
        write_json(out / DESCRIPTION, _description(scorer))
        clear_unfinished(out / "work")
        if highdicom_version() is None:
            log.warning("note: %s", MISSING)
        records = _score_all(scans, scorer, out, jobs, progress)
        shutil.rmtree(out / "work", ignore_errors=True)
        status = {record["row"]["scan"]: record["row"]["status"] for record in records}
        done = [label for label, state in status.items() if state != "failed"]
        write_text(out / "scores.tsv", scores_text(record["row"] for record in records))
        write_text(out / "slices.tsv", joined_slices(out / label / SLICES for label in done))
        write_json(out / "scores.json", SCORE_DICTIONARY)
        write_json(out / "slices.json", SCAN_SLICE_DICTIONARY)
        scored = list(status.values()).count("ok")
        incomplete = f" ({len(done) - scored} more without a ratio of both lungs)" if scored < len(done) else ""
        log.info("%d of %d scans scored%s; tables and pictures in %s", scored, len(records), incomplete, out)
        return [label for label, state in status.items() if state != "ok"]


def _check_folder(out: Path, scorer: str) -> None:
    """Make sure that results of this scorer can go to the output folder.

    Raises:
        StudyError: it holds foreign files or the results of another scorer.
    """
    path = out / DESCRIPTION
    if not path.exists() and not is_new(out):
        raise StudyError(f"The output folder {out} holds foreign files. Give a new or empty folder with --out.")
    if path.exists() and (earlier := json.loads(path.read_text(encoding="utf-8")).get("scorer")) != scorer:
        raise StudyError(
            f"The output folder {out} holds results of the scorer {earlier!r}, not {scorer!r}. Give another --out."
        )


def _description(scorer: str) -> dict[str, Any]:
    """What made the results: scorers, code and libraries."""
    return {
        "drrval": __version__,
        "scorer": scorer,
        "control": CONTROL,
        "code_sha256": code_digest(),
        "libraries": {**library_versions(), "highdicom": highdicom_version()},
    }


def _score_all(scans: list[CTScan], scorer: str, out: Path, jobs: int, progress: bool | None) -> list[Record]:
    records: dict[str, Record] = {}
    shown = sys.stderr.isatty() if progress is None else progress
    work = partial(score_scan, scorer=scorer, out=out)
    with tqdm(total=len(scans), unit="scan", disable=not shown) as bar:
        for scan, (record, state) in run_all(work, scans, jobs, partial(_died, scorer=scorer)):
            records[scan.label] = record
            _tell(record, state)
            bar.set_postfix_str(f"{scan.label} {state}")
            bar.update()
    return [records[scan.label] for scan in scans]


def _tell(record: Record, state: str) -> None:
    row = record["row"]
    if state == "failed":
        log.error("%s failed: %s", row["scan"], row["message"])
        return
    repaired = " (repaired)" if row["intake"] == "repaired" else ""
    log.info(
        "%s %s%s: ratio %s %% (right %s, left %s; opacity %s), %s s%s",
        row["scan"],
        state,
        repaired,
        *(number(row[f"ratio{side}_percent"], 1) for side in ("", "_right", "_left")),
        number(row["opacity_ratio_percent"], 1),
        number(row["seconds"], 1),
        f", flags {row['flags']}" if row["flags"] else "",
    )
    if row["status"] == "incomplete":
        log.error("%s INCOMPLETE: %s", row["scan"], row["message"])
    for note in record["notes"]:
        log.warning("note: %s", note)


def _died(scan: CTScan, scorer: str) -> tuple[Record, str]:
    message = "The worker process was killed, most likely for want of memory. Run again with a smaller --jobs."
    return failed_record(scan, scorer, f"{scan.path}: {message}"), "failed"
