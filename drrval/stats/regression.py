"""Straight line and correlation of two columns, as the paper's Fig. 12, and whether a straight line fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import statsmodels.api as sm
from scipy.stats import pearsonr

from drrval.errors import StudyError
from drrval.stats.paired import CONSTANT, MIN_SCANS, Analysis, PairedScans
from drrval.stats.resampling import MIN_PATIENTS, Floats, Interval, Resampling, patient_bootstrap

LEAST_SQUARES = (
    "Ordinary least squares line of y on x and Pearson's r over all scans (Amer et al. 2021, Fig. 12). p_value takes "
    "all scans as independent, as the paper does; p_value_clustered is that of the slope with a cluster-robust (CR1) "
    "variance and Student's t with one degree of freedom fewer than patients (Cameron & Miller 2015)."
)
LINEARITY = (
    "Least squares parabola of y on x; quadratic is its x^2 term with a cluster-robust (CR1) interval over patients "
    "and p_value that of quadratic = 0, Student's t with one degree of freedom fewer than patients "
    "(Cameron & Miller 2015)."
)
# A variance below this part of the squared coefficient is rounding.
_NO_VARIANCE = 1e-24


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
    line = sm.OLS(ys, sm.add_constant(xs)).fit()
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


def clustered_test(
    scans: PairedScans, columns: Floats, response: Floats, level: float = 0.95, unit: float = 1.0
) -> tuple[Interval, Interval]:
    """Coefficient of the first column of a least squares fit, and p of its being 0, clustered by patient.

    Cluster-robust variance with the CR1 correction and Student's t with (patients - 1) degrees of freedom
    (Cameron & Miller, J. Hum. Resour. 2015;50:317-372, doi 10.3368/jhr.50.2.317), by statsmodels. With few
    patients such a p-value is somewhat too small.

    Args:
        scans: whose patients the clusters are.
        columns: ``[scan, k]``, without the constant.
        response: ``[scan]``.
        level: of the interval.
        unit: what the coefficient and its interval are divided by.
    """
    n_patients, n_coefficients = scans.patients.n_patients, columns.shape[1] + 1
    if n_patients < MIN_PATIENTS or scans.n_scans <= n_coefficients:
        note = (
            f"No clustered test: it needs at least {MIN_PATIENTS} patients and {n_coefficients + 1} scans, "
            f"got {n_patients} and {scans.n_scans}."
        )
        return scans.plain(None, note), scans.plain(None, note)
    fit: Any = sm.OLS(response, np.column_stack([columns, np.ones(scans.n_scans)])).fit(
        cov_type="cluster", cov_kwds={"groups": scans.patients.codes}, use_t=True
    )
    unexplained = fit.ssr > CONSTANT**2 * float(response @ response)
    if not unexplained or not (np.diag(fit.cov_params()) > _NO_VARIANCE * fit.params**2).all():
        note = "No clustered test: the fit leaves no residuals that differ between patients."
        return scans.plain(float(fit.params[0]) / unit, note), scans.plain(None, note)
    low, high = fit.conf_int(alpha=1 - level)[0] / unit
    few = "With fewer than 20 patients a cluster-robust p-value can be too small." if n_patients < 20 else ""
    coefficient = Interval(
        float(fit.params[0]) / unit, float(low), float(high), level, "cluster-robust t", n_patients, scans.n_scans
    )
    return coefficient, scans.plain(float(fit.pvalues[0]), few)
