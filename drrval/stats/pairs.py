"""Put each radiograph's ratio beside the CT's ratio of the same scan."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from drrval.errors import StudyError

PAIR_COLUMNS = ["subject", "session", "date", "view", "scorer", "ct_ratio_percent", "cxr_ratio_percent"]
_NEEDED = ["subject", "session", "date", "view", "scorer", "modality", "ratio_percent", "status"]
_SCAN = ["subject", "session"]


def natural_key(label: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which digits count as numbers: ``2`` before ``10``, ``ses9`` before ``ses10``."""
    parts = re.split(r"([0-9]+)", label)
    numbered = [(0, int(part), part) if part[:1].isdecimal() else (1, 0, part) for part in parts if part]
    return tuple(numbered)


def pair_measurements(measurements: pd.DataFrame, reference_scorer: str) -> pd.DataFrame:
    """Join each radiograph row with the CT reference row of the same subject and session.

    Rows whose status is not ``ok`` or whose ratio is missing are left out, on either side. Scans of a subject
    come in time order: by date when every such scan of the subject has one (equal dates by session label), otherwise
    by session label in natural order (``2`` before ``10``).

    Args:
        measurements: one row per scan, view and scorer with at least the columns ``subject, session, date,
            view, scorer, modality`` (``CT`` or ``CXR``), ``ratio_percent`` (0-100 %) and ``status``; missing
            values are NaN.
        reference_scorer: the CT scorer whose ratio is the reference.

    Returns:
        Columns ``subject, session, date, view, scorer, ct_ratio_percent, cxr_ratio_percent``; views and
        scorers in their order of appearance, subjects in natural order, scans in time order.

    Raises:
        StudyError: a column is missing, the reference is not among the CT scorers, a scan has two rows of one
            view and scorer, or a date is not of the form 2020-03-05.
    """
    _check_columns(measurements)
    table = measurements.astype({"subject": str, "session": str}).reset_index(drop=True)
    _check_reference(table, reference_scorer)
    usable = table[(table["status"] == "ok") & table["ratio_percent"].notna()]
    usable = usable.assign(_order=time_order(usable))
    ct = usable[(usable["modality"] == "CT") & (usable["scorer"] == reference_scorer)]
    cxr = usable[usable["modality"] == "CXR"]
    _check_unique(ct, _SCAN)
    _check_unique(cxr, [*_SCAN, "view", "scorer"])
    reference = ct[[*_SCAN, "ratio_percent"]].rename(columns={"ratio_percent": "ct_ratio_percent"})
    pairs = cxr.rename(columns={"ratio_percent": "cxr_ratio_percent"}).merge(reference, on=_SCAN, how="inner")
    for column in ("view", "scorer"):
        appearance = {value: place for place, value in enumerate(cxr[column].unique())}
        pairs[f"_{column}"] = pairs[column].map(appearance)
    pairs = pairs.sort_values(["_view", "_scorer", "_order"], kind="stable")
    return pairs[PAIR_COLUMNS].reset_index(drop=True)


def without_flags(measurements: pd.DataFrame, flags: Sequence[str]) -> pd.DataFrame:
    """Measurements without the rows that carry one of ``flags`` (column ``flags``: names separated by ``;``)."""
    if not flags:
        return measurements
    flagged = measurements["flags"].fillna("").map(lambda cell: not set(flags).isdisjoint(str(cell).split(";")))
    return measurements[~flagged.astype(bool)]


def time_order(table: pd.DataFrame) -> pd.Series:
    """Place of each row when rows are sorted by subject, then by time as in :func:`pair_measurements`.

    Args:
        table: columns ``subject``, ``session`` (str) and ``date`` (``2020-03-05``; missing or empty: no date).

    Returns:
        int, ``[row]`` with the index of ``table``.

    Raises:
        StudyError: a date is of another form.
    """
    dates = _parse_dates(table["date"])
    dated = dates.notna().groupby(table["subject"]).transform("all")
    keys = pd.DataFrame(
        {
            "subject": _natural_rank(table["subject"]),
            "date": dates.where(dated),
            "session": _natural_rank(table["session"]),
        }
    )
    return (
        keys.sort_values(["subject", "date", "session"], kind="stable")
        .assign(place=range(len(keys)))["place"]
        .sort_index()
    )


def _natural_rank(labels: pd.Series) -> pd.Series:
    ordered = sorted(labels.unique(), key=natural_key)
    return labels.map({label: rank for rank, label in enumerate(ordered)}).astype("int64")


def _parse_dates(dates: pd.Series) -> pd.Series:
    try:
        return pd.to_datetime(dates.replace("", None), format="%Y-%m-%d")
    except ValueError as error:
        raise StudyError(f"A date in the measurements is not of the form 2020-03-05: {error}") from error


def _check_columns(measurements: pd.DataFrame) -> None:
    missing = [column for column in _NEEDED if column not in measurements.columns]
    if missing:
        raise StudyError(
            f"The measurements have no column {', '.join(missing)}. "
            f"They need {', '.join(_NEEDED)}, as in results/measurements.tsv."
        )


def _check_reference(table: pd.DataFrame, reference_scorer: str) -> None:
    known = list(table.loc[table["modality"] == "CT", "scorer"].unique())
    if known and reference_scorer not in known:
        raise StudyError(
            f"Unknown reference scorer {reference_scorer!r}. "
            f"Expected one of the CT scorers in the measurements: {', '.join(map(str, known))}."
        )


def _check_unique(rows: pd.DataFrame, keys: list[str]) -> None:
    twice = rows[rows.duplicated(keys)]
    if not twice.empty:
        first = ", ".join(f"{key} {twice.iloc[0][key]}" for key in keys)
        raise StudyError(
            f"The measurements hold more than one row for {first}. Keep one row per scan, view and scorer."
        )
