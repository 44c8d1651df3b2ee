"""Did the disease grow or shrink between two scans, and do CT and radiograph say the same?

Source of the rule: Amer et al., IEEE JBHI 2021, section V-D (doi 10.1109/JBHI.2021.3069169).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from drrval.errors import StudyError


def trend_labels(values: npt.ArrayLike) -> list[int]:
    """Label each interval of a course: 1 if current / previous > 1, else 0.

    The paper leaves previous = 0 open; here the label is then 1 if current > 0 and 0 otherwise. For values
    that are not negative the whole rule is the same as ``current > previous``, which is how it is computed
    (no rounding by the quotient). No change is therefore labelled 0, like a decrease.

    Args:
        values: ``[time]``, one patient's ratios in time order, percent, finite and not negative.

    Returns:
        One label per interval, so one fewer than values; empty for fewer than two values.

    Raises:
        StudyError: a value is missing, infinite or negative, or ``values`` is not one row of numbers.
    """
    course = np.asarray(values, dtype=float)
    if course.ndim != 1:
        raise StudyError(
            f"Trend labels need one row of ratios in time order, got an array of shape {course.shape}. "
            "Pass the ratios of one patient, view and scorer."
        )
    _check_ratios(course)
    return (course[1:] > course[:-1]).astype(int).tolist()


def compare_trends(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare the CT and the radiograph label of every interval between successive scans of a patient.

    Args:
        pairs: rows of one view and scorer from :func:`drrval.stats.pair_measurements`, in time order within
            each subject.

    Returns:
        One dict per interval: ``subject, from_session, to_session, ct_label, cxr_label, agree`` (labels 0 or
        1, ``agree`` 1 when they are equal).

    Raises:
        StudyError: a ratio is missing, infinite or negative.
    """
    ratios = pairs[["ct_ratio_percent", "cxr_ratio_percent"]]
    for column in ratios:
        _check_ratios(ratios[column].to_numpy(dtype=float))
    previous = pairs.groupby("subject", sort=False)[[*ratios.columns, "session"]].shift()
    # The rule of trend_labels; a subject's first scan has nothing before it.
    labels = (ratios > previous[ratios.columns]).astype(int)
    table = pd.DataFrame(
        {
            "subject": pairs["subject"].astype(str),
            "from_session": previous["session"],
            "to_session": pairs["session"].astype(str),
            "ct_label": labels["ct_ratio_percent"],
            "cxr_label": labels["cxr_ratio_percent"],
            "agree": (labels["ct_ratio_percent"] == labels["cxr_ratio_percent"]).astype(int),
        }
    )
    return cast("list[dict[str, Any]]", table[previous["session"].notna()].to_dict("records"))


def _check_ratios(ratios: npt.NDArray[np.float64]) -> None:
    bad = ~np.isfinite(ratios) | (ratios < 0)
    if bad.any():
        raise StudyError(
            f"Trend labels need finite ratios of at least 0, got {ratios[bad][0]} "
            f"at position {int(np.argmax(bad))} of {ratios.size}. "
            "Leave that scan out before the trends are computed."
        )
