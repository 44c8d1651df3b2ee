"""Receiver operating characteristic of a score against a yes/no truth, with the scans of a patient kept together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, rankdata

from drrval.errors import StudyError
from drrval.stats.paired import Analysis
from drrval.stats.resampling import Floats, Interval, Patients, Resampling, patient_bootstrap
from drrval.stats.sums import bootstrap_sums, ratio

# Beyond this many scans the cluster bootstrap is left out: Obuchowski's interval is as good there.
MAX_BOOTSTRAP_SCANS = 20_000
RATES = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
OPERATING_COLUMNS = [
    "threshold",
    "quantity",
    "estimate",
    "low",
    "high",
    "level",
    "method",
    "n_patients",
    "n_scans",
    "note",
]


@dataclass(frozen=True)
class ScoredScans:
    """Scores and truths of scans.

    Attributes:
        scores: higher means more likely diseased, ``[scan]``.
        truths: whether the scan is diseased, ``[scan]``.
        patients: of the scans.
    """

    scores: Floats
    truths: npt.NDArray[np.bool_]
    patients: Patients

    @classmethod
    def of(cls, scores: npt.ArrayLike, truths: npt.ArrayLike, patients: npt.ArrayLike) -> ScoredScans:
        """Check and join three columns of one length.

        Raises:
            StudyError: the lengths differ, a score is missing or infinite, or a truth is not 0 or 1.
        """
        score, truth = np.asarray(scores, dtype=float), np.asarray(truths, dtype=float)
        groups = Patients.of(patients)
        if not score.shape == truth.shape == (groups.n_scans,):
            raise StudyError(
                f"A ROC curve needs three columns of one length, got shapes {score.shape} and {truth.shape} and "
                f"{groups.n_scans} patient labels. Pair the rows first."
            )
        if not np.isfinite(score).all():
            raise StudyError(f"{int((~np.isfinite(score)).sum())} scores are not finite. Leave those scans out first.")
        if not np.isin(truth, (0, 1)).all():
            raise StudyError(
                f"A truth is 0 or 1, got {truth[~np.isin(truth, (0, 1))][0]}. Compare the extent with a limit."
            )
        return cls(score, truth.astype(bool), groups)

    @property
    def problem(self) -> str:
        """Why there is no curve: one class only; else empty."""
        n_diseased = int(self.truths.sum())
        if n_diseased in (0, self.truths.size):
            return f"No ROC curve: {n_diseased} of {self.truths.size} scans are diseased, and it needs both."
        return ""


def roc_curve(scans: ScoredScans) -> pd.DataFrame:
    """Points of the curve: ``threshold, sensitivity, specificity``, from the highest threshold (infinite) down.

    A scan is called if its score is at least the threshold. Empty where one class is missing.
    """
    if scans.problem:
        return pd.DataFrame(columns=["threshold", "sensitivity", "specificity"], dtype=float)
    thresholds, place = np.unique(-scans.scores, return_inverse=True)
    diseased = np.cumsum(np.bincount(place, weights=scans.truths))
    healthy = np.cumsum(np.bincount(place, weights=~scans.truths))
    return pd.DataFrame(
        {
            "threshold": np.append(np.inf, -thresholds),
            "sensitivity": np.append(0.0, diseased / diseased[-1]),
            "specificity": np.append(1.0, 1 - healthy / healthy[-1]),
        }
    )


def auc(scans: ScoredScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Area under the curve with three intervals.

    Returns:
        ``auc_delong`` (scans independent; DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837-845, doi
        10.2307/2531595), ``auc_clustered`` (scans of a patient together; Obuchowski, Biometrics 1997;53:567-578, doi
        10.2307/2533958) and ``auc`` (patient bootstrap). Where no interval can be given, ``note`` says why.
    """
    level = resampling.get("level", 0.95)
    plain = Interval(None, level=level, n_patients=scans.patients.n_patients, n_scans=scans.patients.n_scans)
    method = "Area under the ROC curve, ties count one half (DeLong 1988, Obuchowski 1997, patient bootstrap)."
    if scans.problem:
        missing = replace(plain, note=scans.problem)
        return Analysis("auc", method, dict.fromkeys(("auc", "auc_delong", "auc_clustered"), missing))
    area, of_diseased, of_healthy = _components(scans)
    independent = float(_covariances([(of_diseased, of_healthy)])[0, 0])
    clustered = float(_clustered_covariances(scans, [area], [(of_diseased, of_healthy)])[0, 0])
    plain = replace(plain, estimate=area)
    numbers = {
        "auc": _bootstrap(scans, plain, **resampling),
        "auc_delong": _normal(plain, independent, "delong", 0.0, "Scans are taken as independent."),
        "auc_clustered": _normal(plain, clustered, "obuchowski", 0.0),
    }
    return Analysis("auc", method, numbers)


def compare_auc(first: ScoredScans, second: ScoredScans, level: float = 0.95) -> Analysis:
    """Paired difference of two areas on the same scans (first minus second).

    Returns:
        ``difference_delong`` and ``p_delong`` (scans independent), ``difference_clustered`` and ``p_clustered``
        (Obuchowski 1997).

    Raises:
        StudyError: the two are not of the same scans in the same order.
    """
    same = np.array_equal(first.truths, second.truths) and np.array_equal(first.patients.codes, second.patients.codes)
    if not same:
        raise StudyError("Two areas are compared on the same scans; truths or patients differ. Pair the rows first.")
    plain = Interval(None, level=level, n_patients=first.patients.n_patients, n_scans=first.patients.n_scans)
    method = "Paired difference of areas under the ROC curve (DeLong 1988, Obuchowski 1997)."
    names = ("difference_delong", "p_delong", "difference_clustered", "p_clustered")
    if first.problem:
        return Analysis("auc_difference", method, dict.fromkeys(names, replace(plain, note=first.problem)))
    parts = [_components(scans) for scans in (first, second)]
    areas, components = [part[0] for part in parts], [part[1:] for part in parts]
    contrast = np.array([1.0, -1.0])
    plain = replace(plain, estimate=areas[0] - areas[1])
    numbers = {}
    for name, word, covariances in (
        ("delong", "delong", _covariances(components)),
        ("clustered", "obuchowski", _clustered_covariances(first, areas, components)),
    ):
        variance = float(contrast @ covariances @ contrast)
        difference = _normal(plain, variance, word, -1.0)
        p_value = 2 * float(norm.sf(abs(areas[0] - areas[1]) / np.sqrt(variance))) if variance > 0 else None
        numbers[f"difference_{name}"] = difference
        numbers[f"p_{name}"] = replace(plain, estimate=p_value, note=difference.note)
    return Analysis("auc_difference", method, numbers)


def operating_points(scans: ScoredScans, thresholds: Sequence[float], **resampling: Unpack[Resampling]) -> pd.DataFrame:
    """Sensitivity, specificity and predictive values at given thresholds, with patient-bootstrap intervals.

    Args:
        scans: scores and truths.
        thresholds: a scan is called if its score is at least the threshold; see :func:`youden_threshold`.
        resampling: see :class:`drrval.stats.resampling.Resampling`.

    Returns:
        Tidy table :data:`OPERATING_COLUMNS` with quantities ``sensitivity, specificity, positive_predictive_value,
        negative_predictive_value``; NaN where there is no such scan. Predictive values hold for the prevalence here.
    """
    rows = []
    for threshold in thresholds:
        called = scans.scores >= threshold
        cells = [called & scans.truths, ~called & scans.truths, called & ~scans.truths, ~called & ~scans.truths]
        features = np.stack(cells, axis=-1).astype(float)
        shares = dict(zip(RATES, (scans.truths, ~scans.truths, called, ~called), strict=True))
        found = bootstrap_sums(features, _rates, scans.patients.codes, "No scan.", shares, **resampling)
        for quantity, number in found.items():
            rows.append({"threshold": float(threshold), "quantity": quantity, **vars(number)})
    return pd.DataFrame(rows).reindex(columns=OPERATING_COLUMNS)


def youden_threshold(scans: ScoredScans) -> float | None:
    """Threshold with the largest sum of sensitivity and specificity (Youden 1950), the highest one of ties.

    None where one class is missing. It is chosen on these scans, so the rates at it are too good for new ones.
    """
    curve = roc_curve(scans)
    if curve.empty:
        return None
    return float(curve["threshold"].iloc[int((curve["sensitivity"] + curve["specificity"]).iloc[1:].argmax()) + 1])


def _components(scans: ScoredScans) -> tuple[float, Floats, Floats]:
    """Area and the structural components of diseased and healthy scans.

    By ranks (Sun & Xu, IEEE Signal Process. Lett. 2014;21:1389-1393, doi 10.1109/LSP.2014.2337313).
    """
    diseased, healthy = scans.scores[scans.truths], scans.scores[~scans.truths]
    ranks = rankdata(scans.scores)
    of_diseased = (ranks[scans.truths] - rankdata(diseased)) / healthy.size
    of_healthy = 1 - (ranks[~scans.truths] - rankdata(healthy)) / diseased.size
    return float(of_diseased.mean()), of_diseased, of_healthy


def _covariances(components: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Covariance matrix of the areas, scans independent, ``[score, score]``; NaN with one scan of a class."""
    total = np.zeros((len(components), len(components)))
    for side in (0, 1):
        values = np.array([component[side] for component in components])
        if values.shape[1] < 2:
            return np.full_like(total, np.nan)
        total += np.cov(values).reshape(total.shape) / values.shape[1]
    return total


def _clustered_covariances(
    scans: ScoredScans, areas: Sequence[float], components: Sequence[tuple[Floats, Floats]]
) -> Floats:
    """Covariance matrix of the areas, patients independent, ``[score, score]`` (Obuchowski 1997)."""
    codes, n_patients = scans.patients.codes, scans.patients.n_patients
    sides = []
    for side, chosen in ((0, scans.truths), (1, ~scans.truths)):
        deviations = [
            np.bincount(codes[chosen], weights=component[side] - area, minlength=n_patients)
            for area, component in zip(areas, components, strict=True)
        ]
        n_with = len(np.unique(codes[chosen]))
        if n_with < 2:
            return np.full((len(areas), len(areas)), np.nan)
        sides.append((np.array(deviations), int(chosen.sum()), n_with))
    (diseased, m, n_diseased), (healthy, n, n_healthy) = sides
    cross = diseased @ healthy.T * n_patients / ((n_patients - 1) * m * n)
    return (
        diseased @ diseased.T * n_diseased / ((n_diseased - 1) * m**2)
        + healthy @ healthy.T * n_healthy / ((n_healthy - 1) * n**2)
        + cross
        + cross.T
    )


def _normal(plain: Interval, variance: float, method: str, lowest: float, note: str = "") -> Interval:
    """Normal interval, ends kept within ``lowest`` to 1."""
    if not variance > 0:
        why = "each class needs two scans (or patients)" if np.isnan(variance) else "the scores leave no variance"
        return replace(plain, note=f"No interval: {why}.")
    estimate = float(plain.estimate or 0.0)
    half = float(norm.ppf((1 + plain.level) / 2)) * np.sqrt(variance)
    return replace(plain, low=max(estimate - half, lowest), high=min(estimate + half, 1.0), method=method, note=note)


def _bootstrap(scans: ScoredScans, plain: Interval, **resampling: Unpack[Resampling]) -> Interval:
    if scans.patients.n_scans > MAX_BOOTSTRAP_SCANS:
        return replace(plain, note=f"No bootstrap above {MAX_BOOTSTRAP_SCANS} scans: see auc_clustered.")
    order = np.argsort(scans.scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scans.scores[order]) > 0))
    units, truths = scans.patients.scan_units[order], scans.truths[order].astype(float)

    def area(weights: Floats) -> dict[str, Floats]:
        of_scans = weights[:, units]
        diseased = np.add.reduceat(of_scans * truths, starts, axis=1)
        healthy = np.add.reduceat(of_scans * (1 - truths), starts, axis=1)
        below = np.cumsum(healthy, axis=1) - healthy / 2
        pairs = diseased.sum(axis=1) * healthy.sum(axis=1)
        won = np.einsum("rs,rs->r", diseased, below)
        return {"auc": np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)}

    return patient_bootstrap(area, scans.patients, **resampling)["auc"]


def _rates(cells: Floats) -> dict[str, Floats]:
    hit, missed, false_alarm, rejected = np.moveaxis(cells, -1, 0)
    right = (hit, rejected, hit, rejected)
    of = (hit + missed, rejected + false_alarm, hit + false_alarm, rejected + missed)
    return {name: ratio(above, below) for name, above, below in zip(RATES, right, of, strict=True)}
