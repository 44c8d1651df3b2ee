"""Statistics of a study: tidy tables in, tidy tables or JSON-ready dicts out, no files read or written."""

from drrval.stats.agreement import agreement, agreement_table
from drrval.stats.pairs import natural_key, pair_measurements, time_order, without_flags
from drrval.stats.regression import LineFit, fit_line
from drrval.stats.trends import compare_trends, trend_labels

__all__ = [
    "LineFit",
    "agreement",
    "agreement_table",
    "compare_trends",
    "fit_line",
    "natural_key",
    "pair_measurements",
    "time_order",
    "trend_labels",
    "without_flags",
]
