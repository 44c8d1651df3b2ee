"""Straight line and correlation of two columns, as the paper's Fig. 12, and whether a straight line fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr
from statsmodels.regression.linear_model import OLS

from drrval.errors import StudyError
from drrval.stats.clustered import CLUSTERED, clustered_test
from drrval.stats.paired import CONSTANT, MIN_SCANS, Analysis, PairedScans
from drrval.stats.resampling import Floats, Resampling, patient_bootstrap

LEAST_SQUARES = (
    "Ordinary least squares line of y on x and Pearson's r over all scans (Amer et al. 2021, Fig. 12). p_value takes "
    f"all scans as independent, as the paper does; p_value_clustered is that of the slope with {CLUSTERED}."
)
LINEARITY = (
    "Least squares parabola of y on x; quadratic is its x^2 term and p_value that of quadratic = 0, both with "
    f"{CLUSTERED}."
)


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
        if np.ptp(column) <= CONSTANT * np.abs(column).max():
            return LineFit(note=f"No regression: every {name} is {column[0]:g}, so correlation is not defined.")
    correlation = pearsonr(xs, ys)
    line = OLS(ys, np.column_stack([np.ones_like(xs), xs])).fit()
    intercept, slope = (float(value) for value in line.params)
    return LineFit(
        pearson_r=float(correlation.statistic),
        p_value=float(correlation.pvalue),
        slope=slope,
        intercept=intercept,
        r_squared=float(line.rsquared),
    )


def least_squares(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """The paper's line and correlation, with patient-bootstrap intervals and a p-value that knows of patients.

    Returns:
        ``pearson_r, slope, intercept, r_squared`` with BCa intervals, ``p_value`` and ``p_value_clustered`` without.
    """
    names = ("pearson_r", "slope", "intercept", "r_squared", "p_value", "p_value_clustered")
    if problem := scans.problem("regression"):
        return Analysis("least_squares", LEAST_SQUARES, scans.nothing(names, problem))

    def line(weights: Floats) -> dict[str, Floats]:
        m = scans.moments(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope, r = m.sxy / m.sxx, np.clip(m.sxy / np.sqrt(m.sxx * m.syy), -1, 1)
            intercept = m.mean_y - slope * m.mean_x
        return {"pearson_r": r, "slope": slope, "intercept": intercept, "r_squared": r * r}

    numbers = patient_bootstrap(line, scans.patients, **resampling)
    p_value = float(pearsonr(scans.x, scans.y).pvalue)
    numbers["p_value"] = scans.plain(p_value, "Scans of one patient are not independent: it can be too small.")
    numbers["p_value_clustered"] = clustered_test(scans, scans.x[:, None], scans.y)[1]
    return Analysis("least_squares", LEAST_SQUARES, numbers)


def linearity(scans: PairedScans, level: float = 0.95) -> Analysis:
    """Does a parabola fit better than the straight line?

    Returns:
        ``quadratic`` (in units of y per unit of x squared) with its interval, and ``p_value``.
    """
    problem = scans.problem("test of linearity")
    if not problem and np.unique(scans.x).size < 3:
        problem = f"No test of linearity: {scans.names[0]} takes only 2 values, and a curve needs 3."
    if problem:
        return Analysis("linearity", LINEARITY, scans.nothing(("quadratic", "p_value"), problem))
    centred = scans.x - scans.x.mean()
    scale = float(centred.std())
    standard = centred / scale
    quadratic, p_value = clustered_test(scans, np.stack([standard**2, standard], axis=1), scans.y, level, scale**2)
    return Analysis("linearity", LINEARITY, {"quadratic": quadratic, "p_value": p_value})
