"""Generative model of courses: where the numbers of a study plan come from, estimated from a pilot or given."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from drrval.errors import StudyError
from drrval.stats.resampling import Floats, Patients


@dataclass(frozen=True)
class CourseModel:
    """Reference ``x`` and test ``y`` of patient i at time t, all terms normal and independent, in points:

    ``x = mean + patient_i + course_it``, ``y = intercept + slope * x + test_patient_i + error_it``.

    Attributes:
        mean: of the reference.
        between_sd: of the patients' levels.
        course_sd: of the disease's course within a patient (each time point by itself).
        intercept, slope: of the test on the reference.
        test_patient_sd: of what one patient's anatomy always adds to the test.
        error_sd: of the test's measurement error.

    The model knows no floor at 0 % and no trend in time: a plan from it is a guide, not a promise.

    Raises:
        StudyError: a standard deviation is negative, or a number is not finite.
    """

    mean: float
    between_sd: float
    course_sd: float
    intercept: float
    slope: float
    test_patient_sd: float
    error_sd: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or (field.name.endswith("_sd") and value < 0):
                raise StudyError(
                    f"A course model needs finite numbers and SDs of at least 0, got {field.name} {value}."
                )

    @classmethod
    def from_pilot(cls, courses: pd.DataFrame) -> CourseModel:
        """Estimate by moments: one-way analysis of variance of the reference, and of the residuals of the line.

        Args:
            courses: from :func:`drrval.stats.courses.make_courses`; at least 3 patients, one of them with two scans.

        Raises:
            StudyError: there are too few scans, or the reference does not vary.
        """
        patients = Patients.of(courses["patient"])
        x, y = courses["reference"].to_numpy(dtype=float), courses["test"].to_numpy(dtype=float)
        if patients.n_patients < 3 or patients.n_scans == patients.n_patients or np.ptp(x) == 0:
            raise StudyError(
                "A pilot needs at least 3 patients, one of them with two scans, and a reference that varies; got "
                f"{patients.n_patients} patients and {patients.n_scans} scans. State the model's numbers instead."
            )
        slope = _within_slope(patients, x, y)
        residual = y - slope * x
        between, course = variance_components(x, patients)
        test_patient, error = variance_components(residual, patients)
        return cls(
            mean=float(x.mean()),
            between_sd=math.sqrt(between),
            course_sd=math.sqrt(course),
            intercept=float(residual.mean()),
            slope=slope,
            test_patient_sd=math.sqrt(test_patient),
            error_sd=math.sqrt(error),
        )

    def simulate(self, shape: tuple[int, ...], generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw reference and test, each ``[..., patient, time]``; ``shape`` is that shape."""
        patient = (*shape[:-1], 1)
        x = self.mean + self.between_sd * generator.normal(size=patient) + self.course_sd * generator.normal(size=shape)
        added = self.test_patient_sd * generator.normal(size=patient) + self.error_sd * generator.normal(size=shape)
        return x, self.intercept + self.slope * x + added

    @property
    def truths(self) -> dict[str, float]:
        """True ``pearson_r`` over all scans, ``bias`` (mean of y - x, points) and ``trend_accuracy`` of the model.

        Two normal changes with correlation rho have the same sign with probability ``1/2 + asin(rho) / pi`` (Sheppard
        1899). NaN where a variance is 0.
        """
        spread_x = self.between_sd**2 + self.course_sd**2
        spread_y = self.slope**2 * spread_x + self.test_patient_sd**2 + self.error_sd**2
        moved = self.slope * self.course_sd
        change = math.hypot(moved, self.error_sd)
        same_sign = 0.5 + math.asin(moved / change) / math.pi if self.course_sd > 0 and change > 0 else math.nan
        return {
            "pearson_r": self.slope * math.sqrt(spread_x / spread_y) if spread_x > 0 and spread_y > 0 else math.nan,
            "bias": self.intercept + (self.slope - 1) * self.mean,
            "trend_accuracy": same_sign,
        }


def variance_components(values: Floats, patients: Patients) -> tuple[float, float]:
    """Variance between and within patients, by one-way analysis of variance with unequal numbers; between at least 0.

    Between: ``(MSB - MSW) / n0`` with ``n0 = (N - sum n_i^2 / N) / (k - 1)`` (Searle, Casella & McCulloch, Variance
    Components, 1992, chapter 3).
    """
    n = np.bincount(patients.codes).astype(float)
    means = patients.sums(values) / n
    total, k = n.sum(), n.size
    within = float(np.sum((values - means[patients.codes]) ** 2)) / (total - k)
    among = float(np.sum(n * (means - values.mean()) ** 2)) / (k - 1)
    typical = (total - float(np.sum(n**2)) / total) / (k - 1)
    return max((among - within) / typical, 0.0), within


def _within_slope(patients: Patients, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Slope of y on x within patients; over all scans where x does not vary within patients."""
    n = np.bincount(patients.codes).astype(float)
    inner_x, inner_y = (values - (patients.sums(values) / n)[patients.codes] for values in (x, y))
    if np.ptp(inner_x) <= 1e-9 * np.abs(x).max():
        inner_x, inner_y = x - x.mean(), y - y.mean()
    return float(inner_x @ inner_y / (inner_x @ inner_x))
