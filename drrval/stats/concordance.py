"""How closely two measurements of each scan lie to the line of identity: Lin's concordance and two ICCs."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt

from drrval.errors import StudyError
from drrval.stats.paired import CONSTANT, MIN_SCANS, Analysis, PairedScans
from drrval.stats.resampling import Floats, Interval, Patients, Resampling, patient_bootstrap

CONCORDANCE = (
    "Lin's concordance correlation over all scans, moments divided by n (Lin 1989); accuracy is its bias-correction "
    "factor C_b, so that concordance = Pearson's r x accuracy."
)
INTRACLASS = (
    "Intraclass correlations of single ratings, scans being the subjects and the measurements the raters: ICC(2,1) "
    "absolute agreement of random raters, ICC(3,1) consistency of fixed raters (Shrout & Fleiss 1979)."
)


def lin_concordance(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Lin's concordance correlation coefficient with patient-bootstrap intervals.

    Lin, Biometrics 1989;45:255-268, doi 10.2307/2532051. All scans are pooled: the number speaks of a scan drawn
    from this mix of patients and time points; only its interval knows of patients.

    Returns:
        ``concordance`` (-1 to 1) and ``accuracy`` (0 to 1).
    """
    if problem := scans.problem("concordance"):
        return Analysis("lin_concordance", CONCORDANCE, scans.nothing(("concordance", "accuracy"), problem))

    def concordance(weights: Floats) -> dict[str, Floats]:
        m = scans.moments(weights)
        spread = m.sxx + m.syy + m.n * (m.mean_x - m.mean_y) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"concordance": 2 * m.sxy / spread, "accuracy": 2 * np.sqrt(m.sxx * m.syy) / spread}

    return Analysis("lin_concordance", CONCORDANCE, patient_bootstrap(concordance, scans.patients, **resampling))


def intraclass_correlation(
    ratings: npt.ArrayLike, patients: npt.ArrayLike, **resampling: Unpack[Resampling]
) -> Analysis:
    """ICC(2,1) and ICC(3,1) with patient-bootstrap intervals.

    Shrout & Fleiss, Psychol. Bull. 1979;86:420-428, doi 10.1037/0033-2909.86.2.420 (McGraw & Wong 1996 call them
    ICC(A,1) and ICC(C,1)).

    Args:
        ratings: ``[scan, rater]``, finite, one unit; two columns for reference and test.
        patients: label of each scan's patient.

    Returns:
        ``icc_2_1`` and ``icc_3_1``.

    Raises:
        StudyError: the ratings are not a table of at least two columns and one row, hold a value that is not
            finite, or do not fit the labels.
    """
    table, codes = np.asarray(ratings, dtype=np.float64), Patients.of(patients)
    if table.ndim != 2 or table.shape[1] < 2 or not table.size or len(table) != codes.n_scans:
        raise StudyError(
            f"An intraclass correlation needs a table [scan, rater] of at least 2 raters with one patient label per "
            f"scan, got shape {table.shape} and {codes.n_scans} labels. Put the ratings side by side."
        )
    if not np.isfinite(table).all():
        raise StudyError("An intraclass correlation needs finite ratings, got NaN or infinity. Leave those scans out.")
    if problem := _icc_problem(table):
        nothing = Interval(None, n_patients=codes.n_patients, n_scans=codes.n_scans, note=problem)
        return Analysis("intraclass_correlation", INTRACLASS, {"icc_2_1": nothing, "icc_3_1": nothing})
    raters = table.shape[1]
    centred = table - table.mean()
    rows = centred.mean(axis=1, keepdims=True)
    features = np.hstack([np.ones_like(rows), rows**2, np.sum(centred**2, axis=1, keepdims=True), centred])
    sums = codes.unit_sums(codes.sums(features))

    def correlations(weights: Floats) -> dict[str, Floats]:
        n, row_squares, squares, *columns = (weights @ sums).T
        column_means = np.stack(columns) / n
        grand = column_means.mean(axis=0)
        between_rows = raters * (row_squares - n * grand**2)
        between_columns = n * np.sum((column_means - grand) ** 2, axis=0)
        error = np.maximum(squares - raters * n * grand**2 - between_rows - between_columns, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ms_rows, ms_columns = between_rows / (n - 1), between_columns / (raters - 1)
            ms_error = error / ((n - 1) * (raters - 1))
            consistency = ms_rows + (raters - 1) * ms_error
            agreement = consistency + raters * (ms_columns - ms_error) / n
            return {"icc_2_1": (ms_rows - ms_error) / agreement, "icc_3_1": (ms_rows - ms_error) / consistency}

    return Analysis("intraclass_correlation", INTRACLASS, patient_bootstrap(correlations, codes, **resampling))


def _icc_problem(table: Floats) -> str:
    if len(table) < MIN_SCANS:
        return f"No intraclass correlation: it needs at least {MIN_SCANS} scans, got {len(table)}."
    if np.ptp(table, axis=0).max() <= CONSTANT * np.abs(table).max():
        return "No intraclass correlation: no rater's ratings differ between scans."
    return ""
