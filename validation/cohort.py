"""Does the CT scorer find the disease that was put in? Virtual cohorts, procedural and of real chests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ct_models.opacity import OpacityScorer
from drrval.simulation import Recipe, SimulateSettings, VirtualScan, simulate_cohort, truth_row
from drrval.stats import PairedScans, least_squares, limits_of_agreement
from drrval.study.cohort import plan_cohort
from drrval.study.cohort_settings import CohortSettings
from drrval.study.executor import run_all
from drrval.study.scorers import score_ct
from validation.markdown import table

PROCEDURAL = SimulateSettings.model_validate(
    {"patients": 24, "timepoints": {"min": 2, "max": 4}, "seed": 4, "spacing_mm": [1.5, 1.5, 2.0]}
)
# Every real scan serves two virtual patients, so that a few chests give more than one course each.
REAL_SEEDS = (4, 5)
REAL = {"insert": {"glob": {"pattern": "*"}, "timepoints": 3}}
NUMBERS = {"pearson_r": "r", "slope": "slope", "intercept": "intercept, points", "r_squared": "r²"}
JOBS = 2
SEED = 20240213


@dataclass(frozen=True)
class Part:
    """Scans of one kind: what the table calls them, and their rows (``truth``, ``found`` in %, ``patient``)."""

    name: str
    rows: pd.DataFrame


def report(folder: Path) -> str:
    """Measure, draw ``cohort.png`` into ``folder`` and return the section's Markdown."""
    parts = [procedural()]
    root = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ct"
    if root.is_dir():
        parts.append(real(root))
    draw(folder / "cohort.png", parts)
    text = [
        agreement(parts),
        by_severity(parts),
        by_finding(parts[0]),
        "![Found against put in](images/validation/cohort.png)",
    ]
    if not root.is_dir():
        text.append("Not measured: real chests, for want of development data here (set `DRRVAL_DATA`).")
    return "\n\n".join(text)


def procedural() -> Part:
    """Procedural patients: the ratio that the scorer finds against the truth."""
    rows = scored(simulate_cohort(PROCEDURAL))
    return Part("procedural thoraces", rows)


def real(root: Path) -> Part:
    """Real chests: the rise of the scorer's ratio over that of the same scan before the disease was put in."""
    recipes: list[Recipe] = []
    for seed in REAL_SEEDS:
        settings = CohortSettings.model_validate({"insert": {**REAL["insert"], "seed": seed}})
        planned = [scan.recipe for scan in plan_cohort(settings, root) if scan.recipe is not None]
        recipes += [replace(recipe, subject=f"{recipe.subject}_{seed}") for recipe in planned]
    untouched = {r.inputs: replace(r, patient=replace(r.patient, severity="none", confounders=())) for r in recipes}
    before = dict(zip(untouched, scored(list(untouched.values()))["found"], strict=True))
    rows = scored(recipes)
    rows["found"] -= [before[recipe.inputs] for recipe in recipes]
    rows["patient"] = [recipe.inputs[0].name for recipe in recipes]  # scans of one chest are not independent
    return Part("real chests, rise", rows)


def scored(recipes: Sequence[Recipe]) -> pd.DataFrame:
    """One row per scan: patient, severity, findings, ``truth`` and ``found`` (ratio of both lungs, %)."""
    found = dict(run_all(_score, list(recipes), JOBS, _died))
    return pd.DataFrame([found[recipe] for recipe in recipes])


def _score(recipe: Recipe) -> dict[str, Any]:
    scan: VirtualScan = recipe.make()
    stored = replace(scan.volume, hu=np.rint(scan.volume.hu))  # as a file holds it
    score = score_ct(OpacityScorer(), stored)
    row = truth_row(recipe, scan)
    return {
        "patient": recipe.subject,
        "severity": row["severity"],
        "findings": recipe.patient.confounders,
        "truth": row["ratio_percent"],
        "found": score.ratio_percent,
    }


def _died(recipe: Recipe) -> dict[str, Any]:
    raise RuntimeError(f"The process that made {recipe.scan_id} was killed. Measure with fewer jobs.")


def agreement(parts: Sequence[Part]) -> str:
    """Correlation, line and bias with intervals from the patient bootstrap."""
    rows = []
    for part in parts:
        pairs = PairedScans.of(part.rows["truth"], part.rows["found"], part.rows["patient"], ("truth", "found"))
        line, limits = least_squares(pairs, seed=SEED).numbers, limits_of_agreement(pairs, seed=SEED).numbers
        numbers = [line["pearson_r"], line["slope"], line["intercept"], limits["bias"]]
        spread = f"{limits['lower_limit'].estimate:.1f} to {limits['upper_limit'].estimate:.1f}"
        counts = f"{part.name}: {pairs.n_scans} scans of {pairs.patients.n_patients}"
        rows.append([counts, *(_interval(number) for number in numbers), spread])
    heads = ["found (y) against put in (x)", "r", "slope", "intercept, points", "bias, points", "limits of agreement"]
    return "95 % intervals in brackets (patients resampled with all their scans):\n\n" + table(heads, rows)


def by_severity(parts: Sequence[Part]) -> str:
    """Mean ratio put in and found, by the severity of the course."""
    rows = []
    for part in parts:
        for severity, group in part.rows.groupby("severity", sort=False):
            error = group["found"] - group["truth"]
            means = [f"{group[name].mean():.1f}" for name in ("truth", "found")]
            rows.append(
                [part.name, str(severity), str(len(group)), *means, f"{error.mean():+.1f}", f"{error.std():.1f}"]
            )
    rows.sort()
    return table(["", "course", "scans", "put in, %", "found, %", "mean difference", "its SD"], rows)


def by_finding(part: Part) -> str:
    """Mean difference with and without each finding that is no pneumonia."""
    error = part.rows["found"] - part.rows["truth"]
    names = sorted({name for findings in part.rows["findings"] for name in findings})
    rows = []
    for name in names:
        shown = part.rows["findings"].map(lambda findings, name=name: name in findings)
        rows.append([name, str(int(shown.sum())), f"{error[shown].mean():+.1f}", f"{error[~shown].mean():+.1f}"])
    clear = part.rows["findings"].map(len) == 0
    rows.append(["none of these", str(int(clear.sum())), f"{error[clear].mean():+.1f}", f"{error[~clear].mean():+.1f}"])
    return "What is no pneumonia and may be taken for it (procedural thoraces):\n\n" + table(
        ["finding", "scans with it", "mean difference with", "without"], rows
    )


def draw(path: Path, parts: Sequence[Part]) -> None:
    """Ratio found against ratio put in, one panel per part, coloured by severity."""
    figure = Figure(figsize=(4.6 * len(parts), 4.2), layout="constrained")
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        top = float(part.rows[["truth", "found"]].to_numpy().max())
        axes.plot([0, top], [0, top], color="0.7", linewidth=1)
        for severity, group in part.rows.groupby("severity"):
            axes.plot(group["truth"], group["found"], "o", markersize=4, alpha=0.7, label=severity)
        axes.set(title=part.name, xlabel="put in, % of the lungs", ylabel="found by the opacity scorer, %")
        axes.legend(title="course")
    figure.savefig(path, dpi=150)


def _interval(number: Any) -> str:
    ends = "" if number.low is None else f" ({number.low:.2f} to {number.high:.2f})"
    return f"{number.estimate:.2f}{ends}"
