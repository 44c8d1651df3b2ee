"""Logistic regression with a random intercept per patient, by adaptive Gauss-Hermite quadrature.

``logit P(call = 1) = x . beta + b``, with ``b`` normal over patients (mean 0, standard deviation ``patient_sd``).
The likelihood integrates over ``b`` with nodes centred and scaled at each patient's mode (Pinheiro & Bates, J. Comput.
Graph. Stat. 1995;4:12-35, doi 10.1080/10618600.1995.10474663), as ``glmer(..., nAGQ = 25)`` of R's lme4 does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog, minimize
from scipy.special import expit, logsumexp
from statsmodels.discrete.discrete_model import Logit

from drrval.stats.resampling import Floats, Patients

MIN_PATIENTS = 3
N_NODES = 25
# Large tables have many scans per patient or many patients; few nodes are then exact enough.
_LARGE, _FEW_NODES = 50_000, 9
_SEPARATION_SAMPLE = 20_000
# A Newton decrement below this (in log likelihood) is convergence.
_CONVERGED = 1e-5
_NO_VARIATION = 1e-3
_ENDLESS_SD = 30.0


@dataclass(frozen=True)
class MixedLogit:
    """A fitted model.

    Attributes:
        names: of the coefficients.
        coefficients: log odds per unit of each column, ``[column]``.
        patient_sd: standard deviation of the patients' intercepts, log odds.
        covariance: of the coefficients and the patient SD, ``[column + 1, column + 1]``, from the observed information
            (0 for an SD of 0).
        log_likelihood: at the maximum.
        note: what to beware of, or an empty string.
    """

    names: tuple[str, ...]
    coefficients: Floats
    patient_sd: float
    covariance: Floats
    log_likelihood: float
    note: str = ""


def fit_mixed_logit(
    design: Floats, calls: npt.NDArray[np.intp], patients: Patients, names: tuple[str, ...]
) -> MixedLogit | str:
    """Fit by maximum likelihood.

    Args:
        design: columns ``[scan, column]``, the first one all 1, finite.
        calls: 0 or 1, ``[scan]``.
        patients: of the scans.
        names: of the columns.

    Returns:
        The model, or why there is none: one call only, too few patients, columns that depend on each other, separation,
        or patients whose calls are all equal.
    """
    if problem := _problem(design, calls, patients):
        return problem
    centre, scale = design.mean(axis=0), design.std(axis=0)
    centre[0], scale[0] = 0.0, 1.0
    likelihood = _Likelihood.of((design - centre) / scale, calls, patients)
    # Columns of the standard design in those of the given one: beta = turn @ standard beta.
    turn = np.diag(np.append(1 / scale, 1.0))
    turn[0, 1:-1] = -(centre / scale)[1:]
    plain: Any = Logit(calls, likelihood.design_by_scan).fit(disp=0)
    if np.bincount(patients.codes).max() == 1:
        return _plain_fit(plain, turn, names, "One scan per patient: no patient effect can be told from chance.")
    fit = likelihood.maximise(np.asarray(plain.params))
    if fit is None:
        return "No model: the likelihood has no maximum that could be found."
    parameters, covariance, height = fit
    if abs(parameters[-1]) < _NO_VARIATION:
        return _plain_fit(plain, turn, names, "No variation between patients beyond chance: the patient SD is 0.")
    if abs(parameters[-1]) > _ENDLESS_SD:
        return "No model: patients differ without limit (their calls hardly depend on anything else)."
    parameters[-1] = abs(parameters[-1])
    turned = turn @ parameters
    few = f"{patients.n_patients} patients are few for a patient SD." if patients.n_patients < 10 else ""
    return MixedLogit(names, turned[:-1], float(turned[-1]), turn @ covariance @ turn.T, height, few)


def is_separated(design: Floats, calls: npt.NDArray[np.intp]) -> bool:
    """Whether some combination of the columns splits calls of 0 and 1 (complete or quasi-complete separation).

    Then no finite maximum of the likelihood exists (Albert & Anderson, Biometrika 1984;71:1-10, doi
    10.1093/biomet/71.1.1). Found by a linear programme: the largest ``sum_i s_i x_i . beta`` with all
    ``s_i x_i . beta >= 0`` and ``|beta| <= 1``, ``s_i = 2 call_i - 1``, is above 0. If part of the rows is not
    separated, all of them are not.
    """
    signed = design * (2 * calls - 1)[:, None]
    if len(signed) > _SEPARATION_SAMPLE:
        step = -(-len(signed) // _SEPARATION_SAMPLE)
        if not is_separated(design[::step], calls[::step]):
            return False
    total = signed.sum(axis=0)
    found: Any = linprog(-total, A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1), method="highs")
    return bool(found.status == 0 and -found.fun > 1e-7 * np.abs(signed).sum())


def _problem(design: Floats, calls: npt.NDArray[np.intp], patients: Patients) -> str:
    if patients.n_patients < MIN_PATIENTS:
        return f"No model: it needs at least {MIN_PATIENTS} patients, got {patients.n_patients}."
    n_called = int(calls.sum())
    if n_called in (0, calls.size):
        return f"No model: {n_called} of {calls.size} scans are called positive, and it needs both calls."
    scale = np.where(design.std(axis=0) > 0, design.std(axis=0), 1.0)
    scaled = design / scale
    if np.linalg.matrix_rank(scaled - np.append(0.0, scaled[:, 1:].mean(axis=0))) < design.shape[1]:
        return "No model: a column is constant or follows from the others."
    if is_separated(scaled, calls):
        return "No model: the columns separate called from not called scans (no finite estimate exists)."
    several = np.bincount(patients.codes) > 1
    share = np.bincount(patients.codes, weights=calls) / np.bincount(patients.codes)
    if several.any() and np.isin(share[several], (0.0, 1.0)).all():
        return "No model: the calls of each patient are all equal, so patients differ without limit."
    return ""


def _plain_fit(plain: Any, turn: Floats, names: tuple[str, ...], note: str) -> MixedLogit:
    covariance = np.zeros_like(turn)
    covariance[:-1, :-1] = turn[:-1, :-1] @ plain.cov_params() @ turn[:-1, :-1].T
    return MixedLogit(names, turn[:-1, :-1] @ plain.params, 0.0, covariance, float(plain.llf), note)


@dataclass
class _Likelihood:
    """Log likelihood of ``(beta, patient SD)`` and its gradient; scans sorted by patient."""

    design_by_scan: Floats
    design: Floats
    calls: Floats
    codes: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    modes: Floats

    @classmethod
    def of(cls, design: Floats, calls: npt.NDArray[np.intp], patients: Patients) -> _Likelihood:
        order = np.argsort(patients.codes, kind="stable")
        codes = patients.codes[order]
        starts = np.searchsorted(codes, np.arange(patients.n_patients))
        return cls(design, design[order], calls[order].astype(float), codes, starts, np.zeros(patients.n_patients))

    def maximise(self, start: Floats) -> tuple[Floats, Floats, float] | None:
        """Parameters, their covariance and the log likelihood at the maximum; None if it was not reached."""
        initial = np.append(start, 1.0)
        scores = self.scores(initial)[1]
        # The scores' sum of squares stands for the unknown curvature; the small ridge keeps it invertible.
        squares = scores.T @ scores
        inverse = np.linalg.inv(squares + 1e-3 * np.trace(squares) / len(squares) * np.eye(len(squares)))
        found: Any = minimize(
            self.negative,
            initial,
            jac=True,
            method="BFGS",
            options={"gtol": 1e-5, "hess_inv0": (inverse + inverse.T) / 2},
        )
        information = self._information(found.x)
        if abs(found.x[-1]) < _NO_VARIATION:
            return found.x, np.zeros_like(information), -float(found.fun)
        try:
            covariance: Floats = np.asarray(np.linalg.inv(information), dtype=np.float64)
        except np.linalg.LinAlgError:
            return None
        if (np.diag(covariance) <= 0).any() or found.jac @ covariance @ found.jac > _CONVERGED:
            return None
        return found.x, covariance, -float(found.fun)

    def negative(self, parameters: Floats) -> tuple[float, Floats]:
        """Minus log likelihood, and its gradient."""
        heights, scores = self.scores(parameters)
        return -float(heights.sum()), -scores.sum(axis=0)

    def scores(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Log likelihood ``[patient]`` and its gradient ``[patient, parameter]``."""
        fixed, spread = self.design @ parameters[:-1], parameters[-1]
        width = self._find_modes(fixed, spread)
        nodes, weights = np.polynomial.hermite.hermgauss(_FEW_NODES if self.calls.size > _LARGE else N_NODES)
        # The gradient is the posterior mean of that of scans and patient effect together.
        heights, gradients = [], []
        for node, weight in zip(nodes, weights, strict=True):
            effect = self.modes + np.sqrt(2) * width * node
            linear = fixed + spread * effect[self.codes]
            residual = self.calls - expit(linear)
            terms = np.column_stack([self.calls * linear - np.logaddexp(0, linear), residual[:, None] * self.design])
            sums = np.add.reduceat(terms, self.starts, axis=0)
            heights.append(sums[:, 0] - effect**2 / 2 + node**2 + np.log(weight * width / np.sqrt(np.pi)))
            gradients.append(np.column_stack([sums[:, 1:], sums[:, 1] * effect]))
        height = logsumexp(heights, axis=0)
        posterior = np.exp(np.array(heights) - height)
        return height, np.einsum("qp,qpk->pk", posterior, np.array(gradients))

    def _find_modes(self, fixed: Floats, spread: float) -> Floats:
        """Move the modes of the standardised patient effects to their places; width of the peak, ``[patient]``."""
        for _ in range(50):
            chance = expit(fixed + spread * self.modes[self.codes])
            slope = spread * np.add.reduceat(self.calls - chance, self.starts) - self.modes
            curvature = spread**2 * np.add.reduceat(chance * (1 - chance), self.starts) + 1
            step = np.clip(slope / curvature, -2.0, 2.0)
            self.modes = self.modes + step
            if np.abs(step).max() < 1e-8:
                break
        return 1 / np.sqrt(curvature)

    def _information(self, parameters: Floats) -> Floats:
        """Observed information by central differences of the gradient."""
        step = 1e-4
        rows = []
        for place in range(parameters.size):
            shift = np.zeros_like(parameters)
            shift[place] = step
            rows.append((self.negative(parameters + shift)[1] - self.negative(parameters - shift)[1]) / (2 * step))
        information: Floats = np.array(rows, dtype=np.float64)
        return (information + information.T) / 2
