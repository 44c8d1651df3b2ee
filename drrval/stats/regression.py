"""Straight line and correlation of two columns, as the paper's Fig. 12."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from scipy.stats import pearsonr

from drrval.errors import StudyError

MIN_SCANS = 3
# A column whose whole range is below this part of its largest value is constant but for rounding.
_CONSTANT = 1e-9


@dataclass(frozen=True)
class LineFit:
    """Ordinary least squares line ``y = slope * x + intercept`` with Pearson's correlation.

    Attributes:
        pearson_r, r_squared: correlation of x and y, and share of the variance of y that the line explains.
        p_value: two-sided p of r = 0 (Student's t, n - 2 degrees of freedom), points taken as independent.
        slope, intercept: of y on x.
        note: why the others are None, or an empty string.
    """

    pearson_r: float | None = None
    p_value: float | None = None
    slope: float | None = None
    intercept: float | None = None
    r_squared: float | None = None
    note: str = ""


def fit_line(x: npt.ArrayLike, y: npt.ArrayLike, names: tuple[str, str] = ("x", "y")) -> LineFit:
    """Regress y on x by ordinary least squares (statsmodels) and correlate them (scipy's Pearson r).

    Args:
        x, y: ``[n]``, finite.
        names: what x and y are, for the note.

    Returns:
        The fit; with fewer than 3 points or a constant column its numbers are None and ``note`` says why.

    Raises:
        StudyError: x and y differ in length or hold a value that is not finite.
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.shape != ys.shape or xs.ndim != 1:
        raise StudyError(
            f"A line needs two columns of one length, got shapes {xs.shape} and {ys.shape}. Pair the rows first."
        )
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise StudyError("A line needs finite values, got NaN or infinity. Leave those scans out first.")
    if xs.size < MIN_SCANS:
        return LineFit(note=f"No regression: it needs at least {MIN_SCANS} scans, got {xs.size}.")
    for name, column in zip(names, (xs, ys), strict=True):
        if np.ptp(column) <= _CONSTANT * np.abs(column).max():
            return LineFit(note=f"No regression: every {name} is {column[0]:g}, so correlation is not defined.")
    correlation = pearsonr(xs, ys)
    line = sm.OLS(ys, sm.add_constant(xs)).fit()
    intercept, slope = (float(value) for value in line.params)
    return LineFit(
        pearson_r=float(correlation.statistic),
        p_value=float(correlation.pvalue),
        slope=slope,
        intercept=intercept,
        r_squared=float(line.rsquared),
    )
