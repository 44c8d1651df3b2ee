"""CT scorers against each other: how far the reference can be trusted, and on which scans it should be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from drrval.stats.comparison import TABLE_COLUMNS, ComparisonSettings, compare, to_json, to_table
from drrval.stats.courses import courses_of_pairs
from drrval.stats.pairs import pair_measurements, without_flags

DISAGREE_FLAG = "ct_scorers_disagree"
DISAGREEMENT_POINTS = 5.0
"""Difference of two CT ratios, percentage points, that is worth a look unless a study says otherwise."""

DIFFERENCE_COLUMNS = [
    "subject", "session", "date", "scorer", "reference_ratio_percent", "ratio_percent", "difference_points",
]  # fmt: skip


def pair_ct_scorers(measurements: pd.DataFrame, reference_scorer: str) -> pd.DataFrame:
    """Put each other CT scorer's ratio beside the reference's of the same scan.

    Args:
        measurements: as for :func:`drrval.stats.pair_measurements`.
        reference_scorer: the CT scorer that the others are compared with.

    Returns:
        As :func:`drrval.stats.pair_measurements`, with the other CT scorer in the place of the radiograph scorer
        (``cxr_ratio_percent`` is its ratio) and ``CT`` as the view.

    Raises:
        StudyError: see :func:`drrval.stats.pair_measurements`.
    """
    ct = measurements[measurements["modality"] == "CT"]
    other = ct["scorer"] != reference_scorer
    roles = pd.Series(np.where(other, "CXR", "CT"), index=ct.index, dtype=object)
    return pair_measurements(ct.assign(modality=roles, view="CT"), reference_scorer)


def ct_disagreements(measurements: pd.DataFrame, reference_scorer: str, points: float) -> pd.DataFrame:
    """Scans on which another CT scorer differs from the reference by more than ``points``.

    Returns:
        :data:`DIFFERENCE_COLUMNS`, the largest difference first; ``difference_points`` is other minus reference.
    """
    pairs = pair_ct_scorers(measurements, reference_scorer).rename(
        columns={"ct_ratio_percent": "reference_ratio_percent", "cxr_ratio_percent": "ratio_percent"}
    )
    pairs["difference_points"] = pairs["ratio_percent"] - pairs["reference_ratio_percent"]
    far = pairs[pairs["difference_points"].abs() > points]
    order = far["difference_points"].abs().sort_values(ascending=False, kind="stable").index
    return far.loc[order, DIFFERENCE_COLUMNS].reset_index(drop=True)


def flag_disagreements(measurements: pd.DataFrame, reference_scorer: str, points: float) -> pd.DataFrame:
    """The measurements with :data:`DISAGREE_FLAG` on both CT rows of every scan of :func:`ct_disagreements`."""
    found = ct_disagreements(measurements, reference_scorer, points)
    far = set(found[["subject", "session", "scorer"]].itertuples(index=False, name=None))
    far |= {(subject, session, reference_scorer) for subject, session, _ in far}
    rows = measurements[["subject", "session", "scorer"]].astype(str).itertuples(index=False, name=None)
    marked = (measurements["modality"] == "CT").to_numpy() & np.array([row in far for row in rows], dtype=bool)
    flags = measurements["flags"].astype(object).where(measurements["flags"].notna(), None)
    flags[marked] = [f"{flag};{DISAGREE_FLAG}" if flag else DISAGREE_FLAG for flag in flags[marked]]
    return measurements.assign(flags=flags)


def ct_scorers_document(
    measurements: pd.DataFrame,
    reference_scorer: str,
    points: float = DISAGREEMENT_POINTS,
    exclude_flags: Sequence[str] = (),
    settings: ComparisonSettings | None = None,
) -> dict[str, Any]:
    """What ``results/ct_scorers.json`` holds: each other CT scorer against the reference.

    Args:
        measurements: as for :func:`drrval.stats.pair_measurements`.
        reference_scorer: the CT scorer that the others are compared with.
        points: difference above which a scan is listed, percentage points.
        exclude_flags: measurements with one of these flags do not count in the statistics. :data:`DISAGREE_FLAG` is
            not among them: leaving out where two scorers disagree would make them agree.
        settings: of the analyses.

    Returns:
        JSON-ready (no NaN): ``reference, disagreement_points, exclude_flags, settings, disagreements`` (rows of
        :func:`ct_disagreements`) and ``results``, one per other scorer: ``scorer, reference``, ``n_compared`` (scans
        with both ratios) and ``n_disagreements`` among them, ``n_scans`` and ``n_patients`` that count in the
        statistics, ``regression, agreement, trends`` (empty: only ratios of the same scan are compared). No results
        without a second CT scorer.

    Raises:
        StudyError: see :func:`drrval.stats.pair_measurements`.
    """
    chosen = settings or ComparisonSettings()
    excluded = [flag for flag in exclude_flags if flag != DISAGREE_FLAG]
    everything = pair_ct_scorers(measurements, reference_scorer)
    pairs = pair_ct_scorers(without_flags(measurements, excluded), reference_scorer)
    far = ct_disagreements(measurements, reference_scorer, points)
    ct = measurements.loc[measurements["modality"] == "CT", "scorer"]
    results = []
    for scorer in (str(name) for name in ct.unique() if name != reference_scorer):
        scans = pairs[pairs["scorer"] == scorer]
        sections = to_json(compare(scan_pairs(scans), chosen, (f"{reference_scorer} ratio", f"{scorer} ratio")))
        results.append(
            {
                "scorer": scorer,
                "reference": reference_scorer,
                "n_scans": len(scans),
                "n_patients": int(scans["subject"].nunique()),
                "n_compared": int((everything["scorer"] == scorer).sum()),
                "n_disagreements": int((far["scorer"] == scorer).sum()),
                **sections,
            }
        )
    return {
        "reference": reference_scorer,
        "disagreement_points": points,
        "exclude_flags": excluded,
        "settings": asdict(chosen),
        "disagreements": far.astype(object).where(far.notna(), None).to_dict("records"),
        "results": results,
    }


def ct_scorers_table(document: Mapping[str, Any]) -> pd.DataFrame:
    """One row per scorer and number of a document of :func:`ct_scorers_document`."""
    tables = [to_table(row).assign(scorer=row["scorer"]) for row in document["results"] if row["n_scans"]]
    columns = ["scorer", *TABLE_COLUMNS]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def scan_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Courses of one scorer's pairs without times, so that scans are compared and not their changes."""
    return courses_of_pairs(pairs).assign(time=None, days=np.nan)
