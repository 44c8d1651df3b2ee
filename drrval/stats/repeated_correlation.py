"""Do two measurements rise and fall together within patients? Repeated measures correlation."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from scipy.stats import t as student

from drrval.stats.paired import CONSTANT, Analysis, PairedScans
from drrval.stats.resampling import Floats, Resampling, patient_bootstrap

METHOD = (
    "Repeated measures correlation: correlation within patients about each patient's own means, one common slope "
    "(Bland & Altman 1995; Bakdash & Marusich 2017). p_value is that of the analysis of covariance, Student's t with "
    "(scans - patients - 1) degrees of freedom."
)


def repeated_measures_correlation(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Correlation within patients, with a patient-bootstrap interval.

    Bakdash & Marusich, Front. Psychol. 2017;8:456, doi 10.3389/fpsyg.2017.00456. Differences between patients do
    not count, so it answers whether changes over time agree. Patients with one scan add nothing.

    Returns:
        ``r`` (-1 to 1), ``slope`` (common slope of y on x within patients), ``p_value`` of r = 0.
    """
    names, patients = ("r", "slope", "p_value"), scans.patients
    n = patients.sums(np.ones_like(scans.x))
    own = [column - (patients.sums(column) / n)[patients.codes] for column in (scans.x, scans.y)]
    freedom = scans.n_scans - patients.n_patients - 1
    if problem := _problem(scans, own, freedom):
        return Analysis("repeated_measures_correlation", METHOD, scans.nothing(names, problem))
    products = np.stack([own[0] ** 2, own[0] * own[1], own[1] ** 2], axis=1)
    sums = patients.unit_sums(patients.sums(products))

    def correlation(weights: Floats) -> dict[str, Floats]:
        sxx, sxy, syy = (weights @ sums).T
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"r": np.clip(sxy / np.sqrt(sxx * syy), -1, 1), "slope": sxy / sxx}

    numbers = patient_bootstrap(correlation, patients, **resampling)
    r = numbers["r"].estimate or 0.0
    with np.errstate(divide="ignore"):
        p_value = 2 * float(student.sf(abs(r) * np.sqrt(freedom / np.float64(1 - r * r)), freedom))
    return Analysis("repeated_measures_correlation", METHOD, {**numbers, "p_value": scans.plain(p_value)})


def _problem(scans: PairedScans, own: list[Floats], freedom: int) -> str:
    if freedom < 1:
        return (
            "No repeated measures correlation: it needs at least 2 more scans than patients, "
            f"got {scans.n_scans} scans of {scans.patients.n_patients} patients."
        )
    for name, column, centred in zip(scans.names, (scans.x, scans.y), own, strict=True):
        if np.abs(centred).max() <= CONSTANT * np.abs(column).max():
            return f"No repeated measures correlation: {name} does not change within any patient."
    return ""
