"""A whole study: plan, score every scan, measure agreement, write the report."""

from __future__ import annotations

import json
import logging
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from drrval.errors import StudyError
from drrval.geometry import presets
from drrval.report.html import write_reports
from drrval.stats import agreement_document, agreement_table, evaluate
from drrval.stats.acceptance import all_met
from drrval.stats.ct_scorers import ct_scorers_document, ct_scorers_table, flag_disagreements
from drrval.study.cohort import PlannedScan, plan_cohort
from drrval.study.config import Study, load_study
from drrval.study.fingerprint import input_sha256, scan_key, study_sha256
from drrval.study.measurements import DICTIONARY, to_table, to_tsv
from drrval.study.provenance import claim_folder, finished_plan, start_log, write_run, write_scans, write_study
from drrval.study.records import Record, finished_record, latest_record
from drrval.study.scan import run_scan
from drrval.study.scan_loop import log_failures, make_importable, work_through
from drrval.study.scorer_cache import ct_scorer, cxr_scorer
from drrval.study.store import clear_unfinished, held_folder, write_json, write_text

EXIT_CRITERIA = 3

log = logging.getLogger("drrval")


def run_study(
    study_file: Path,
    *,
    out: Path | None = None,
    data_root: Path | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    reports_only: bool = False,
    enforce: bool = False,
    progress: bool | None = None,
    command: str = "",
) -> int:
    """Run a study, or what is left of it.

    Args:
        study_file: the YAML file.
        out: output folder; by default the study's ``output.folder``, else ``out/NAME``.
        data_root: folder that paths of the cohort are relative to; by default the study file's folder.
        jobs: scans worked on at the same time, each in a process of its own.
        dry_run: print the plan and stop.
        reports_only: rebuild tables, figures and pages of a study that has run; no CT is read.
        enforce: let the acceptance criteria decide the result too.
        progress: show a progress bar; by default when the output is a terminal.
        command: the command line, for the log.

    Returns:
        0 when every scan and the report are fine, 1 when some scan or the report failed; with ``enforce``, 3 when all
        are fine but an acceptance criterion is not met (one that cannot be computed is not).

    Raises:
        StudyError: a study file, cohort or output folder that breaks a rule, or a folder in which another run works.
        ScorerError: a scorer that cannot be made.
    """
    study = load_study(study_file)
    if enforce and not study.acceptance:
        raise StudyError(
            f"{study_file} states no acceptance criteria, so there is nothing to enforce. Add some, such as "
            "acceptance: [{number: pearson_r, at_least: 0.7}], or leave out --enforce."
        )
    make_importable(study_file)
    folder = out or Path(study.output.folder or Path("out") / study.name)
    scans = finished_plan(study, folder) if reports_only else plan_cohort(study.cohort, data_root or study_file.parent)
    if not reports_only:
        check_scorers(study)
    if dry_run:
        plan = _plan_text(study, scans, folder)
        print(plan)  # noqa: T201
        return 1 if " MISSING " in plan else 0
    with held_folder(folder):
        claim_folder(folder, study)
        handler = start_log(log, folder)
        try:
            log.info("%s: %d scans, output in %s", study.name, len(scans), folder)
            _warn_of_presets(study)
            write_study(study, scans, folder)
            if reports_only:
                records = [_kept_record(scan, folder) for scan in scans]
            else:
                clear_unfinished(folder / "work")
                write_run(study, folder, command)
                work = partial(run_scan, study=study, out=folder)
                records = work_through(work, scans, study, folder, jobs, progress)
                write_scans(records, folder)
            return _finish(study, scans, records, folder, enforce)
        finally:
            log.removeHandler(handler)
            handler.close()


def check_scorers(study: Study) -> None:
    """Fail before any work if a scorer cannot be made or does not take a view."""
    for spec in study.scorers.ct:
        ct_scorer(spec)
    for spec in study.scorers.cxr:
        accepted = cxr_scorer(spec).contract.views
        refused = [view for view in study.views if view not in accepted]
        if refused:
            raise StudyError(
                f"scorers.cxr: {spec.use!r} accepts views {list(accepted)}, not {refused}. "
                "Leave out the view or the scorer."
            )


def _plan_text(study: Study, scans: list[PlannedScan], folder: Path) -> str:
    lines = [
        f"study     {study.name}",
        f"output    {folder}",
        f"views     {', '.join(f'{v} ({study.preset(v)})' for v in study.views)}",
        f"CT        {', '.join(s.label for s in study.scorers.ct)} (reference: {study.scorers.reference_name})",
        f"CXR       {', '.join(s.label for s in study.scorers.cxr) or 'none'}",
        f"scans     {len(scans)}",
    ]
    for scan in scans:
        if scan.recipe is None and (scan.path is None or not scan.path.exists()):
            state = "MISSING"
        else:
            done = finished_record(scan, folder, scan_key(scan, study, input_sha256(scan)))
            state = "done" if done else "to do"
        lines.append(f"  {scan.scan_id:<32} {scan.date or '-':<11} {state:<8} {scan.source}")
    return "\n".join(lines)


def _warn_of_presets(study: Study) -> None:
    for view in study.views:
        if warning := presets()[study.preset(view)].warning:
            log.warning("%s, preset %s: %s", view, study.preset(view), warning)


def _kept_record(scan: PlannedScan, folder: Path) -> Record:
    record = latest_record(scan, folder)
    if record is None:
        raise StudyError(f"{folder / scan.folder} holds no result of {scan.source}. Run without --reports-only.")
    return record


def _finish(study: Study, scans: list[PlannedScan], records: list[Record], folder: Path, enforce: bool) -> int:
    """Write results and report; say what failed; return the exit code."""
    outcomes = _write_results(study, scans, records, folder)
    n_failed = log_failures(records)
    try:
        write_reports(folder)
        report = str(folder / "index.html")
    except Exception as error:  # the measurements are safe by now, and the exit code says that something is missing
        write_text(folder / "logs" / "crash-report.txt", traceback.format_exc())
        log.error("the report failed: %s: %s (see logs/crash-report.txt)", type(error).__name__, error)
        report = "failed"
    for outcome in outcomes:
        log.info("acceptance: %s, %s %s: %s", *(outcome[key] for key in ("criterion", "view", "scorer", "outcome")))
    code = 1 if n_failed or report == "failed" else EXIT_CRITERIA if enforce and not all_met(outcomes) else 0
    log.info("%d of %d scans ok; report: %s; exit code %d", len(records) - n_failed, len(records), report, code)
    return code


def _write_results(study: Study, scans: list[PlannedScan], records: list[Record], folder: Path) -> list[dict[str, Any]]:
    """Write the result tables; return the outcomes of the acceptance criteria."""
    results = folder / "results"
    reference, points = study.scorers.reference_name, study.statistics.ct_disagreement_points
    table = to_table([row for record in records for row in record["measurements"]])
    table = flag_disagreements(table, reference, points)
    agreement = agreement_document(table, reference, study.statistics.exclude_flags, study.comparison())
    ct_scorers = ct_scorers_document(table, reference, points, study.statistics.exclude_flags, study.comparison())
    outcomes = evaluate([stated.criterion() for stated in study.acceptance], agreement["results"])
    intake = pd.DataFrame([_intake_row(s, r) for s, r in zip(scans, records, strict=True)])
    write_text(results / "measurements.tsv", to_tsv(table))
    write_json(results / "measurements.json", DICTIONARY)
    write_json(results / "agreement.json", agreement)
    write_text(results / "agreement_table.tsv", to_tsv(agreement_table(agreement)))
    write_json(results / "ct_scorers.json", ct_scorers)
    write_text(results / "ct_scorers_table.tsv", to_tsv(ct_scorers_table(ct_scorers)))
    write_json(
        results / "acceptance.json",
        {
            "study_sha256": study_sha256(study),
            "all_met": all_met(outcomes) if outcomes else None,
            "outcomes": outcomes,
        },
    )
    write_text(results / "intake.tsv", to_tsv(intake))
    truths = [
        {"subject": r["subject"], "session": r["session"], "date": r["date"], **r["truth"]}
        for r in records
        if "truth" in r
    ]
    if truths:
        write_text(results / "truth.tsv", to_tsv(pd.DataFrame(truths)))
    return outcomes


def _intake_row(scan: PlannedScan, record: Record) -> dict[str, Any]:
    intake = record["intake"]
    findings = "; ".join(f"{f['rule']} ({f['outcome']}): {f['message']}" for f in intake["findings"])
    facts = {
        k: v if isinstance(v, int | float | str) else json.dumps(v)
        for k, v in intake["facts"].items()
        if v not in (None, "")
    }
    return {
        "subject": scan.subject,
        "session": scan.session,
        "source": scan.source,
        "status": intake["status"],
        "findings": findings or None,
        **facts,
    }
