"""Courses of disease: reference and test values of each patient in time order, as all trend statistics take them."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from drrval.errors import StudyError
from drrval.stats.pairs import natural_key

SECONDS_PER_DAY = 86400.0
COURSE_COLUMNS = ["patient", "time", "days", "reference", "test"]
_DATE_LIKE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ].*)?")
# A month's name and a number: 5 Mar 2020, 05-MAR-2020, March 2020.
_MONTH_NAME = re.compile(
    r"(?i)(?=.*\d)(.*[^a-z])?(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|"
    r"oct(ober)?|nov(ember)?|dec(ember)?)([^a-z].*)?"
)
# 1 January 1900 to 31 December 2100 as DICOM writes dates.
_DATE_NUMBERS = (19000101, 21001231)
_WRITE_DATES = "Write every date as 2020-03-05, or give days as numbers, or labels that are no dates."
CHANGE_COLUMNS = [
    "patient", "from_time", "to_time", "days", "reference_previous", "reference_change", "test_previous", "test_change"
]  # fmt: skip


def make_courses(table: pd.DataFrame, *, patient: str, time: str, reference: str, test: str) -> pd.DataFrame:
    """Courses from any table with one row per scan.

    Args:
        table: one row per scan.
        patient, time, reference, test: names of its columns. ``time`` holds numbers (taken as days), or dates
            (ISO: ``2020-03-05``, ``2020-03-05T14:30``, or datetimes), or labels (``ses2`` before ``ses10``; then there
            are no days).

    Returns:
        Columns ``patient`` (text, as a category), ``time`` (as given), ``days`` (float, since the first scan; NaN
        without dates), ``reference`` and ``test`` (float); patients in natural order, scans in time order.

    Raises:
        StudyError: a column or a value is missing, a value is not a finite number, dates are not all ISO dates, or a
            patient has two scans at one time.
    """
    missing = [name for name in (patient, time, reference, test) if name not in table.columns]
    if missing:
        raise StudyError(
            f"The table has no column {', '.join(missing)}. Its columns are {', '.join(map(str, table.columns))}."
        )
    if table[[patient, time]].isna().to_numpy().any():
        raise StudyError(f"A {patient} or {time} is missing. Name the patient and the time of every scan.")
    # A category is grouped by its codes, which is many times faster than by text.
    labels = table[patient].astype(str).astype("category")
    labels = labels.cat.reorder_categories(sorted(labels.cat.categories, key=natural_key))
    courses = pd.DataFrame({"patient": labels, "time": table[time]}).reset_index(drop=True)
    for name, column in (("reference", reference), ("test", test)):
        courses[name] = _finite(table[column], column)
    days = _days(courses["time"])
    courses["_order"] = _label_rank(courses["time"].astype(str)) if days is None else days
    courses["_patient"] = courses["patient"].cat.codes
    courses = courses.sort_values(["_patient", "_order"], kind="stable", ignore_index=True)
    twice = courses[courses.duplicated(["_patient", "_order"])]
    if not twice.empty:
        raise StudyError(
            f"Patient {twice.iloc[0]['patient']} has more than one row at {time} {twice.iloc[0]['time']}. "
            "Keep one row per patient and time."
        )
    first = courses.groupby("_patient")["_order"].transform("first")
    courses["days"] = np.nan if days is None else courses["_order"] - first
    return courses[COURSE_COLUMNS]


def courses_of_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Courses from the scans of one view and scorer of :func:`drrval.stats.pair_measurements`, in its order.

    Returns:
        As :func:`make_courses`, with the session as ``time``, the CT as reference and the radiograph as test;
        ``days`` is NaN for a patient of whom any scan has no date.
    """
    dates = pd.to_datetime(pairs["date"].replace("", None), format="%Y-%m-%d")
    by_patient = dates.groupby(pairs["subject"])
    days = (dates - by_patient.transform("min")).dt.total_seconds() / SECONDS_PER_DAY
    return pd.DataFrame(
        {
            "patient": pairs["subject"].astype(str),
            "time": pairs["session"],
            "days": days.where(by_patient.transform("count") == by_patient.transform("size")),
            "reference": pairs["ct_ratio_percent"].astype(float),
            "test": pairs["cxr_ratio_percent"].astype(float),
        }
    ).reset_index(drop=True)


def change_table(courses: pd.DataFrame) -> pd.DataFrame:
    """Changes between successive scans of a patient.

    Args:
        courses: from :func:`make_courses`, in time order within each patient.

    Returns:
        One row per interval: :data:`CHANGE_COLUMNS`; ``days`` is the length of the interval (NaN without dates), a
        change is current minus previous value.
    """
    grouped = courses.groupby("patient", sort=False, observed=True)[["time", "days", "reference", "test"]]
    previous = grouped.shift()
    inside = courses.duplicated("patient")
    table = pd.DataFrame(
        {
            "patient": courses["patient"],
            "from_time": previous["time"],
            "to_time": courses["time"],
            "days": courses["days"] - previous["days"],
            "reference_previous": previous["reference"],
            "reference_change": courses["reference"] - previous["reference"],
            "test_previous": previous["test"],
            "test_change": courses["test"] - previous["test"],
        }
    )
    return table.loc[inside, CHANGE_COLUMNS].reset_index(drop=True)


def patient_codes(table: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Patient of each row as a number, in order of appearance, ``[row]``: cheaper to group by than labels."""
    return pd.factorize(table["patient"])[0]


def _finite(column: pd.Series, name: str) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce").reset_index(drop=True)
    bad = ~np.isfinite(values.to_numpy(dtype=float))
    if bad.any():
        row = int(np.argmax(bad))
        raise StudyError(f"{name} of row {row} is {column.iloc[row]}, not a finite number. Leave that scan out first.")
    return values.astype(float)


def _days(times: pd.Series) -> pd.Series | None:
    """Days on one scale for all scans, or None where times are labels.

    Raises:
        StudyError: a number is not finite, or times look like dates but are not written as ISO dates: sorted as labels
            or counted as days they would come in a wrong order or at wrong distances.
    """
    if pd.api.types.is_numeric_dtype(times):
        numbers = _finite(times, "The time")
        if numbers.between(*_DATE_NUMBERS).all():
            raise StudyError(f"Time {times.iloc[0]} is a date rather than a number of days. {_WRITE_DATES}")
        return numbers
    try:
        stamps = pd.to_datetime(times, format=None if pd.api.types.is_datetime64_any_dtype(times) else "ISO8601")
    except (ValueError, TypeError):
        dates = [
            label for label in map(str, times.unique()) if _DATE_LIKE.fullmatch(label) or _MONTH_NAME.fullmatch(label)
        ]
        if dates:
            raise StudyError(
                f"Time {dates[0]} looks like a date, but not all times are ISO dates. {_WRITE_DATES}"
            ) from None
        return None
    return (stamps - stamps.min()).dt.total_seconds() / SECONDS_PER_DAY


def _label_rank(labels: pd.Series) -> pd.Series:
    ordered = sorted(labels.unique(), key=natural_key)
    return labels.map({label: rank for rank, label in enumerate(ordered)}).astype(float)
