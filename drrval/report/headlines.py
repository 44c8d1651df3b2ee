"""The numbers of a comparison that a reader looks for first: those of the report's table and of the forest plot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """A number of :func:`drrval.stats.agreement_results`.

    Attributes:
        section, analysis, number: where it stands.
        label: what a reader calls it.
        has_unit: it is in the unit of the measurements.
        has_interval: it has an interval, so it belongs into a forest plot.
    """

    section: str
    analysis: str
    number: str
    label: str
    has_unit: bool = False
    has_interval: bool = True


HEADLINES = (
    Headline("regression", "least_squares", "pearson_r", "Pearson's r"),
    Headline("regression", "least_squares", "slope", "slope, least squares"),
    Headline("regression", "deming", "slope", "slope, Deming"),
    Headline("regression", "passing_bablok", "slope", "slope, Passing-Bablok"),
    Headline("regression", "mixed_model", "slope", "slope, mixed model"),
    Headline("regression", "least_squares", "intercept", "intercept, least squares", has_unit=True),
    Headline("regression", "deming", "intercept", "intercept, Deming", has_unit=True),
    Headline("regression", "passing_bablok", "intercept", "intercept, Passing-Bablok", has_unit=True),
    Headline("regression", "mixed_model", "intercept", "intercept, mixed model", has_unit=True),
    Headline("regression", "linearity", "p_value", "linearity, p", has_interval=False),
    Headline("agreement", "limits_of_agreement", "bias", "bias", has_unit=True),
    Headline("agreement", "limits_of_agreement", "lower_limit", "lower limit of agreement", has_unit=True),
    Headline("agreement", "limits_of_agreement", "upper_limit", "upper limit of agreement", has_unit=True),
    Headline("agreement", "total_deviation", "total_deviation_index", "total deviation index, 90 %", has_unit=True),
    Headline("agreement", "proportional_bias", "slope", "proportional bias, slope"),
    Headline("agreement", "lin_concordance", "concordance", "Lin's concordance"),
    Headline("agreement", "intraclass_correlation", "icc_2_1", "ICC(2,1)"),
    Headline("agreement", "repeated_measures_correlation", "r", "r within patients"),
    Headline("trends", "trend_direction", "trend_accuracy", "trend accuracy"),
    Headline("trends", "trend_direction", "no_information_rate", "no-information rate", has_interval=False),
    Headline("trends", "trend_permutation", "p_value", "permutation test, p", has_interval=False),
    Headline("trends", "trend_direction", "cohen_kappa", "Cohen's kappa of trends"),
    Headline("trends", "trend_direction", "gwet_ac1", "Gwet's AC1 of trends"),
    Headline("trends", "trend_zone", "accuracy", "trend accuracy, three labels"),
    Headline("trends", "four_quadrant", "concordance", "four-quadrant concordance"),
    Headline("trends", "change_line", "pearson_r", "r of changes"),
)
