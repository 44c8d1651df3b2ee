"""A whole study: plan, score every scan, measure agreement, write the report."""

from __future__ import annotations

import datetime
import json
import logging
import platform
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from drrval import __version__
from drrval.errors import StudyError
from drrval.geometry import presets
from drrval.report.html import write_reports
from drrval.stats import agreement_table
from drrval.study.cohort import PlannedScan, plan_cohort
from drrval.study.config import Study, load_study
from drrval.study.executor import run_all
from drrval.study.fingerprint import code_digest, library_versions, scan_key
from drrval.study.measurements import DICTIONARY, to_table, to_tsv
from drrval.study.scan import Record, failed_record, finished_record, run_scan
from drrval.study.scorers import load_ct_scorer, load_cxr_scorer
from drrval.study.store import clear_unfinished, write_json, write_text

log = logging.getLogger("drrval")


def run_study(
    study_file: Path,
    *,
    out: Path | None = None,
    data_root: Path | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    reports_only: bool = False,
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
        reports_only: rebuild tables, figures and pages from finished scans; no CT is read.
        progress: show a progress bar; by default when the output is a terminal.
        command: the command line, for the log.

    Returns:
        0 when every scan and the report are fine, 1 when some scan failed.

    Raises:
        StudyError: a study file, cohort or output folder that breaks a rule.
        ScorerError: a scorer that cannot be made, or does not accept a view of the study.
    """
    study = load_study(study_file)
    scans = plan_cohort(study.cohort, data_root or study_file.parent)
    folder = out or Path(study.output.folder or Path("out") / study.name)
    _check_scorers(study)
    if dry_run:
        print(_plan_text(study, scans, folder))  # noqa: T201
        return 0
    _refuse_foreign_folder(folder, study)
    _start_log(folder)
    log.info("%s: %d scans, output in %s", study.name, len(scans), folder)
    for view in study.views:
        if warning := presets()[study.preset(view)].warning:
            log.warning("%s, preset %s: %s", view, study.preset(view), warning)
    if reports_only:
        records = [_kept_record(scan, study, folder) for scan in scans]
    else:
        clear_unfinished(folder / "work")
        _write_provenance(study, scans, folder, command)
        records = _score_all(study, scans, folder, jobs, progress)
    _write_results(study, scans, records, folder)
    write_reports(folder)
    failed = [r for r in records if r["status"] != "ok"]
    for record in failed:
        log.error("%s failed: %s", record["scan_id"], record["message"])
    log.info(
        "%d of %d scans ok; report: %s; exit code %d",
        len(records) - len(failed),
        len(records),
        folder / "index.html",
        bool(failed),
    )
    return 1 if failed else 0


def _check_scorers(study: Study) -> None:
    """Fail before any work if a scorer cannot be made or does not take a view."""
    for spec in study.scorers.ct:
        load_ct_scorer(spec)
    for spec in study.scorers.cxr:
        accepted = load_cxr_scorer(spec).contract.views
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
        f"CT        {', '.join(s.use for s in study.scorers.ct)} (reference: {study.scorers.reference_name})",
        f"CXR       {', '.join(s.use for s in study.scorers.cxr) or 'none'}",
        f"scans     {len(scans)}",
    ]
    for scan in scans:
        missing = scan.recipe is None and (scan.path is None or not scan.path.exists())
        state = "MISSING" if missing else "done" if finished_record(scan, folder, scan_key(scan, study)) else "to do"
        lines.append(f"  {scan.scan_id:<32} {scan.date or '-':<11} {state:<8} {scan.source}")
    return "\n".join(lines)


def _refuse_foreign_folder(folder: Path, study: Study) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StudyError(f"The output {folder} is a file. Give a folder with --out.")
    description = folder / "dataset_description.json"
    if any(folder.iterdir()) and not description.exists():
        raise StudyError(f"The output folder {folder} holds foreign files. Give a new or empty folder with --out.")
    if description.exists():
        name = json.loads(description.read_text(encoding="utf-8")).get("Name")
        if name != study.name:
            raise StudyError(
                f"The output folder {folder} belongs to the study {name!r}, not {study.name!r}. "
                "Give another with --out."
            )


def _start_log(folder: Path) -> None:
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    for handler in [h for h in log.handlers if isinstance(h, logging.FileHandler)]:
        log.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(folder / "logs" / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _write_provenance(study: Study, scans: list[PlannedScan], folder: Path, command: str) -> None:
    write_json(
        folder / "dataset_description.json",
        {
            "Name": study.name,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "drrval", "Version": __version__, "CodeSHA256": code_digest()}],
        },
    )
    planned = [{"scan_id": s.scan_id, "folder": s.folder.as_posix(), "source": s.source} for s in scans]
    write_json(folder / "logs" / "study.json", {**study.resolved(), "scans": planned})
    started = datetime.datetime.now(datetime.UTC)
    write_json(
        folder / "logs" / f"run-{started:%Y%m%dT%H%M%S.%fZ}.json",
        {
            "command": command or " ".join(sys.argv),
            "started": started.isoformat(),
            "drrval": __version__,
            "code_sha256": code_digest(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "libraries": library_versions(),
            "study_seed": study.seed,
        },
    )


def _score_all(study: Study, scans: list[PlannedScan], folder: Path, jobs: int, progress: bool | None) -> list[Record]:
    work = partial(run_scan, study=study, out=folder)
    death = partial(_died, study=study, out=folder)
    records: dict[str, Record] = {}
    shown = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=len(scans), unit="scan", disable=not shown) as bar:
        for scan, (record, state) in run_all(work, scans, jobs, death):
            records[scan.scan_id] = record
            log.info("%s %s (key %s)", scan.scan_id, state, record["key"][:12])
            bar.set_postfix_str(f"{scan.scan_id} {state}")
            bar.update()
    return [records[scan.scan_id] for scan in scans]


def _died(scan: PlannedScan, study: Study, out: Path) -> tuple[Record, str]:
    message = "The worker process was killed, most likely for want of memory. Run again with a smaller --jobs."
    return failed_record(scan, study, out, message, message), "failed"


def _kept_record(scan: PlannedScan, study: Study, folder: Path) -> Record:
    path = folder / scan.folder / "scan.json"
    try:
        kept: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"No finished result in {path.parent}. Run the study without --reports-only."
        return failed_record(scan, study, folder, message, message)
    return kept


def _write_results(study: Study, scans: list[PlannedScan], records: list[Record], folder: Path) -> None:
    results = folder / "results"
    table = to_table([row for record in records for row in record["measurements"]])
    write_text(results / "measurements.tsv", to_tsv(table))
    write_json(results / "measurements.json", DICTIONARY)
    write_json(
        results / "agreement.json", agreement_table(table, study.scorers.reference_name, study.statistics.exclude_flags)
    )
    write_text(
        results / "intake.tsv",
        to_tsv(pd.DataFrame([_intake_row(s, r) for s, r in zip(scans, records, strict=True)])),
    )
    truths = [
        {"subject": r["subject"], "session": r["session"], "date": r["date"], **r["truth"]}
        for r in records
        if "truth" in r
    ]
    if truths:
        write_text(results / "truth.tsv", to_tsv(pd.DataFrame(truths)))


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
