"""Report of a study: figures, overlays and pages, made from the files of an output folder alone."""

from drrval.report.figures import course_figure, regression_figure, save_figure
from drrval.report.html import write_reports
from drrval.report.methods import methods_text
from drrval.report.overlays import ct_overview, drr_overlay

__all__ = [
    "course_figure",
    "ct_overview",
    "drr_overlay",
    "methods_text",
    "regression_figure",
    "save_figure",
    "write_reports",
]
