"""Agreement of radiograph and CT ratios: the paper's numbers (Amer et al. 2021, section V-D), and all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from drrval.stats.comparison import TABLE_COLUMNS, ComparisonSettings, compare, to_json, to_table
from drrval.stats.courses import courses_of_pairs
from drrval.stats.pairs import pair_measurements, without_flags
from drrval.stats.regression import fit_line
from drrval.stats.trends import compare_trends

INDEPENDENCE_NOTE = (
    "p_value takes all scans as independent, as the paper does; scans of one patient are not, so it can be too small."
)
NAMES = ("CT ratio", "radiograph ratio")

DEFINITIONS = {
    "n_scans": (
        "scans with status ok and a ratio from both the CT reference and the radiograph scorer; "
        "measurements with one of exclude_flags are left out"
    ),
    "n_patients": "patients that those scans belong to",
    "pearson_r": "Pearson correlation of the radiograph ratio with the CT ratio over all scans",
    "p_value": "two-sided p of pearson_r = 0, all scans taken as independent (scans of one patient are not)",
    "slope": "slope of the ordinary least squares line of the radiograph ratio on the CT ratio",
    "intercept": "intercept of that line, percent",
    "r_squared": "share of the variance of the radiograph ratio that the line explains",
    "trend_labels": (
        "per interval between successive scans of a patient and per modality: 1 if current / previous > 1, "
        "else 0; if previous is 0: 1 if current > 0, else 0 (together: current > previous); "
        "agree is 1 if both labels are equal"
    ),
    "n_intervals": "number of such intervals, over all patients",
    "trend_accuracy": "share of the intervals whose two labels agree, 0 to 1",
    "order": "scans of a patient are ordered by date if every one has a date, otherwise by session label",
    "note": "why a number is missing (null), and what to beware of",
    "regression": (
        "lines of the radiograph ratio on the CT ratio and a test of linearity: per analysis its method, and per "
        "number estimate, interval (low, high, level, and how it was found), n_patients, n_scans and note; intervals "
        "draw patients, not scans"
    ),
    "agreement": "differences (radiograph minus CT ratio, points), concordance and correlation, in the same form",
    "trends": "agreement of the changes between successive scans, in the same form; n_intervals is what they rest on",
}


def agreement_results(
    measurements: pd.DataFrame,
    reference_scorer: str,
    exclude_flags: Sequence[str] = (),
    settings: ComparisonSettings | None = None,
) -> list[dict[str, Any]]:
    """Agreement of every (view, radiograph scorer) with the CT reference.

    Args:
        measurements: as for :func:`drrval.stats.pair_measurements`.
        reference_scorer: the CT scorer whose ratio is the reference.
        exclude_flags: measurements that carry one of these flags do not count.
        settings: of the analyses; see :class:`drrval.stats.ComparisonSettings`.

    Returns:
        One JSON-ready dict (no NaN) per view and scorer, in order of appearance: ``view, scorer, reference,
        n_scans, n_patients, pearson_r, p_value, slope, intercept, r_squared, trend_accuracy, n_intervals,
        trend_labels, note, regression, agreement, trends``. What cannot be computed is None and ``note`` says why.
        :data:`DEFINITIONS` says what each entry is.

    Raises:
        StudyError: see :func:`drrval.stats.pair_measurements` and :func:`drrval.stats.trend_labels`.
    """
    chosen = settings or ComparisonSettings()
    pairs = pair_measurements(without_flags(measurements, exclude_flags), reference_scorer)
    cxr = measurements.loc[measurements["modality"] == "CXR", ["view", "scorer"]].drop_duplicates()
    rows = []
    for view, scorer in cxr.itertuples(index=False):
        scans = pairs[(pairs["view"] == view) & (pairs["scorer"] == scorer)]
        sections = to_json(compare(courses_of_pairs(scans), chosen, NAMES))
        names = {"view": str(view), "scorer": str(scorer), "reference": reference_scorer}
        rows.append({**names, **_papers_numbers(scans), **sections})
    return rows


def agreement_document(
    measurements: pd.DataFrame,
    reference_scorer: str,
    exclude_flags: Sequence[str] = (),
    settings: ComparisonSettings | None = None,
) -> dict[str, Any]:
    """What ``results/agreement.json`` holds: reference, settings, definitions and :func:`agreement_results`."""
    chosen = settings or ComparisonSettings()
    return {
        "reference": reference_scorer,
        "exclude_flags": list(exclude_flags),
        "settings": asdict(chosen),
        "definitions": DEFINITIONS,
        "results": agreement_results(measurements, reference_scorer, exclude_flags, chosen),
    }


def agreement_table(document: Mapping[str, Any]) -> pd.DataFrame:
    """What ``results/agreement_table.tsv`` holds: one row per view, scorer and number of an agreement document.

    Returns:
        Columns ``view, scorer`` and :data:`drrval.stats.comparison.TABLE_COLUMNS`.
    """
    tables = [
        to_table(row).assign(view=row["view"], scorer=row["scorer"]) for row in document["results"] if row["n_scans"]
    ]
    columns = ["view", "scorer", *TABLE_COLUMNS]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _papers_numbers(pairs: pd.DataFrame) -> dict[str, Any]:
    line = asdict(fit_line(pairs["ct_ratio_percent"], pairs["cxr_ratio_percent"], NAMES))
    intervals = compare_trends(pairs)
    n_scans, n_patients = len(pairs), int(pairs["subject"].nunique())
    notes = [line.pop("note")]
    if not intervals:
        notes.append("No trend accuracy: no patient has two scans with both ratios.")
    if line["p_value"] is not None and n_scans > n_patients:
        notes.append(INDEPENDENCE_NOTE)
    return {
        "n_scans": n_scans,
        "n_patients": n_patients,
        **line,
        "trend_accuracy": sum(i["agree"] for i in intervals) / len(intervals) if intervals else None,
        "n_intervals": len(intervals),
        "trend_labels": intervals,
        "note": " ".join(note for note in notes if note),
    }
