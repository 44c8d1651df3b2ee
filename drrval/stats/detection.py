"""Detection: how likely the radiograph model calls disease, against how much of it the CT shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from drrval.errors import StudyError
from drrval.stats.logistic import MixedLogit, fit_mixed_logit
from drrval.stats.paired import Analysis
from drrval.stats.resampling import Floats, Interval, Patients

METHOD = (
    "Logistic regression of the call with a random intercept per patient, by maximum likelihood with adaptive "
    "Gauss-Hermite quadrature (Pinheiro & Bates 1995); Wald intervals."
)
CURVE_COLUMNS = ["extent", "probability", "low", "high", "population", "population_low", "population_high"]
LIMIT_COLUMNS = ["probability", "extent", "standard_error", "low", "high", "level", "note"]
Setting = Mapping[str, float | str]
"""Values of covariates, by name."""


@dataclass(frozen=True)
class _Covariates:
    """Columns of the design: constant, extent, numbers about their mean, indicators of all labels but the first."""

    extent: str
    means: dict[str, float]
    labels: dict[str, list[str]]

    @classmethod
    def of(cls, table: pd.DataFrame, extent: str, covariates: Sequence[str]) -> _Covariates:
        numeric = [name for name in covariates if pd.api.types.is_numeric_dtype(table[name])]
        labels = {name: sorted(map(str, table[name].unique())) for name in covariates if name not in numeric}
        return cls(extent, {name: float(table[name].mean()) for name in numeric}, labels)

    @property
    def names(self) -> tuple[str, ...]:
        indicators = [f"{name}={label}" for name, labels in self.labels.items() for label in labels[1:]]
        return ("intercept", self.extent, *self.means, *indicators)

    def design(self, table: pd.DataFrame) -> Floats:
        """Columns of :attr:`names`, ``[row, column]``."""
        columns = [np.ones(len(table)), table[self.extent].to_numpy(dtype=float)]
        columns += [table[name].to_numpy(dtype=float) - mean for name, mean in self.means.items()]
        for name, labels in self.labels.items():
            values = table[name].astype(str).to_numpy()
            columns += [(values == label).astype(float) for label in labels[1:]]
        return np.column_stack(columns)

    def at(self, extents: Floats, setting: Setting) -> Floats:
        """Design of some extents at one setting; covariates not named are at their mean or first label."""
        unknown = [name for name in setting if name not in {*self.means, *self.labels}]
        if unknown:
            known = ", ".join([*self.means, *self.labels]) or "none"
            raise StudyError(f"Unknown covariate {unknown[0]!r}. Expected one of: {known}.")
        values: dict[str, float | str] = dict(self.means)
        for name, labels in self.labels.items():
            chosen = str(setting.get(name, labels[0]))
            if chosen not in labels:
                raise StudyError(f"Unknown {name} {chosen!r}. Expected one of: {', '.join(labels)}.")
            values[name] = chosen
        values |= {name: float(value) for name, value in setting.items() if name in self.means}
        return self.design(pd.DataFrame({self.extent: extents, **values}))


@dataclass(frozen=True)
class DetectionModel:
    """Fitted detection model; ``fit`` is None where ``note`` says why there is none."""

    covariates: _Covariates
    fit: MixedLogit | None
    n_patients: int
    n_scans: int
    note: str = ""

    def analysis(self, level: float = 0.95) -> Analysis:
        """Coefficients (log odds per unit; labels against the first one) and ``patient_sd``, with Wald intervals.

        An extent effect of 0.1 means that one more point of extent multiplies the odds of a call by exp(0.1).
        """
        plain = Interval(None, level=level, n_patients=self.n_patients, n_scans=self.n_scans, note=self.note)
        if self.fit is None:
            return Analysis("detection", METHOD, dict.fromkeys([*self.covariates.names, "patient_sd"], plain))
        errors = np.sqrt(np.diag(self.fit.covariance))
        known = Interval(None, level=level, n_patients=self.n_patients, n_scans=self.n_scans)
        z = _quantile(level)
        numbers = {
            name: _wald(known, float(value), z * float(error))
            for name, value, error in zip(self.fit.names, self.fit.coefficients, errors, strict=False)
        }
        spread = self.fit.patient_sd
        numbers["patient_sd"] = _plain(known, spread)
        numbers["log_likelihood"] = _plain(known, self.fit.log_likelihood)
        return Analysis("detection", METHOD, numbers, self.note)

    def curve(self, extents: npt.ArrayLike, setting: Setting | None = None, level: float = 0.95) -> pd.DataFrame:
        """Psychometric curve with pointwise bands.

        Args:
            extents: where, ``[point]``, in the unit of the fit.
            setting: values of covariates (numbers: mean otherwise; labels: first one otherwise).
            level: of the bands.

        Returns:
            One row per extent: :data:`CURVE_COLUMNS`. ``probability`` is that of a typical patient (random
            intercept 0), ``population`` the mean over patients; bands are Wald's on the log odds. All NaN without a
            model.

        Raises:
            StudyError: a covariate or label of the setting is unknown.
        """
        points = np.atleast_1d(np.asarray(extents, dtype=float))
        design = self.covariates.at(points, setting or {})
        table = pd.DataFrame({"extent": points}).reindex(columns=CURVE_COLUMNS).astype(float)
        if self.fit is None:
            return table
        gradient = np.column_stack([design, np.zeros(points.size)])
        table[CURVE_COLUMNS[1:4]] = _band(design @ self.fit.coefficients, gradient, self.fit.covariance, level)
        table[CURVE_COLUMNS[4:]] = _band(*_population(design, self.fit), self.fit.covariance, level)
        return table

    def limit_of_detection(
        self, probabilities: Sequence[float] = (0.5, 0.8, 0.95), setting: Setting | None = None, level: float = 0.95
    ) -> pd.DataFrame:
        """Extent at which a typical patient is called with a given probability.

        The standard error is the delta method's (as ``MASS::dose.p`` in R). The interval holds the extents at which the
        band of the curve includes the probability (Fieller, J. R. Stat. Soc. B 1954;16:175-185, doi
        10.1111/j.2517-6161.1954.tb00159.x); it is endless where the effect of extent is not significant.

        Returns:
            One row per probability: :data:`LIMIT_COLUMNS`; NaN where ``note`` says why. Ends below 0 are given as 0.

        Raises:
            StudyError: a probability is not between 0 and 1, or the setting is unknown.
        """
        if any(not 0 < probability < 1 for probability in probabilities):
            raise StudyError(f"A limit of detection needs probabilities between 0 and 1, got {list(probabilities)}.")
        base = self.covariates.at(np.zeros(1), setting or {})[0]
        rows = [{"level": level, **_limit(self.fit, base, float(p), level, self.note)} for p in probabilities]
        return pd.DataFrame(rows).reindex(columns=LIMIT_COLUMNS)


def fit_detection(
    table: pd.DataFrame, *, call: str, extent: str, patient: str, covariates: Sequence[str] = ()
) -> DetectionModel:
    """Fit the probability of a call against the true extent and other properties of the disease or the view.

    Args:
        table: one row per radiograph (scan and view).
        call: column with 1 or True where the model calls disease, else 0.
        extent: column with the true extent (CT), for example percent of lung; at least 0.
        patient: column with the patient.
        covariates: further columns, such as density, location and view: numbers enter as they are, texts as labels.

    Returns:
        The model; where it cannot be fitted (few patients, one call only, separation), its ``fit`` is None.

    Raises:
        StudyError: a column or value is missing, a call is not 0 or 1, or an extent is negative.
    """
    columns = [call, extent, patient, *covariates]
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise StudyError(f"The table has no column {', '.join(missing)}. Its columns are {', '.join(table.columns)}.")
    absent = table[columns].isna() | table[columns].isin([np.inf, -np.inf])
    if absent.to_numpy().any() or table.empty:
        raise StudyError(
            f"Detection needs finite values, got {int(absent.to_numpy().sum())} missing ones in {len(table)} rows. "
            "Leave those rows out first."
        )
    calls, extents = table[call].to_numpy(dtype=float), table[extent].to_numpy(dtype=float)
    if not np.isin(calls, (0, 1)).all():
        raise StudyError(
            f"A call is 0 or 1, got {calls[~np.isin(calls, (0, 1))][0]}. Compare the score with a threshold first."
        )
    if (extents < 0).any():
        raise StudyError(f"An extent is at least 0, got {extents.min()}. Check the column {extent}.")
    layout = _Covariates.of(table, extent, covariates)
    patients = Patients.of(pd.factorize(table[patient])[0])
    fit = fit_mixed_logit(layout.design(table), calls.astype(np.intp), patients, layout.names)
    known = {"n_patients": patients.n_patients, "n_scans": patients.n_scans}
    if isinstance(fit, MixedLogit):
        return DetectionModel(layout, fit, note=fit.note, **known)
    return DetectionModel(layout, None, note=f"{fit} {_call_ranges(calls, extents)}".strip(), **known)


def _call_ranges(calls: Floats, extents: Floats) -> str:
    """Extents of called and not called scans, in words: all that can be said without a model."""
    parts = [
        f"{word} at extents from {extents[calls == value].min():g} to {extents[calls == value].max():g}"
        for value, word in ((0, "Not called"), (1, "called"))
        if (calls == value).any()
    ]
    return "; ".join(parts) + "."


def _quantile(level: float) -> float:
    return float(norm.ppf((1 + level) / 2))


def _plain(known: Interval, estimate: float) -> Interval:
    return Interval(estimate, level=known.level, n_patients=known.n_patients, n_scans=known.n_scans)


def _wald(known: Interval, estimate: float, half_width: float) -> Interval:
    return Interval(
        estimate, estimate - half_width, estimate + half_width, known.level, "wald", known.n_patients, known.n_scans
    )


def _band(linear: Floats, gradient: Floats, covariance: Floats, level: float) -> Floats:
    """Probability and its band, ``[point, 3]``, from log odds and their gradient."""
    error = np.sqrt(np.einsum("pi,ij,pj->p", gradient, covariance, gradient))
    half = _quantile(level) * error
    return expit(np.column_stack([linear, linear - half, linear + half]))


def _population(design: Floats, fit: MixedLogit) -> tuple[Floats, Floats]:
    """Log odds of the mean probability over patients, and its gradient in coefficients and patient SD."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    chance = expit((design @ fit.coefficients)[:, None] + fit.patient_sd * nodes)
    mean = chance @ weights
    slopes = chance * (1 - chance) * weights
    gradient = np.column_stack([slopes.sum(axis=1)[:, None] * design, slopes @ nodes])
    return logit(mean), gradient / (mean * (1 - mean))[:, None]


def _limit(fit: MixedLogit | None, base: Floats, probability: float, level: float, note: str) -> dict[str, object]:
    """Solve ``logit(probability) = base . beta + slope * extent``; ``base`` is the design at extent 0."""
    if fit is None:
        return {"probability": probability, "note": note}
    toward = np.zeros(base.size)
    toward[1] = 1.0
    slope, offset = float(fit.coefficients[1]), float(base @ fit.coefficients)
    rest = float(logit(probability)) - offset
    if slope <= 0:
        return {"probability": probability, "note": "No limit: the chance of a call does not rise with extent."}
    extent = rest / slope
    covariance = fit.covariance[:-1, :-1]
    direction = base + extent * toward
    row: dict[str, object] = {"probability": probability, "extent": extent, "note": note}
    row["standard_error"] = float(np.sqrt(direction @ covariance @ direction)) / slope
    z2 = _quantile(level) ** 2
    square = slope**2 - z2 * toward @ covariance @ toward
    linear = -2 * (slope * rest + z2 * base @ covariance @ toward)
    constant = rest**2 - z2 * base @ covariance @ base
    if square <= 0:
        row["note"] = f"{note} No interval: the effect of extent is not significant.".strip()
    else:
        root = np.sqrt(linear**2 - 4 * square * constant)
        low, high = (float(-linear - root) / (2 * square), float(-linear + root) / (2 * square))
        row |= {"low": max(low, 0.0), "high": max(high, 0.0)}
    if extent < 0:
        row |= {"extent": np.nan, "standard_error": np.nan}
        row["note"] = f"{note} Called with more than this probability even at an extent of 0.".strip()
    return row
