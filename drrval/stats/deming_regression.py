"""Deming regression: both measurements carry an error, and the ratio of the error variances is known."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt

from drrval.errors import StudyError
from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.resampling import Floats, Patients, Resampling, patient_bootstrap


def deming(scans: PairedScans, error_ratio: float = 1.0, **resampling: Unpack[Resampling]) -> Analysis:
    """Line through scans whose x and y both have an error, with patient-bootstrap intervals.

    Minimises the sum of ``(x - X)^2 + error_ratio * (y - intercept - slope * X)^2`` (Deming 1943; closed form as
    in Linnet, Clin. Chem. 1993;39:424-432, doi 10.1093/clinchem/39.3.424).

    Args:
        scans: see :class:`PairedScans`.
        error_ratio: variance of the error of x by that of y, as in R's mcr; see :func:`error_variance`. 1 is
            orthogonal regression.

    Returns:
        ``slope, intercept``. The ratio is taken as known: its own uncertainty is not in the intervals.

    Raises:
        StudyError: the ratio is not a positive number.
    """
    if not (np.isfinite(error_ratio) and error_ratio > 0):
        raise StudyError(
            f"Deming regression needs an error-variance ratio above 0, got {error_ratio}. If x has no error, use "
            "least squares; if the ratio is not known, estimate it from replicates or take 1."
        )
    method = (
        f"Deming regression with an error variance of x by that of y of {error_ratio:g}, taken as known (Linnet 1993)."
    )
    if problem := scans.problem("regression"):
        return Analysis("deming", method, scans.nothing(("slope", "intercept"), problem))

    def line(weights: Floats) -> dict[str, Floats]:
        m = scans.moments(weights)
        balance = error_ratio * m.syy - m.sxx
        root = np.sqrt(balance**2 + 4 * error_ratio * m.sxy**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Two forms of one root; the sum that does not cancel is taken.
            slope = np.where(balance >= 0, (balance + root) / (2 * error_ratio * m.sxy), 2 * m.sxy / (root - balance))
            return {"slope": slope, "intercept": m.mean_y - slope * m.mean_x}

    return Analysis("deming", method, patient_bootstrap(line, scans.patients, **resampling))


def error_variance(values: npt.ArrayLike, items: npt.ArrayLike) -> float:
    """Variance of the measurement error from replicates: the pooled variance within items.

    Args:
        values: ``[measurement]``, finite.
        items: what was measured, ``[measurement]``, for example ``patient/session``; items with one value do not count.

    Returns:
        Squared unit of ``values``. The ratio for :func:`deming` is that of x divided by that of y.

    Raises:
        StudyError: the columns differ in length, a value is not finite, or no item was measured twice.
    """
    column, codes = np.asarray(values, dtype=np.float64), Patients.of(items)
    if column.shape != codes.codes.shape or not np.isfinite(column).all():
        raise StudyError(
            f"Replicates need finite values with one item label each, got shape {column.shape} for {codes.n_scans} "
            "labels, or NaN or infinity. Leave missing values out first."
        )
    freedom = codes.n_scans - codes.n_patients
    if freedom == 0:
        raise StudyError("No item was measured twice, so the error cannot be estimated. Add replicates.")
    means = codes.sums(column) / np.bincount(codes.codes)
    return float(np.sum((column - means[codes.codes]) ** 2) / freedom)
