"""All trend analyses of one test against one reference."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from drrval.stats.changes import (
    change_line,
    direction_agreement,
    polar_concordance,
    quadrant_concordance,
    rate_line,
    zone_agreement,
)
from drrval.stats.courses import change_table
from drrval.stats.paired import Analysis
from drrval.stats.permutation import permutation_test
from drrval.stats.resampling import Resampling
from drrval.stats.slopes import slope_agreement


def trend_agreement(
    courses: pd.DataFrame,
    *,
    reference_zone: float = 0.0,
    test_zone: float | None = None,
    **resampling: Unpack[Resampling],
) -> list[Analysis]:
    """Trend analyses with patient-bootstrap intervals.

    Args:
        courses: from :func:`drrval.stats.courses.make_courses`.
        reference_zone: largest change of the reference that may be measurement error, points (0: none); best its
            minimal detectable change.
        test_zone: the same of the test; None: as of the reference. Four-quadrant and polar plot use the larger one.
        resampling: see :class:`drrval.stats.resampling.Resampling`; its seed is also that of the permutation test.

    Returns:
        ``trend_direction, trend_permutation, trend_zone, four_quadrant, polar, change_line, rate_line,
        patient_slopes``; what cannot be computed is None with a note. Negative values count by their change; current /
        previous is not defined for them. :func:`drrval.stats.paired.analysis_table` makes a table of them.

    Raises:
        StudyError: a zone is negative.
    """
    test_zone = reference_zone if test_zone is None else test_zone
    zone = max(reference_zone, test_zone)
    changes = change_table(courses)
    return [
        direction_agreement(changes, **resampling),
        permutation_test(courses, seed=resampling.get("seed", 0)),
        zone_agreement(changes, reference_zone, test_zone, **resampling),
        quadrant_concordance(changes, zone, **resampling),
        polar_concordance(changes, zone, **resampling),
        change_line(changes, **resampling),
        rate_line(changes, **resampling),
        slope_agreement(courses, **resampling),
    ]
