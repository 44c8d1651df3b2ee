"""Intervals by drawing patients, because scans of one patient are not independent.

A statistic is a function of weights: ``weights[resample, unit]`` says how often each unit was drawn, and the statistic
answers for all resamples at once. The unit is the patient; beyond :data:`MAX_UNITS` patients it is a random group of
patients, so that a table of a million rows costs no more than one of a thousand patients. Two recipes:

* a function of sums over scans or patients: add up once with :meth:`Patients.sums` (per patient) and
  :meth:`Patients.unit_sums` (per unit); then ``weights @ sums`` holds the sums of every resample;
* anything else: ``weights[:, patients.scan_units]`` are weights per scan (``[resample, scan]``).

A patient drawn twice counts as two patients. Weights of one are the study itself; jackknife weights have one zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta, norm
from scipy.stats import t as student

from drrval.errors import StudyError

Floats: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], dict[str, Floats]]
"""From weights ``[resample, unit]`` to named numbers ``[resample]``, NaN where a number is not defined."""


class Resampling(TypedDict, total=False):
    """How :func:`patient_bootstrap` shall draw; what is not given keeps its default."""

    n_resamples: int
    level: float
    seed: int


MAX_UNITS = 1000
MIN_PATIENTS = 3
FEW_PATIENTS = 20
"""With fewer patients, :func:`warn_of_few` says how short of its level an interval falls."""
# Weights per scan of one chunk of resamples: 10 million numbers are 80 MB. Statistics of very large tables are
# functions of sums, so that a chunk need not get smaller than this many resamples.
_CHUNK_NUMBERS = 10_000_000
_MIN_CHUNK = 200
# Of the resamples, at least this part must give a number.
_MIN_DEFINED = 0.5
# Differences below this part of the number are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A number with its uncertainty.

    Attributes:
        estimate: from the study itself; None where it is not defined.
        low, high: ends of the interval; None where there is none.
        level: confidence level, 0 to 1.
        method: how the ends were found: ``bca``, ``percentile`` (both by patient bootstrap), ``none`` or another word.
        n_patients, n_scans: what the estimate rests on.
        n_resamples, n_failed: bootstrap resamples, and how many of them gave no number.
        note: what is missing or to beware of, or an empty string.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str = "none"
    n_patients: int = 0
    n_scans: int = 0
    n_resamples: int = 0
    n_failed: int = 0
    note: str = ""


@dataclass(frozen=True)
class Patients:
    """Which patient each scan belongs to, and which unit each patient is drawn with.

    Attributes:
        codes: patient of each scan, 0 to n_patients - 1, ``[scan]``; patients in the order of their sorted labels.
        units: unit of each patient, 0 to n_units - 1, ``[patient]``: its own, or a random group's.
    """

    codes: npt.NDArray[np.intp]
    units: npt.NDArray[np.intp]

    @classmethod
    def of(cls, labels: npt.ArrayLike) -> Patients:
        """Read the patient label of each scan, ``[scan]``.

        Raises:
            StudyError: the labels are not one column, or one of them is missing.
        """
        # pandas keeps a missing label among text, where NumPy would spell it "nan".
        column = np.asarray(labels if isinstance(labels, np.ndarray) else pd.Series(labels))
        if column.ndim != 1:
            raise StudyError(f"Patient labels must be one column, got shape {column.shape}. Pass one label per scan.")
        codes, names = pd.factorize(column, sort=True)
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            raise StudyError(f"The patient of row {row} is missing. Name the patient of every scan, or leave it out.")
        n_patients, units = len(names), np.arange(len(names))
        if n_patients > MAX_UNITS:
            units = np.random.default_rng(n_patients).permutation(n_patients) % MAX_UNITS
        return cls(codes.astype(np.intp), units.astype(np.intp))

    @classmethod
    def independent(cls, n_scans: int) -> Patients:
        """Take each scan as a patient of its own: the naive analysis, to be shown beside the right one."""
        return cls.of(np.arange(n_scans))

    @property
    def n_scans(self) -> int:
        """Number of scans."""
        return self.codes.size

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return self.units.size

    @property
    def n_units(self) -> int:
        """Number of units that are drawn."""
        return int(self.units.max()) + 1 if self.units.size else 0

    @property
    def scan_units(self) -> npt.NDArray[np.intp]:
        """Unit of each scan, ``[scan]``."""
        return self.units[self.codes]

    def sums(self, features: Floats) -> Floats:
        """Sums per patient, ``[patient]`` or ``[patient, k]``, of features ``[scan]`` or ``[scan, k]``."""
        return _grouped_sums(features, self.codes, self.n_patients)

    def unit_sums(self, features: Floats) -> Floats:
        """Sums per unit, ``[unit]`` or ``[unit, k]``, of features ``[patient]`` or ``[patient, k]``."""
        return _grouped_sums(features, self.units, self.n_units)


def patient_bootstrap(
    statistic: Statistic,
    patients: Patients,
    *,
    shares: Mapping[str, int] | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Estimate the numbers of a statistic with bias-corrected and accelerated (BCa) intervals.

    Units are drawn with replacement, as many as there are; the acceleration comes from the jackknife over units
    (Efron, J. Am. Stat. Assoc. 1987;82:171-185, doi 10.1080/01621459.1987.10478410), and the tails are expanded for
    few patients (:func:`expanded_tails`, :func:`effective_freedom`). Where BCa is not defined the interval is the
    expanded percentile interval, and its note says so. Resamples that all give the same number say nothing about its
    uncertainty: a share of 0 or 1 then gets the exact binomial interval (Clopper & Pearson, Biometrika
    1934;26:404-413, doi 10.1093/biomet/26.4.404) with its patients as the trials, which is exact where all rows of a
    patient agree and else too wide; any other number gets none. The same seed draws the same units for every
    statistic of a study.

    Args:
        statistic: see :data:`Statistic`.
        patients: of the scans that the statistic was built on.
        shares: for each number that is a share, how many patients have scans that it is a share of.
        n_resamples: number of resamples.
        level: confidence level, between 0 and 1.
        seed: of the draw.

    Returns:
        One interval per name. With fewer than 3 patients, or where most resamples give no number, ``low`` and
        ``high`` are None and ``note`` says why.

    Raises:
        StudyError: no scan, no resample, or a level that is not between 0 and 1.
    """
    if not 0 < level < 1 or n_resamples < 1:
        raise StudyError(
            f"An interval needs a level between 0 and 1 and at least 1 resample, got {level} and {n_resamples}. "
            "0.95 and 2000 are usual."
        )
    chunk = max(_MIN_CHUNK, _CHUNK_NUMBERS // max(patients.n_scans, patients.n_units, 1))
    plain = Interval(None, level=level, n_patients=patients.n_patients, n_scans=patients.n_scans)
    if patients.n_units == 0:
        raise StudyError("An interval needs at least one scan, got none. Check how the scans were chosen.")
    estimates = {name: float(values[0]) for name, values in statistic(np.ones((1, patients.n_units))).items()}
    if patients.n_patients < MIN_PATIENTS:
        note = f"No interval: it needs at least {MIN_PATIENTS} patients, got {patients.n_patients}."
        return {name: replace(plain, estimate=_number(value), note=note) for name, value in estimates.items()}
    draws = _evaluate(statistic, _drawn(patients.n_units, n_resamples, seed, chunk))
    left_out = _evaluate(statistic, _left_out(patients.n_units, chunk))
    of_share = shares or {}
    return {
        name: _interval(replace(plain, estimate=_number(estimate)), draws[name], left_out[name], of_share.get(name, 0))
        for name, estimate in estimates.items()
    }


def warn_of_few(number: Interval, held: int) -> Interval:
    """Add a note to an interval of few patients that is known to be too narrow.

    Args:
        number: with or without an interval.
        held: percent of the 95 % intervals of 9 patients with 3 scans each that held the truth (``python -m validation
            coverage``).
    """
    if number.low is None or number.n_patients >= FEW_PATIENTS:
        return number
    note = f"Few patients: with 9, a 95 % interval of this number held the truth in {held} % of simulated studies."
    return replace(number, note=" ".join(filter(None, [number.note, note])))


def _drawn(n_units: int, n_resamples: int, seed: int, chunk: int) -> Iterator[Floats]:
    """How often each unit was drawn, ``[resample, unit]``, chunk by chunk."""
    generator = np.random.default_rng(seed)
    for start in range(0, n_resamples, chunk):
        n_rows = min(chunk, n_resamples - start)
        drawn = generator.integers(n_units, size=(n_rows, n_units)) + n_units * np.arange(n_rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n_rows * n_units).reshape(n_rows, n_units).astype(np.float64)


def _left_out(n_units: int, chunk: int) -> Iterator[Floats]:
    """Weights of the jackknife, ``[unit left out, unit]``, chunk by chunk."""
    for start in range(0, n_units, chunk):
        rows = np.arange(start, min(start + chunk, n_units))
        weights = np.ones((rows.size, n_units))
        weights[np.arange(rows.size), rows] = 0.0
        yield weights


def _evaluate(statistic: Statistic, chunks: Iterator[Floats]) -> dict[str, Floats]:
    parts = [statistic(weights) for weights in chunks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _interval(plain: Interval, draws: Floats, left_out: Floats, share_of: int) -> Interval:
    """The estimate of ``plain`` with the ends that its resamples ``[resample]`` and jackknife ``[unit]`` give.

    ``share_of`` is the number of patients that a share rests on, 0 for any other number.
    """
    defined = draws[np.isfinite(draws)]
    n_failed = draws.size - defined.size
    plain = replace(plain, n_resamples=draws.size, n_failed=n_failed)
    if plain.estimate is None:
        return replace(plain, note="Not defined for these scans.")
    if defined.size < _MIN_DEFINED * draws.size:
        return replace(plain, note=f"No interval: {n_failed} of {draws.size} resamples give no number.")
    if np.ptp(defined) <= _ROUNDING * abs(plain.estimate):
        return _interval_of_equals(plain, share_of)
    notes = [f"{n_failed} of {draws.size} resamples give no number and are left out."] if n_failed else []
    freedom = effective_freedom(left_out)
    tails, reason = bca_tails(plain.estimate, defined, left_out, expanded_tails(plain.level, left_out.size, freedom))
    if reason:
        notes.append(f"Percentile interval: {reason}.")
    elif min(tails[0], 1 - tails[1]) * defined.size < 1:
        notes.append("An end of the interval is the most extreme resample: too few patients or resamples.")
    low, high = (float(end) for end in np.quantile(defined, tails))
    return replace(plain, low=low, high=high, method="percentile" if reason else "bca", note=" ".join(notes))


def _interval_of_equals(plain: Interval, share_of: int) -> Interval:
    """What can be said when all resamples give one number; see :func:`patient_bootstrap`."""
    if share_of == 0 or plain.estimate not in (0.0, 1.0):
        return replace(plain, note="No interval: all resamples give the same number.")
    inner = float(beta.ppf((1 + plain.level) / 2, 1, share_of))
    low, high = (0.0, inner) if plain.estimate == 0 else (1 - inner, 1.0)
    return replace(plain, low=low, high=high, method="exact by patient")


def expanded_tails(level: float, n_units: int, freedom: float) -> Floats:
    """Tail probabilities that make up for a bootstrap of few units being too narrow.

    The normal quantile z is replaced by ``sqrt(n / (n - 1)) * t`` (Hesterberg, Am. Stat. 2015;69:371-386, doi
    10.1080/00031305.2015.1089789, section 5.3): for 9 units, 8 degrees of freedom and 95 %, 0.7 % instead of 2.5 %.

    Args:
        level: confidence level, between 0 and 1.
        n_units: number of units n.
        freedom: degrees of freedom of t; see :func:`effective_freedom`.
    """
    lower = norm.cdf(np.sqrt(n_units / (n_units - 1)) * student.ppf((1 - level) / 2, freedom))
    return np.array([lower, 1 - lower])


def effective_freedom(left_out: Floats) -> float:
    """Degrees of freedom with which the units tell the variance of a number: n - 1, or fewer where few units carry it.

    The variance of a number is the sum of its n squared influences. Satterthwaite's approximation of such a sum has
    ``2 (n - 1) / (kurtosis - 1)`` degrees of freedom, with the kurtosis of the influences: n - 1 if they are normal
    (kurtosis 3), fewer if a few units far out move the number most (Lipsitz, Ibrahim & Parzen, Statistician
    1999;48:495-506). It is not taken as more than n - 1.

    Args:
        left_out: numbers of the jackknife, ``[unit]``; if one is not defined, n - 1 is returned.
    """
    squares = (left_out.mean() - left_out) ** 2
    total = float(squares.sum())
    if not np.isfinite(total) or total == 0:
        return left_out.size - 1.0
    kurtosis = left_out.size * float(np.sum((squares / total) ** 2))
    return 2 * (left_out.size - 1) / max(kurtosis - 1, 2.0)


def bca_tails(estimate: float, draws: Floats, left_out: Floats, tails: Floats) -> tuple[Floats, str]:
    """Tail probabilities of the resamples at which the ends of a BCa interval lie (Efron 1987, equation 2.3).

    Args:
        estimate: the number of the study itself.
        draws: numbers of the resamples, finite, ``[resample]``.
        left_out: numbers of the jackknife, ``[unit]``.
        tails: wanted tail probabilities, such as 0.025 and 0.975.

    Returns:
        The adjusted tails and an empty string, or ``tails`` unchanged and why BCa is not defined.
    """
    below = (np.mean(draws < estimate) + np.mean(draws <= estimate)) / 2
    if not 0 < below < 1:
        return tails, "the estimate lies outside all resamples"
    if not np.isfinite(left_out).all():
        return tails, "the number is not defined without one of the patients"
    influence = left_out.mean() - left_out
    spread = float(np.sum(influence**2))
    if spread <= (_ROUNDING * abs(estimate)) ** 2 * left_out.size:
        return tails, "no single patient changes the number"
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
    bias = norm.ppf(below)
    shifted = bias + norm.ppf(tails)
    if (acceleration * shifted >= 1).any():
        return tails, "the acceleration is too strong"
    return norm.cdf(bias + shifted / (1 - acceleration * shifted)), ""


def _grouped_sums(features: Floats, codes: npt.NDArray[np.intp], n_groups: int) -> Floats:
    columns = [np.bincount(codes, weights=column, minlength=n_groups) for column in features.T.reshape(-1, codes.size)]
    return np.stack(columns, axis=-1).astype(np.float64).reshape(n_groups, *features.shape[1:])


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
