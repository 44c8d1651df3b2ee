"""Linear mixed model: a line whose intercept and slope vary from patient to patient.

The likelihood of a patient needs only sums over the patient's scans (number, x, y, x^2, x y, y^2), so a table of
a million scans costs as much as one of its patients. Restricted maximum likelihood as in Laird & Ware, Biometrics
1982;38:963-974, doi 10.2307/2529876; the tests hold it to statsmodels' MixedLM and R's lme4.
"""

from __future__ import annotations

from typing import Unpack

import numpy as np
from scipy.optimize import minimize

from drrval.stats.paired import CONSTANT, Analysis, PairedScans
from drrval.stats.resampling import Floats, Resampling, patient_bootstrap

METHOD = (
    "Linear mixed model of y on x with a random intercept {and_slope}of each patient, restricted maximum likelihood "
    "(Laird & Ware 1982). The intervals weight patients' generalised least squares sums, with the variances held at "
    "their estimates."
)
_NUMBERS = ("slope", "intercept", "sd_intercept", "sd_slope", "correlation", "sd_residual")
# Below this part of the residual standard deviation, a random effect (over one standard deviation of x) is nil.
_NIL = 1e-3
# Cholesky factors (of the random effects' covariance by the residual variance) from which the search starts.
_STARTS = ((1.0, 0.0, 1.0), (0.3, 0.0, 0.1))


def mixed_model(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Line of y on x with random intercept and slope of each patient, and patient-bootstrap intervals.

    Returns:
        ``slope, intercept`` of the mean patient with BCa intervals; without intervals ``sd_intercept`` (at x = 0),
        ``sd_slope``, their ``correlation``, and ``sd_residual``. With no more than two scans per patient on average
        the slope cannot vary: the model then has a random intercept only, and its note says so. Numbers are None
        where no patient was scanned twice or there are fewer than 3 patients.
    """
    n_scans, n_patients = scans.n_scans, scans.patients.n_patients
    problem = scans.problem("mixed model")
    if not problem and (n_patients < 3 or n_scans < n_patients + 2):
        problem = (
            f"No mixed model: it needs at least 3 patients and 2 more scans than patients, got {n_patients} patients "
            f"and {n_scans} scans."
        )
    random_slope = n_scans > 2 * n_patients
    method = METHOD.format(and_slope="and slope " if random_slope else "")
    if problem:
        return Analysis("mixed_model", method, scans.nothing(_NUMBERS, problem))
    centre, scale = np.array([scans.x.mean(), scans.y.mean()]), np.array([scans.x.std(), scans.y.std()])
    sums = _sums(scans, centre, scale)
    cholesky = _fit(sums, n_scans, 3 if random_slope else 1)
    per_unit = scans.patients.unit_sums(_generalised(sums, cholesky @ cholesky.T).T)

    def line(weights: Floats) -> dict[str, Floats]:
        level, slope = _fixed_effects(weights @ per_unit)
        slope *= scale[1] / scale[0]
        return {"slope": slope, "intercept": centre[1] + scale[1] * level - slope * centre[0]}

    numbers = patient_bootstrap(line, scans.patients, **resampling)
    spread, note = _spread(sums, scans.n_scans, cholesky, centre[0], scale)
    if not random_slope:
        spread = {**spread, "sd_slope": None, "correlation": None}
        note = "No random slope: it needs more than two scans per patient on average."
    return Analysis("mixed_model", method, {**numbers, **{k: scans.plain(v) for k, v in spread.items()}}, note)


def _sums(scans: PairedScans, centre: Floats, scale: Floats) -> Floats:
    """``1, x, x^2, y, x y, y^2`` of standardised x and y, summed per patient, ``[6, patient]``."""
    x, y = (scans.x - centre[0]) / scale[0], (scans.y - centre[1]) / scale[1]
    return np.ascontiguousarray(scans.patients.sums(np.stack([np.ones_like(x), x, x * x, y, x * y, y * y], axis=1)).T)


def _generalised(sums: Floats, covariance: Floats) -> Floats:
    """Generalised least squares sums per patient, V being the covariance of y by the residual variance.

    By Woodbury, V^-1 = I - Z M Z' with M = D (I + Z'Z D)^-1 for the random effects' covariance D; here X = Z = (1, x).

    Returns:
        ``[7, patient]``: 1'V^-1 1, 1'V^-1 x, x'V^-1 x, 1'V^-1 y, x'V^-1 y, y'V^-1 y, log |V|.
    """
    n, x, xx, y, xy, yy = sums
    (d00, d01), (_, d11) = covariance
    determinant = d00 * d11 - d01 * d01
    size = 1 + n * d00 + 2 * x * d01 + xx * d11 + determinant * (n * xx - x * x)
    m00, m01, m11 = (d00 + determinant * xx) / size, (d01 - determinant * x) / size, (d11 + determinant * n) / size
    one_0, one_1, x_0, x_1 = n * m00 + x * m01, n * m01 + x * m11, x * m00 + xx * m01, x * m01 + xx * m11
    columns = [
        n - (one_0 * n + one_1 * x),
        x - (one_0 * x + one_1 * xx),
        xx - (x_0 * x + x_1 * xx),
        y - (one_0 * y + one_1 * xy),
        xy - (x_0 * y + x_1 * xy),
        yy - (m00 * y * y + 2 * m01 * y * xy + m11 * xy * xy),
        np.log(size),
    ]
    return np.stack(columns)


def _fixed_effects(totals: Floats) -> tuple[Floats, Floats]:
    """Intercept and slope from the totals ``[..., 7]`` of :func:`_generalised`, NaN where x does not vary."""
    a, b, d, first, second = np.moveaxis(totals[..., :5], -1, 0)
    determinant = a * d - b * b
    determinant = np.where(determinant > CONSTANT * a * d, determinant, np.nan)
    return (d * first - b * second) / determinant, (a * second - b * first) / determinant


def _residual_variance(sums: Floats, n_scans: int, covariance: Floats) -> tuple[float, float]:
    """Restricted estimate of the residual variance, and minus twice the log likelihood but for a constant."""
    totals = _generalised(sums, covariance).sum(axis=1)
    level, slope = _fixed_effects(totals)
    freedom = n_scans - 2
    squares = float(totals[5] - level * totals[3] - slope * totals[4])
    variance = max(squares / freedom, np.finfo(float).tiny)
    fixed_determinant = totals[0] * totals[2] - totals[1] ** 2
    return variance, float(totals[6] + freedom * np.log(variance) + np.log(fixed_determinant))


def _fit(sums: Floats, n_scans: int, n_free: int) -> Floats:
    """Cholesky factor of the random effects' covariance by the residual variance, at the restricted maximum."""

    def factor(free: Floats) -> Floats:
        a, b, c = (*free, 0.0, 0.0)[:3]
        return np.array([[a, 0.0], [b, c]])

    def deviance(free: Floats) -> float:
        cholesky = factor(free)
        # Per scan, so that the search stops alike for small and large tables.
        return _residual_variance(sums, n_scans, cholesky @ cholesky.T)[1] / n_scans

    fits = [
        minimize(deviance, start[:n_free], method="BFGS", jac="3-point", options={"gtol": 1e-7}) for start in _STARTS
    ]
    best = min(fits, key=lambda fit: float(fit.fun))
    return factor(best.x)


def _spread(
    sums: Floats, n_scans: int, cholesky: Floats, centre: float, scale: Floats
) -> tuple[dict[str, float | None], str]:
    """Standard deviations in the unit of y (the slope's per unit of x), and what is nil."""
    variance = _residual_variance(sums, n_scans, cholesky @ cholesky.T)[0] * scale[1] ** 2
    to_raw = np.array([[1.0, -centre / scale[0]], [0.0, 1 / scale[0]]])
    raw = to_raw @ cholesky @ cholesky.T @ to_raw.T * variance
    sd_intercept, sd_slope = np.sqrt(np.diag(raw))
    singular = bool(np.linalg.svd(cholesky, compute_uv=False).min() < _NIL)
    correlation = None if singular else float(raw[0, 1] / (sd_intercept * sd_slope))
    spread: dict[str, float | None] = {
        "sd_intercept": float(sd_intercept),
        "sd_slope": float(sd_slope),
        "correlation": correlation,
        "sd_residual": float(np.sqrt(variance)),
    }
    note = "The fit is singular: intercept and slope do not both vary between patients, or only together."
    return spread, note if singular else ""
