"""Statistics of a study: tidy tables in, tidy tables or JSON-ready dicts out, no files read or written.

``comparison`` joins all analyses of one test against one reference; ``agreement`` applies it to every view and scorer
of a study; ``acceptance`` holds the numbers against criteria. The analyses themselves are one module per method.
"""

from drrval.stats.acceptance import Criterion, evaluate
from drrval.stats.agreement import agreement_document, agreement_results, agreement_table
from drrval.stats.bland_altman import limits_of_agreement, proportional_bias
from drrval.stats.comparison import ComparisonSettings, compare
from drrval.stats.concordance import intraclass_correlation, lin_concordance
from drrval.stats.courses import change_table, courses_of_pairs, make_courses
from drrval.stats.deming_regression import deming, error_variance
from drrval.stats.detection import DetectionModel, fit_detection
from drrval.stats.deviation_index import total_deviation
from drrval.stats.mixed import mixed_model
from drrval.stats.paired import Analysis, PairedScans, analysis_table
from drrval.stats.pairs import natural_key, pair_measurements, time_order, without_flags
from drrval.stats.passing_bablok_regression import passing_bablok
from drrval.stats.permutation import permutation_test
from drrval.stats.power import interval_widths, smallest_design
from drrval.stats.precision import minimal_detectable_change, repeatability
from drrval.stats.regression import LineFit, fit_line, least_squares, linearity
from drrval.stats.repeated_correlation import repeated_measures_correlation
from drrval.stats.resampling import Interval, Patients, patient_bootstrap
from drrval.stats.roc import ScoredScans, auc, compare_auc, operating_points, roc_curve
from drrval.stats.slopes import patient_slopes, slope_agreement
from drrval.stats.trend_analyses import trend_agreement
from drrval.stats.trends import compare_trends, trend_labels

__all__ = [
    "Analysis",
    "ComparisonSettings",
    "Criterion",
    "DetectionModel",
    "Interval",
    "LineFit",
    "PairedScans",
    "Patients",
    "ScoredScans",
    "agreement_document",
    "agreement_results",
    "agreement_table",
    "analysis_table",
    "auc",
    "change_table",
    "compare",
    "compare_auc",
    "compare_trends",
    "courses_of_pairs",
    "deming",
    "error_variance",
    "evaluate",
    "fit_detection",
    "fit_line",
    "interval_widths",
    "intraclass_correlation",
    "least_squares",
    "limits_of_agreement",
    "lin_concordance",
    "linearity",
    "make_courses",
    "minimal_detectable_change",
    "mixed_model",
    "natural_key",
    "operating_points",
    "pair_measurements",
    "passing_bablok",
    "patient_bootstrap",
    "patient_slopes",
    "permutation_test",
    "proportional_bias",
    "repeatability",
    "repeated_measures_correlation",
    "roc_curve",
    "slope_agreement",
    "smallest_design",
    "time_order",
    "total_deviation",
    "trend_agreement",
    "trend_labels",
    "without_flags",
]
