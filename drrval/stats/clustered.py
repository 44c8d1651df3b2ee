"""Least squares coefficient whose variance knows of patients: bias-reduced linearisation, right for few patients too.

Source: Bell & McCaffrey, Surv. Methodol. 2002;28:169-181; Pustejovsky & Tipton, J. Bus. Econ. Stat. 2018;36:672-683,
doi 10.1080/07350015.2016.1247004 (CR2 with independent errors as working model).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from drrval.stats.paired import CONSTANT, PairedScans
from drrval.stats.resampling import MIN_PATIENTS, Floats, Interval

CLUSTERED = (
    "a cluster-robust (CR2) variance and Student's t with Satterthwaite's degrees of freedom (Bell & McCaffrey 2002)"
)
# A variance below this part of the squared coefficient is rounding.
_NO_VARIANCE = 1e-24
# A direction in which one patient alone has this part of the information cannot be estimated without that patient.
_ALONE = 1 - 1e-9


def clustered_test(
    scans: PairedScans, columns: Floats, response: Floats, level: float = 0.95, unit: float = 1.0
) -> tuple[Interval, Interval]:
    """Coefficient of the first column of a least squares fit, and p of its being 0, clustered by patient.

    Args:
        scans: whose patients the clusters are.
        columns: ``[scan, k]``, without the constant, not collinear.
        response: ``[scan]``.
        level: of the interval.
        unit: what the coefficient and its interval are divided by.

    Returns:
        The coefficient with its interval, and the p-value; where it is None the note says why.
    """
    n_patients, n_coefficients = scans.patients.n_patients, columns.shape[1] + 1
    if n_patients < MIN_PATIENTS or scans.n_scans <= n_coefficients:
        note = (
            f"No clustered test: it needs at least {MIN_PATIENTS} patients and {n_coefficients + 1} scans, "
            f"got {n_patients} and {scans.n_scans}."
        )
        return scans.plain(None, note), scans.plain(None, note)
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    estimate, variance, freedom, unexplained = _fit(scans, centred / spread, response - response.mean())
    scale = float(spread[0]) * unit
    if not unexplained or not variance > _NO_VARIANCE * estimate**2:
        note = "No clustered test: the fit leaves no residuals that differ between patients."
        return scans.plain(estimate / scale, note), scans.plain(None, note)
    half = float(student.ppf((1 + level) / 2, freedom)) * variance**0.5
    low, high = (estimate - half) / scale, (estimate + half) / scale
    coefficient = Interval(estimate / scale, low, high, level, "cluster-robust t", n_patients, scans.n_scans)
    return coefficient, scans.plain(2 * float(student.sf(abs(estimate) / variance**0.5, freedom)))


def _fit(scans: PairedScans, columns: Floats, response: Floats) -> tuple[float, float, float, bool]:
    """First coefficient, its CR2 variance, its degrees of freedom, and whether there are residuals at all.

    With the design made orthonormal, Q, patient i weighs its residuals with ``A_i = (I - Q_i Q_i')^-1/2``. All that is
    needed of it is ``A_i Q_i = Q_i (I - Q_i' Q_i)^-1/2``, so that only sums per patient are worked with.
    """
    sums = scans.patients.sums
    design = [*columns.T, np.ones(scans.n_scans)]
    k = len(design)
    products, with_response = np.empty((scans.patients.n_patients, k, k)), np.empty((scans.patients.n_patients, k))
    for i, one in enumerate(design):
        with_response[:, i] = sums(one * response)
        for j, other in enumerate(design[: i + 1]):
            products[:, i, j] = products[:, j, i] = sums(one * other)
    # X = Q L' with the Cholesky factor L of X'X.
    to_basis = np.linalg.inv(np.linalg.cholesky(products.sum(axis=0)))
    products, with_response = to_basis @ products @ to_basis.T, with_response @ to_basis.T
    direction, weights = to_basis[:, 0], with_response.sum(axis=0)
    residuals = response - sum(c * column for c, column in zip(weights @ to_basis, design, strict=True))
    unexplained = bool(residuals @ residuals > CONSTANT**2 * (response @ response))
    share, axes = np.linalg.eigh(products)
    # A patient who alone tells a direction has no residual there (generalised inverse).
    adjust = np.where(share < _ALONE, 1 / np.sqrt(np.maximum(1 - share, 1 - _ALONE)), 0.0)
    influence = np.einsum("pij,pj,pkj,k->pi", axes, adjust, axes, direction)
    pulled = np.einsum("pij,pj->pi", products, influence)
    scores = np.sum(influence * with_response, axis=1) - pulled @ weights
    # Expected products of two patients' scores under independent errors: diag(own) - pulled pulled'.
    own, shared = np.sum(influence * pulled, axis=1), np.sum(pulled**2, axis=1)
    of_square = np.sum(own**2) - 2 * np.sum(own * shared) + np.sum((pulled.T @ pulled) ** 2)
    freedom = (own.sum() - shared.sum()) ** 2 / max(of_square, np.finfo(float).tiny)
    return float(direction @ weights), float(scores @ scores), float(freedom), unexplained
