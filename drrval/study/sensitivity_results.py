"""What a sensitivity sweep leaves behind: its table, the error budget, the precision, figures and definitions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drrval import __version__
from drrval.report.figures import error_budget_figure, save_figure
from drrval.report.text import count
from drrval.stats.error_budget import BUDGET_COLUMNS, NOMINAL, SWEEP_COLUMNS, TOTAL, error_budget, level_shifts
from drrval.stats.paired import Analysis, analysis_table
from drrval.stats.precision import minimal_detectable_change, repeatability
from drrval.stats.resampling import Interval
from drrval.study.config import Study
from drrval.study.fingerprint import code_digest, library_versions
from drrval.study.measurements import DICTIONARY, to_tsv
from drrval.study.records import Record
from drrval.study.store import write_json, write_text
from drrval.study.sweep import FACTORS, NOISE, SETUP, SensitivitySettings

log = logging.getLogger("drrval")

COLUMNS = ("factor", "level", "subject", "session", "view", "scorer", "measure", "value")
_GROUP = ["view", "scorer", "measure"]
_MEASURES = {
    "ratio_percent": ("pneumonia ratio", "%"),
    "p_pneumonia": ("p(pneumonia)", ""),
    "score": ("score", ""),
    "severity": ("severity", ""),
}
_LEVEL_COLUMNS = ["factor", "level", "n_scans", "mean", "sd"]
_REPEATS = {NOISE: (NOMINAL, NOISE), SETUP: (SETUP,)}  # which factors' rows are repeats of one condition

_DEFINITIONS = {
    "value": "What the scorer gave: ratio_percent (0-100 %), p_pneumonia (0-1), score or severity (0-8); see measure. "
    "n/a: none.",
    "shift": "Value at a level minus the value of the same scan at the study's own settings.",
    "bias": "Mean shift over the levels of a factor and the scans.",
    "sd": "Root of the variance of a scan's values over the levels of a factor, the nominal one included (n - 1), "
    "averaged over scans.",
    "total": "Root sum of squares of the factors' sd, the factors taken as independent (JCGM 100:2008, 5.1.2).",
    "variance_share": "A factor's part of the total variance.",
    "intervals": "95 %, bootstrap of patients for the budget and within_sd_by_patient, chi-square for the precision.",
    "repeats": "noise: renders of one scan that differ in the seed of the noise only. setup: renders with a new pose, "
    "exposure and noise.",
    "within_sd": "Within-subject standard deviation of the repeats (one-way analysis of variance over scans).",
    "repeatability_coefficient": "1.96 sqrt(2) within_sd: 95 % of the differences of two repeats are smaller.",
    "minimal_detectable_change": "Smallest change between two single measurements that exceeds the error of the "
    "repeats with 95 % confidence; the same number.",
    "seeds": "One-factor levels have the seed of the nominal image. Repeat k of a view V has the seed of "
    "SHA-256(study seed|scan|V|noise k), or setup k: its first 8 bytes without the last bit.",
    "display": "A fixed display without a stated window follows the beam, the grid and the scatter settings of the "
    "level, as a console that is set up for them.",
}


def write_results(study: Study, sweep: SensitivitySettings, records: list[Record], folder: Path) -> None:
    """Write the tables, ``sensitivity.json`` and ``figures/`` of a sweep into its output folder.

    Args:
        study, sweep: what was asked for; the study's seed is that of the bootstrap.
        records: of :func:`drrval.study.sensitivity.sweep_scan`.
        folder: the output folder.
    """
    table = sweep_table(records)
    groups = list(_complete_groups(table))
    budgets = [(key, budget_table(rows, study.seed)) for key, rows, _ in groups]
    levels = [(key, level_shifts(_budget_rows(rows))) for key, rows, _ in groups]
    precision = [(key, precision_table(rows, study.seed)) for key, rows, _ in groups]
    write_text(folder / "sensitivity.tsv", to_tsv(table))
    write_text(folder / "error_budget.tsv", to_tsv(_stacked(budgets, BUDGET_COLUMNS)))
    write_text(folder / "level_shifts.tsv", to_tsv(_stacked(levels, _LEVEL_COLUMNS)))
    write_text(folder / "precision.tsv", to_tsv(_stacked(precision, list(analysis_table([]).columns))))
    missing = [{**key, "n_missing": n_missing} for key, _, n_missing in groups if n_missing]
    write_json(folder / "sensitivity.json", _description(study, sweep, records, missing))
    for note in missing:
        log.warning("%(view)s, %(scorer)s, %(measure)s: %(n_missing)d values are missing and left out", note)
    captions: dict[str, str] = {}
    for key, budget in budgets:
        captions |= _draw(key, budget, folder)
        _tell(key, budget)
    write_json(folder / "figures" / "captions.json", captions)


def sweep_table(records: list[Record]) -> pd.DataFrame:
    """All values of a sweep: :data:`COLUMNS`, in the order of the scans, without measures that a scorer never gives."""
    rows = [{**row, "subject": r["subject"], "session": r["session"]} for r in records for row in r.get("sweep", [])]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float})
    given = table.groupby(_GROUP)["value"].transform("count") > 0
    return table[given].reset_index(drop=True)


def budget_table(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Error budget of one view, scorer and measure; see :func:`drrval.stats.error_budget.error_budget`."""
    return error_budget(_budget_rows(rows), seed=seed)


def precision_table(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Repeatability of one view, scorer and measure: a row per kind of repeats (column ``analysis``) and quantity."""
    analyses = []
    for repeats, factors in _REPEATS.items():
        chosen = rows[rows["factor"].isin(factors)]
        if not chosen.empty:
            found = repeatability(chosen.assign(condition=repeats), seed=seed)
            change = {"minimal_detectable_change": _detectable(found["within_sd"])}
            analyses.append(Analysis(repeats, found.method, {**found.numbers, **change}))
    return analysis_table(analyses)


def _detectable(within_sd: Interval) -> Interval:
    estimate, low, high = (
        None if sd is None else minimal_detectable_change(sd)
        for sd in (within_sd.estimate, within_sd.low, within_sd.high)
    )
    return replace(within_sd, estimate=estimate, low=low, high=high)


def _complete_groups(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame, int]]:
    """Per view, scorer and measure: its rows with a value and a nominal value of the scan, and how many lack one."""
    for _, rows in table.groupby(_GROUP, sort=False):
        known = rows[rows["value"].notna()]
        nominal = known.loc[known["factor"] == NOMINAL, ["subject", "session"]]
        kept = known.merge(nominal, on=["subject", "session"])
        if not kept.empty:
            yield {name: str(kept[name].iloc[0]) for name in _GROUP}, kept, len(rows) - len(kept)


def _budget_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[rows["factor"] != SETUP, SWEEP_COLUMNS]


def _stacked(tables: list[tuple[dict[str, str], pd.DataFrame]], columns: list[str]) -> pd.DataFrame:
    """Tables of all groups below each other, with the group's columns in front."""
    parts = [table.assign(**key) for key, table in tables if not table.empty]
    joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*_GROUP, *columns])
    # A number that is not defined is None in some tables, which makes a column of objects.
    numbers = joined[[*_GROUP, *columns]].fillna(np.nan).infer_objects()
    return numbers.rename(columns={"analysis": "repeats"})


def _description(
    study: Study, sweep: SensitivitySettings, records: list[Record], missing: list[dict[str, Any]]
) -> dict[str, Any]:
    measures = {name: DICTIONARY[name] for name in _MEASURES}
    scans = [{key: r[key] for key in ("scan_id", "source", "status", "message", "input_sha256")} for r in records]
    return {
        "definitions": {**_DEFINITIONS, "factors": FACTORS, "measures": measures},
        "sweep": sweep.model_dump(mode="json"),
        "study": study.resolved(),
        "provenance": {"drrval": __version__, "code_sha256": code_digest(), "libraries": library_versions()},
        "scans": scans,
        "missing_values": missing,
    }


def _draw(key: dict[str, str], budget: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Draw the budget, and give the caption by the figure's name; none where no factor changes the result."""
    if budget["sd"].max() <= 0:
        return {}
    part = "_".join("".join(c if c.isalnum() or c == "-" else "-" for c in part) for part in key.values())
    name = f"error_budget_{part}"
    measure, unit = _MEASURES[key["measure"]]
    title = f"{key['view']} view, {key['scorer']}, {measure}"
    save_figure(error_budget_figure(budget, title, unit), folder / "figures" / name)
    total = budget[budget["factor"] == TOTAL].iloc[0]
    return {
        name: f"Error budget, {title}: {count(total['n_patients'], 'patient')}, {count(total['n_scans'], 'scan')}, one "
        f"setting changed at a time, {count(total['n_levels'], 'level')} in all. Left: {_DEFINITIONS['sd']} Total: "
        f"{_DEFINITIONS['total']} Right: mean and largest shift from the study's own settings. Lines: 95 % intervals "
        "by bootstrap of patients."
    }


def _tell(key: dict[str, str], budget: pd.DataFrame) -> None:
    """Log the largest factors."""
    total = budget.loc[budget["factor"] == TOTAL, "sd"].item()
    largest = [f"{row.factor} {row.sd:.3g}" for row in budget.head(3).itertuples() if row.factor != TOTAL]
    said = f"total SD {total:.3g}; largest: {', '.join(largest)}" if total > 0 else "no factor changes it"
    log.info("%s: %s", ", ".join(key.values()), said)
