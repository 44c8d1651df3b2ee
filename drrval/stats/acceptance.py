"""Acceptance criteria: is a number of the agreement, with its interval, inside a bound that was stated beforehand?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from drrval.errors import StudyError
from drrval.stats.comparison import SECTIONS

_LINE = ("pearson_r", "slope", "intercept", "r_squared")
NUMBERS: dict[str, tuple[str, ...]] = {
    "least_squares": _LINE,
    "linearity": ("quadratic",),
    "deming": ("slope", "intercept"),
    "passing_bablok": ("slope", "intercept"),
    "mixed_model": ("slope", "intercept"),
    "limits_of_agreement": ("bias", "lower_limit", "upper_limit", "sd", "sd_between", "sd_within"),
    "proportional_bias": ("slope", "intercept"),
    "lin_concordance": ("concordance", "accuracy"),
    "intraclass_correlation": ("icc_2_1", "icc_3_1"),
    "repeated_measures_correlation": ("r", "slope"),
    "total_deviation": ("total_deviation_index", "coverage_probability"),
    "trend_direction": ("trend_accuracy", "gain_over_no_information", "cohen_kappa", "gwet_ac1"),
    "trend_zone": ("accuracy", "weighted_kappa", "gwet_ac2"),
    "four_quadrant": ("concordance", "share_kept"),
    "polar": ("concordance", "bias_degrees", "sd_degrees"),
    "change_line": _LINE,
    "rate_line": _LINE,
    "patient_slopes": ("pearson_r", "bias", "sd", "same_sign"),
}
"""Numbers with an interval, by analysis, in the order in which a number without an analysis is looked for."""

PLAIN_NUMBERS: dict[str, tuple[str, ...]] = {
    "least_squares": ("p_value", "p_value_clustered"),
    "linearity": ("p_value",),
    "passing_bablok": ("cusum_p",),
    "mixed_model": ("sd_intercept", "sd_slope", "correlation", "sd_residual"),
    "proportional_bias": ("p_value",),
    "repeated_measures_correlation": ("p_value",),
    "trend_direction": ("no_information_rate", "no_information_p"),
    "trend_permutation": ("p_value", "expected_accuracy"),
    "trend_zone": ("no_information_rate",),
    "change_line": ("p_value", "p_value_clustered"),
    "rate_line": ("p_value", "p_value_clustered"),
}
"""Numbers without an interval, by analysis."""

BOUNDS = ("interval", "estimate", "low", "high")
RULES = ("at_least", "at_most", "within")
MET, NOT_MET, NOT_COMPUTABLE = "met", "not met", "not computable"


@dataclass(frozen=True)
class Criterion:
    """A rule that a number must keep, for each view and radiograph scorer or for one of them.

    Attributes:
        number: as the column of that name in ``results/agreement_table.tsv``.
        analysis: as there; empty: the first analysis in :data:`NUMBERS` (then :data:`PLAIN_NUMBERS`) that has the
            number, so ``slope`` is that of least squares and ``bias`` that of the limits of agreement.
        bound: what must keep the rule: ``interval`` (both ends: the cautious choice), ``estimate``, ``low`` or
            ``high``.
        at_least, at_most, within: the rule, exactly one: value >= at_least, value <= at_most, |value| <= within.
        view, scorer: empty: all of them, each by itself.

    Raises:
        StudyError: an unknown number, analysis or bound, not exactly one rule, a limit that is not a finite number (or
            ``within`` below 0), or an interval asked of a number that has none.
    """

    number: str
    analysis: str = ""
    bound: str = "interval"
    at_least: float | None = None
    at_most: float | None = None
    within: float | None = None
    view: str = ""
    scorer: str = ""

    def __post_init__(self) -> None:
        given = [rule for rule in RULES if getattr(self, rule) is not None]
        if len(given) != 1:
            raise StudyError(f"A criterion needs exactly one of {', '.join(RULES)}; got {', '.join(given) or 'none'}.")
        if not math.isfinite(self.limit) or (given == ["within"] and self.limit < 0):
            raise StudyError(f"The limit {given[0]} must be a finite number ({RULES[2]}: 0 or more), got {self.limit}.")
        if self.bound not in BOUNDS:
            raise StudyError(f"Unknown bound {self.bound!r}. Expected one of: {', '.join(BOUNDS)}.")
        object.__setattr__(self, "analysis", self.analysis or _first_analysis(self.number))
        _check_number(self)

    @property
    def rule(self) -> str:
        """Which of :data:`RULES` it states."""
        return next(rule for rule in RULES if getattr(self, rule) is not None)

    @property
    def limit(self) -> float:
        """The limit of the rule."""
        return float(getattr(self, self.rule))

    def kept(self, value: float) -> bool:
        """Whether one value keeps the rule."""
        if self.rule == "within":
            return abs(value) <= self.limit
        return value >= self.limit if self.rule == "at_least" else value <= self.limit

    def text(self) -> str:
        """The criterion in words: ``least_squares pearson_r: low at least 0.7``."""
        what = {"interval": "whole interval", "estimate": "estimate", "low": "lower end", "high": "upper end"}
        return f"{self.analysis} {self.number}: {what[self.bound]} {self.rule.replace('_', ' ')} {self.limit:g}"


def evaluate(criteria: Iterable[Criterion], results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Hold the results of an agreement document against criteria.

    Args:
        criteria: what was stated.
        results: rows of :func:`drrval.stats.agreement_results`.

    Returns:
        One JSON-ready dict per criterion and matching view and scorer (one without values where none matches):
        ``criterion`` (in words), ``number, analysis, bound, rule, limit, view, scorer, estimate, low, high, level,
        n_patients, n_scans, n_intervals, outcome`` and ``reason``. The outcome is ``met``, ``not met`` or ``not
        computable``, which does not count as met.
    """
    rows = list(results)
    outcomes = []
    for criterion in criteria:
        matching = [
            row for row in rows if criterion.view in ("", row["view"]) and criterion.scorer in ("", row["scorer"])
        ]
        outcomes += [_outcome(criterion, row) for row in matching] or [_outcome(criterion, None)]
    return outcomes


def all_met(outcomes: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every outcome of :func:`evaluate` is ``met``."""
    return all(outcome["outcome"] == MET for outcome in outcomes)


def _outcome(criterion: Criterion, row: Mapping[str, Any] | None) -> dict[str, Any]:
    known = _number(criterion, row) if row is not None else {}
    ends = ("low", "high") if criterion.bound == "interval" else (criterion.bound,)
    values = [known.get(end) for end in ends]
    if any(value is None for value in values):
        outcome = NOT_COMPUTABLE
        reason = known.get("note") or ("No interval." if known else "No scan of this view and scorer has both ratios.")
    else:
        outcome, reason = (MET if all(criterion.kept(value) for value in values if value is not None) else NOT_MET), ""
    kept = ("estimate", "low", "high", "level", "n_patients", "n_scans", "n_intervals")
    return {
        "criterion": criterion.text(),
        "number": criterion.number,
        "analysis": criterion.analysis,
        "bound": criterion.bound,
        "rule": criterion.rule,
        "limit": criterion.limit,
        "view": row["view"] if row else criterion.view,
        "scorer": row["scorer"] if row else criterion.scorer,
        **{key: known.get(key) for key in kept},
        "outcome": outcome,
        "reason": reason,
    }


def _number(criterion: Criterion, row: Mapping[str, Any]) -> dict[str, Any]:
    for section in SECTIONS:
        if analysis := row[section].get(criterion.analysis):
            number = analysis["numbers"][criterion.number]
            return {**number, "note": " ".join(filter(None, [number["note"], analysis["note"]]))}
    return {}


def _first_analysis(number: str) -> str:
    tables = (NUMBERS, PLAIN_NUMBERS)
    pairs = [(analysis, name) for table in tables for analysis, names in table.items() for name in names]
    found = [analysis for analysis, name in pairs if name == number]
    if not found:
        known = ", ".join(dict.fromkeys(name for _, name in pairs))
        raise StudyError(f"Unknown number {number!r}. Expected one of: {known}.")
    return found[0]


def _check_number(criterion: Criterion) -> None:
    analysis, number = criterion.analysis, criterion.number
    plain = PLAIN_NUMBERS.get(analysis, ())
    known = (*NUMBERS.get(analysis, ()), *plain)
    if not known:
        analyses = ", ".join(dict.fromkeys([*NUMBERS, *PLAIN_NUMBERS]))
        raise StudyError(f"Unknown analysis {analysis!r}. Expected one of: {analyses}.")
    if number not in known:
        raise StudyError(f"The analysis {analysis} has no number {number!r}. Expected one of: {', '.join(known)}.")
    if number in plain and criterion.bound != "estimate":
        raise StudyError(f"{number} of {analysis} has no interval. Set bound: estimate.")
