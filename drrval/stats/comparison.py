"""Everything that drrval says about two measurements of the same scans: one call for a study and for any table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from drrval.stats.bland_altman import limits_of_agreement, proportional_bias
from drrval.stats.concordance import intraclass_correlation, lin_concordance
from drrval.stats.courses import patient_codes
from drrval.stats.deming_regression import deming
from drrval.stats.deviation_index import total_deviation
from drrval.stats.mixed import mixed_model
from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.passing_bablok_regression import passing_bablok
from drrval.stats.regression import least_squares, linearity
from drrval.stats.repeated_correlation import repeated_measures_correlation
from drrval.stats.resampling import Resampling
from drrval.stats.trend_analyses import trend_agreement

SECTIONS = ("regression", "agreement", "trends")
TABLE_COLUMNS = [
    "analysis", "number", "estimate", "low", "high", "level", "interval", "n_patients", "n_scans", "n_intervals",
    "method", "note",
]  # fmt: skip
# Its numbers rest on one slope per patient, neither on scans nor on intervals.
_PER_PATIENT = "patient_slopes"


@dataclass(frozen=True)
class ComparisonSettings:
    """What the analyses leave to the user.

    Attributes:
        n_resamples, level, seed: of the patient bootstrap and the permutation test.
        error_ratio: variance of the reference's error by that of the test, for Deming regression.
        margin: largest difference that does not matter, in the unit of the measurements, for total deviation.
        reference_zone: largest change of the reference that may be measurement error, in that unit; best its minimal
            detectable change.
        test_zone: the same of the test; None: as of the reference.
    """

    n_resamples: int = 2000
    level: float = 0.95
    seed: int = 0
    error_ratio: float = 1.0
    margin: float = 5.0
    reference_zone: float = 0.0
    test_zone: float | None = None

    @property
    def resampling(self) -> Resampling:
        """How the patient bootstrap draws."""
        return {"n_resamples": self.n_resamples, "level": self.level, "seed": self.seed}


def compare(
    courses: pd.DataFrame, settings: ComparisonSettings, names: tuple[str, str] = ("reference", "test")
) -> dict[str, list[Analysis]]:
    """Regression, agreement and trends of one test against one reference, each with patient-bootstrap intervals.

    Args:
        courses: columns of :data:`drrval.stats.courses.COURSE_COLUMNS`, in time order within each patient; without
            times (all ``time`` missing) there are no trends.
        settings: see :class:`ComparisonSettings`.
        names: what reference and test are, for the notes.

    Returns:
        The analyses of each of :data:`SECTIONS`; all empty without a scan.

    Raises:
        StudyError: a value is not finite, or a setting is out of its range.
    """
    if courses.empty:
        return {section: [] for section in SECTIONS}
    scans = PairedScans.of(courses["reference"], courses["test"], patient_codes(courses), names)
    how = settings.resampling
    timed = bool(courses["time"].notna().all())
    return {
        "regression": [
            least_squares(scans, **how),
            linearity(scans, settings.level),
            deming(scans, settings.error_ratio, **how),
            passing_bablok(scans, **how),
            mixed_model(scans, **how),
        ],
        "agreement": [
            limits_of_agreement(scans, **how),
            proportional_bias(scans, **how),
            lin_concordance(scans, **how),
            intraclass_correlation(courses[["reference", "test"]], scans.patients.codes, **how),
            repeated_measures_correlation(scans, **how),
            total_deviation(scans, settings.margin, **how),
        ],
        "trends": trend_agreement(
            courses, reference_zone=settings.reference_zone, test_zone=settings.test_zone, **how
        )
        if timed
        else [],
    }  # fmt: skip


def to_json(sections: Mapping[str, Iterable[Analysis]]) -> dict[str, dict[str, Any]]:
    """Analyses as JSON-ready dicts (no NaN): section, analysis, then ``method, note, numbers``.

    Each number holds ``estimate, low, high, level, interval`` (how the ends were found), ``n_patients, n_scans,
    n_intervals, n_resamples, n_failed, note``; what is not known is None. Numbers of trends rest on intervals between
    scans, all others on scans.
    """
    return {
        section: {
            analysis.name: {
                "method": analysis.method,
                "note": analysis.note,
                "numbers": {
                    name: _number(asdict(number), section, analysis.name) for name, number in analysis.numbers.items()
                },
            }
            for analysis in analyses
        }
        for section, analyses in sections.items()
    }


def to_table(sections: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Tidy table of what :func:`to_json` gave, one row per number: :data:`TABLE_COLUMNS`."""
    rows = [
        {
            "analysis": name,
            "number": key,
            **{column: number[column] for column in TABLE_COLUMNS[2:-2]},
            "method": analysis["method"],
            "note": " ".join(filter(None, [number["note"], analysis["note"]])),
        }
        for section in SECTIONS
        for name, analysis in sections[section].items()
        for key, number in analysis["numbers"].items()
    ]
    return pd.DataFrame(rows, columns=TABLE_COLUMNS).astype({"n_scans": "Int64", "n_intervals": "Int64"})


def _number(number: dict[str, Any], section: str, analysis: str) -> dict[str, Any]:
    number["interval"] = number.pop("method")
    counted, number["n_intervals"] = number["n_scans"], None
    if section == "trends":
        number["n_scans"] = None
        number["n_intervals"] = None if analysis == _PER_PATIENT else counted
    return number
