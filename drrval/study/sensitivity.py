"""Sensitivity of a study's radiograph scores: every scan rendered anew with one factor of image formation changed.

The CT is read, positioned and scored once per scan; the views are rendered, and scored by the study's own radiograph
scorers, under each of :func:`drrval.study.sweep.conditions`. What comes out is in
:mod:`drrval.study.sensitivity_results`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cxr_models.contract import CXRScore
from drrval.errors import ScorerError, StudyError
from drrval.intake import read_ct
from drrval.radiograph import Radiograph
from drrval.rendering import Patient, position, render
from drrval.study.cohort import PlannedScan, plan_cohort
from drrval.study.config import Study, load_study
from drrval.study.fingerprint import noise_seed
from drrval.study.provenance import claim_folder, start_log, write_run, write_scans, write_study
from drrval.study.records import Record
from drrval.study.run import check_scorers
from drrval.study.scan import input_path
from drrval.study.scan_loop import finish_scan, log_failures, make_importable, work_through
from drrval.study.scorer_cache import ct_scorer, cxr_scorer
from drrval.study.scorers import project_anatomy, score_ct, score_radiograph
from drrval.study.sensitivity_results import write_results
from drrval.study.store import clear_unfinished, held_folder
from drrval.study.sweep import Condition, SensitivitySettings, conditions, load_sweep

log = logging.getLogger("drrval")

MEASURES = ("ratio_percent", "p_pneumonia", "score", "severity")


def run_sensitivity(
    study_file: Path,
    *,
    sweep_file: Path | None = None,
    n_scans: int | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    jobs: int = 1,
    progress: bool | None = None,
    command: str = "",
) -> int:
    """Sweep the settings of a study, or what is left of the sweep, and write the error budget.

    Args:
        study_file: the study's YAML file.
        sweep_file: YAML file with the levels, see :class:`drrval.study.sweep.SensitivitySettings`; by default its own.
        n_scans: sweep this many scans, spread evenly over the sorted cohort; by default all.
        out: output folder; by default ``out/NAME-sensitivity``.
        data_root: folder that paths of the cohort are relative to; by default the study file's folder.
        jobs: scans worked on at the same time, each in a process of its own.
        progress: show a progress bar; by default when the output is a terminal.
        command: the command line, for the log.

    Returns:
        0 when every scan and table is fine, 1 when some scan failed.

    Raises:
        StudyError: a study file, sweep file, cohort or output folder that breaks a rule, or a folder in which another
            run works.
        ScorerError: a scorer that cannot be made.
    """
    study = load_study(study_file)
    sweep = load_sweep(sweep_file)
    make_importable(study_file)
    scans = _spread(plan_cohort(study.cohort, data_root or study_file.parent), n_scans)
    if not study.scorers.cxr:
        raise StudyError(f"{study_file} names no radiograph scorer, so nothing can shift. List one under scorers.cxr.")
    check_scorers(study)
    renders = sum(len(conditions(study, sweep, scans[0].scan_id, view)) for view in study.views)
    # The name keeps the folder apart from that of the study's own results, which has files of the same names.
    study = study.model_copy(update={"name": f"{study.name}-sensitivity"})
    folder = out or Path("out") / study.name
    with held_folder(folder):
        claim_folder(folder, study)
        handler = start_log(log, folder)
        try:
            log.info("%s: %d scans of %d renders, output in %s", study.name, len(scans), renders, folder)
            write_study(study, scans, folder)
            write_run(study, folder, command)
            clear_unfinished(folder / "work")
            work = partial(sweep_scan, study=study, sweep=sweep, out=folder)
            records = work_through(work, scans, study, folder, jobs, progress)
            write_scans(records, folder)
            write_results(study, sweep, records, folder)
            return _end(records, folder)
        finally:
            log.removeHandler(handler)
            handler.close()


def sweep_scan(scan: PlannedScan, study: Study, sweep: SensitivitySettings, out: Path) -> tuple[Record, str]:
    """Sweep one scan, or take the finished result of an earlier run: see :func:`drrval.study.scan_loop.finish_scan`.

    The record's ``sweep`` holds one row per condition, view, scorer and measure.
    """
    fill = partial(_process, scan, study, sweep, out)
    return finish_scan(scan, study, out, fill, sweep.model_dump_json())


def _spread(scans: list[PlannedScan], n_scans: int | None) -> list[PlannedScan]:
    """So many scans, evenly spread over the cohort, in its order."""
    if n_scans is None or n_scans >= len(scans):
        return scans
    return [scans[i] for i in np.linspace(0, len(scans) - 1, n_scans).round().astype(int)]


def _process(
    scan: PlannedScan, study: Study, sweep: SensitivitySettings, out: Path, _folder: Path, record: Record
) -> None:
    """Fill the scan's record."""
    ct = read_ct(input_path(scan, out, record), series_uid=scan.series_uid or None)
    patient = position(ct, study.materials)
    reference = next(spec for spec in study.scorers.ct if spec.label == study.scorers.reference_name)
    anatomy = score_ct(ct_scorer(reference), ct)
    scorers = {spec.label: cxr_scorer(spec) for spec in study.scorers.cxr}
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}  # message -> where it came first
    for view in study.views:
        record["views"][view] = {"seed": noise_seed(study.seed, scan.scan_id, view)}
        nominal = None
        for condition in conditions(study, sweep, scan.scan_id, view):
            drr = _render(patient, study, view, condition)
            projected = project_anatomy(anatomy, ct.grid, drr) if nominal is None or condition.moves else nominal
            nominal = nominal or projected
            for label, scorer in scorers.items():
                try:
                    score = score_radiograph(scorer, drr, projected)
                except ScorerError as error:  # the other values are kept
                    failures.setdefault(str(error), f"{condition.factor} {condition.level}")
                    score = CXRScore(math.nan)
                rows += _rows(condition, view, label, score)
    record["sweep"] = rows
    record["message"] = " ".join(f"At {where}: {error}" for error, where in failures.items())


def _render(patient: Patient, study: Study, view: str, condition: Condition) -> Radiograph:
    return render(
        replace(patient, materials=condition.materials),
        geometry=condition.geometry(view, study.preset(view), patient.centre_mm),
        spectrum=condition.spectrum,
        scatter=condition.scatter,
        detector=condition.detector,
        display=study.display,
        seed=condition.seed,
    )


def _rows(condition: Condition, view: str, scorer: str, score: CXRScore) -> Iterator[dict[str, Any]]:
    for measure in MEASURES:
        value = float(getattr(score, measure))
        yield {
            "factor": condition.factor,
            "level": condition.level,
            "view": view,
            "scorer": scorer,
            "measure": measure,
            "value": None if math.isnan(value) else value,
        }


def _end(records: list[Record], folder: Path) -> int:
    """Say what failed; return the exit code."""
    n_failed = log_failures(records)
    code = 1 if n_failed else 0
    log.info("%d of %d scans ok; results in %s; exit code %d", len(records) - n_failed, len(records), folder, code)
    return code
