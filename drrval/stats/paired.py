"""Two measurements of each scan, checked once, and what every analysis of them returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from drrval.errors import StudyError
from drrval.stats.resampling import Floats, Interval, Patients

MIN_SCANS = 3
# A column whose whole range is below this part of its largest value is constant but for rounding.
CONSTANT = 1e-9
# Fourth powers and products of such numbers stay within double precision's range.
LARGEST = 1e70


@dataclass(frozen=True)
class Moments:
    """Sums of weighted scans: number, means, and sums of squared deviations and of their products, ``[resample]``.

    A sum of squares that is only rounding is 0.
    """

    n: Floats
    mean_x: Floats
    mean_y: Floats
    sxx: Floats
    sxy: Floats
    syy: Floats


@dataclass(frozen=True)
class PairedScans:
    """Reference ``x`` and test ``y`` of each scan, ``[scan]``, finite, in one unit, with the scan's patient.

    Attributes:
        names: what x and y are, for the notes.
    """

    x: Floats
    y: Floats
    patients: Patients
    names: tuple[str, str] = ("x", "y")

    @classmethod
    def of(
        cls, x: npt.ArrayLike, y: npt.ArrayLike, patients: npt.ArrayLike, names: tuple[str, str] = ("x", "y")
    ) -> PairedScans:
        """Check and pair two columns with the patient label of each row.

        Args:
            x, y: ``[scan]``; negative values and zeros are allowed.
            patients: ``[scan]``, text or numbers.
            names: what x and y are.

        Raises:
            StudyError: the columns differ in length, are empty, hold a missing or infinite value, or are so large or
                small that their squares leave the range of numbers.
        """
        columns = [np.asarray(column, dtype=np.float64) for column in (x, y)]
        codes = Patients.of(patients)
        shapes = [column.shape for column in columns]
        if shapes != [(codes.n_scans,)] * 2 or codes.n_scans == 0:
            raise StudyError(
                f"Paired scans need three columns of one length of at least 1, got shapes {shapes[0]} and {shapes[1]} "
                f"and {codes.n_scans} patient labels. Pair the rows first."
            )
        for name, column in zip(names, columns, strict=True):
            bad = ~np.isfinite(column)
            if bad.any():
                raise StudyError(
                    f"The {name} of row {int(np.argmax(bad))} is {column[bad][0]}, and {int(bad.sum())} of "
                    f"{bad.size} are not finite. Leave those scans out first."
                )
            largest = float(np.abs(column).max())
            if largest > 0 and not 1 / LARGEST <= largest <= LARGEST:
                raise StudyError(
                    f"The {name} are as large as {largest:g}: squares of such numbers cannot be computed with. Give "
                    f"them in a unit in which the largest lies between {1 / LARGEST:g} and {LARGEST:g}."
                )
        return cls(columns[0], columns[1], codes, names)

    @property
    def n_scans(self) -> int:
        """Number of scans."""
        return self.x.size

    @property
    def difference(self) -> Floats:
        """Test minus reference, ``[scan]``."""
        return self.y - self.x

    def problem(self, what: str) -> str:
        """Why ``what`` (such as "regression") is not possible: too few scans or a constant column; else empty."""
        if self.n_scans < MIN_SCANS:
            return f"No {what}: it needs at least {MIN_SCANS} scans, got {self.n_scans}."
        for name, column in zip(self.names, (self.x, self.y), strict=True):
            if np.ptp(column) <= CONSTANT * np.abs(column).max():
                return f"No {what}: every {name} is {column[0]:g}."
        return ""

    def plain(self, estimate: float | None, note: str = "") -> Interval:
        """A number without an interval, such as a p-value; None if it is not finite."""
        known = estimate if estimate is not None and np.isfinite(estimate) else None
        return Interval(known, n_patients=self.patients.n_patients, n_scans=self.n_scans, note=note)

    def nothing(self, names: Iterable[str], note: str) -> dict[str, Interval]:
        """Numbers that cannot be computed, and why."""
        return {name: self.plain(None, note) for name in names}

    def moments(self, weights: Floats) -> Moments:
        """Weighted moments of every resample; ``weights [resample, unit]``."""
        n, x, y, xx, xy, yy = (weights @ self._unit_sums).T
        with np.errstate(divide="ignore", invalid="ignore"):
            sxx, sxy, syy = xx - x * x / n, xy - x * y / n, yy - y * y / n
            mean_x, mean_y = self._means[0] + x / n, self._means[1] + y / n
        sxx = np.where(sxx <= n * self._rounding[0], 0.0, sxx)
        syy = np.where(syy <= n * self._rounding[1], 0.0, syy)
        return Moments(n, mean_x, mean_y, sxx, sxy, syy)

    @cached_property
    def _means(self) -> tuple[float, float]:
        return float(self.x.mean()), float(self.y.mean())

    @cached_property
    def _rounding(self) -> tuple[float, float]:
        """What of a mean square is only rounding."""
        return CONSTANT**2 * float(np.mean(self.x**2)), CONSTANT**2 * float(np.mean(self.y**2))

    @cached_property
    def _unit_sums(self) -> Floats:
        # About the mean, so that large values with a small spread keep their digits.
        x, y = self.x - self._means[0], self.y - self._means[1]
        features = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
        return self.patients.unit_sums(self.patients.sums(features))


@dataclass(frozen=True)
class Analysis:
    """What one method says about paired scans.

    Attributes:
        name: short name, such as ``deming``.
        method: one sentence on how the numbers were found, with the source.
        numbers: by name; ``None`` estimates say why in their note.
        note: what to beware of in all of them, or an empty string.
    """

    name: str
    method: str
    numbers: Mapping[str, Interval] = field(default_factory=dict)
    note: str = ""

    def __getitem__(self, name: str) -> Interval:
        return self.numbers[name]


def analysis_table(analyses: Iterable[Analysis]) -> pd.DataFrame:
    """Tidy table of analyses, one row per number.

    Returns:
        Columns ``analysis, quantity, estimate, low, high, level, interval`` (how the ends were found),
        ``n_patients, n_scans, n_resamples, n_failed, note, method``.
    """
    rows = []
    for analysis in analyses:
        for quantity, number in analysis.numbers.items():
            row = asdict(number)
            interval, note = row.pop("method"), " ".join(filter(None, [row.pop("note"), analysis.note]))
            rows.append({"analysis": analysis.name, "quantity": quantity, **row, "interval": interval, "note": note,
                         "method": analysis.method})  # fmt: skip
    columns = ["analysis", "quantity", "estimate", "low", "high", "level", "interval", "n_patients", "n_scans",
               "n_resamples", "n_failed", "note", "method"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
