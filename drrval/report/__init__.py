"""Report of a study: figures, overlays and pages, made from the files of an output folder alone."""

from drrval.report.figures import (
    PlottedScans,
    bland_altman_figure,
    course_figure,
    detection_figure,
    error_budget_figure,
    forest_figure,
    four_quadrant_figure,
    regression_figure,
    save_figure,
)
from drrval.report.html import write_reports
from drrval.report.methods import methods_text
from drrval.report.overlays import ct_overview, drr_overlay

__all__ = [
    "PlottedScans",
    "bland_altman_figure",
    "course_figure",
    "ct_overview",
    "detection_figure",
    "drr_overlay",
    "error_budget_figure",
    "forest_figure",
    "four_quadrant_figure",
    "methods_text",
    "regression_figure",
    "save_figure",
    "write_reports",
]
