"""Figures of agreement: one function each, made from tables and the numbers of ``agreement.json`` alone.

Figures are made at their printed size, one journal column (88 mm) or a page (180 mm) wide, with text of at least 7
points and colours that are told apart under all common colour-vision deficiencies. They are made without pyplot: no
window, no backend and no other global state is touched.
"""

from drrval.report.figures.bland_altman import bland_altman_figure
from drrval.report.figures.courses import course_figure, course_sample_text
from drrval.report.figures.detection import detection_figure
from drrval.report.figures.error_budget import error_budget_figure
from drrval.report.figures.forest import forest_figure
from drrval.report.figures.four_quadrant import four_quadrant_figure
from drrval.report.figures.regression import regression_figure
from drrval.report.figures.scans import MAX_POINTS, PlottedScans
from drrval.report.figures.style import save_figure

__all__ = [
    "MAX_POINTS",
    "PlottedScans",
    "bland_altman_figure",
    "course_figure",
    "course_sample_text",
    "detection_figure",
    "error_budget_figure",
    "forest_figure",
    "four_quadrant_figure",
    "regression_figure",
    "save_figure",
]
