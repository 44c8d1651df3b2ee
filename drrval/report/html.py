"""Pages of a study: one for the group, one per subject. They open offline and load nothing."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from drrval.report.agreement import draw_results, headline_table
from drrval.report.ct_scorers import disagreements_by_scan, draw_ct_scorers, flagged_scan
from drrval.report.embed import png_data_uri
from drrval.report.inputs import read_output
from drrval.report.methods import methods_text
from drrval.report.text import (
    accuracy_text,
    count,
    interval_text,
    number,
    p_text,
    plain,
    scan_link,
    subject_page,
)

PICTURE_WIDTH, OVERVIEW_WIDTH = 640, 1200


def write_reports(out: Path) -> list[Path]:
    """Write ``index.html``, a page per subject and the figure files of a study's output folder.

    Reads only files under ``out`` (no CT): ``dataset_description.json``, ``logs/study.json``,
    ``results/measurements.tsv``, ``results/agreement.json``, ``results/ct_scorers.json``, ``results/acceptance.json``,
    ``results/intake.tsv``
    and each planned ``sub-*/ses-*/scan.json`` with its pictures. The same files give the same bytes.

    Args:
        out: output folder of ``drrval run-study``.

    Returns:
        Paths of all pages and figures written.

    Raises:
        StudyError: one of those files is missing or damaged.
    """
    output = read_output(out)
    results, written = draw_results(output)
    ct_scorers, ct_files = draw_ct_scorers(output)
    written += ct_files
    found = disagreements_by_scan(output.ct_scorers)
    scans = [flagged_scan(scan, found, output.ct_scorers["reference"]) for scan in output.scans]
    subjects = [(name, list(group)) for name, group in groupby(scans, key=lambda scan: scan["subject"])]
    environment = _environment()
    common = {"study": output.study, "dataset": output.dataset, "generator": _generator(output.dataset)}
    names = [name for name, _ in subjects]
    for place, (name, group) in enumerate(subjects):
        page = environment.get_template("subject.html.j2").render(
            **common,
            subject=name,
            scans=[_scan_context(out, scan) for scan in group],
            previous=names[place - 1] if place else None,
            following=names[place + 1] if place + 1 < len(names) else None,
        )
        written.append(_write(out / f"sub-{name}.html", page))
    index = environment.get_template("index.html.j2").render(
        **common,
        results=results,
        headlines=headline_table(results),
        level=output.agreement["settings"]["level"],
        n_resamples=output.agreement["settings"]["n_resamples"],
        acceptance=output.acceptance,
        notes=_notes(results),
        reference=output.agreement.get("reference"),
        definitions=output.agreement.get("definitions", {}),
        ct_scorers=ct_scorers,
        ct_headlines=headline_table(ct_scorers, ("regression", "agreement")),
        disagreements=output.ct_scorers["disagreements"],
        n_disagreeing=len(found),
        disagreement_points=output.ct_scorers["disagreement_points"],
        scans=[{**scan, "flags": _all_flags(scan)} for scan in scans],
        failed=[scan for scan in scans if scan["status"] != "ok"],
        n_subjects=len(subjects),
        intake=output.intake.astype(object).where(output.intake.notna(), None),
        methods=methods_text(output.study),
    )
    written.append(_write(out / "index.html", index))
    for stale in set(out.glob("sub-*.html")) - set(written):  # of a patient who is no longer in the study
        stale.unlink()
    return written


def _notes(results: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Each note once, with the results it belongs to."""
    notes: dict[str, list[str]] = {}
    for row in results:
        if row.get("note"):
            notes.setdefault(row["note"], []).append(f"{row['view']} {row['scorer']}")
    return list(notes.items())


def _scan_context(out: Path, scan: dict[str, Any]) -> dict[str, Any]:
    folder = f"sub-{scan['subject']}/ses-{scan['session']}"
    views = {
        view: {**content, "pictures": _pictures(out, folder, content.get("pictures", []), PICTURE_WIDTH)}
        for view, content in (scan.get("views") or {}).items()
    }
    pictures = _pictures(out, folder, scan.get("pictures") or [], OVERVIEW_WIDTH)
    rows = scan.get("measurements") or []
    return {**scan, "pictures": pictures, "views": views, "measurements": rows, "intake": scan.get("intake") or {}}


def _pictures(out: Path, folder: str, pictures: list[dict[str, str]], width: int) -> list[dict[str, str | None]]:
    """Pictures as data addresses; one that cannot be read gets no source, and the page says so."""
    shown: list[dict[str, str | None]] = []
    for picture in pictures:
        relative = f"{folder}/{picture['file']}"
        try:
            source = png_data_uri(out / relative, width)
        except OSError:
            source = None
        shown.append({"src": source, "file": relative, "caption": picture.get("caption", "")})
    return shown


def _all_flags(scan: dict[str, Any]) -> list[str]:
    """Flags of the scan, and of each view with the view's name before them."""
    flags = list(scan.get("flags") or [])
    for view, content in (scan.get("views") or {}).items():
        flags += [f"{view}: {flag}" for flag in content.get("flags") or []]
    return flags


def _generator(dataset: dict[str, Any]) -> str:
    """Name and version of what made the output (BIDS ``GeneratedBy``)."""
    made_by = dataset.get("GeneratedBy") or [{}]
    return " ".join(str(made_by[0][key]) for key in ("Name", "Version") if made_by[0].get(key))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("drrval.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "p": p_text,
        "plain": plain,
        "accuracy": accuracy_text,
        "interval": interval_text,
    }
    environment.globals |= {"count": count, "scan_link": scan_link, "subject_page": subject_page}
    return environment


def _write(path: Path, page: str) -> Path:
    """Write a page in one step, so that a reader never meets half of one."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(page, encoding="utf-8")
    os.replace(unfinished, path)
    return path
