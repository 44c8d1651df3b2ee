"""Cluster-robust tests: against R's clubSandwich, the matrices of the definition, and simulated studies."""

from __future__ import annotations

import numpy as np
import pytest
from published_measurements import bland_1995
from scipy.stats import t as student

from drrval.stats.clustered import clustered_test
from drrval.stats.paired import PairedScans
from drrval.stats.regression import least_squares, linearity
from drrval.stats.resampling import Floats


def test_clubsandwich_on_bland_1995() -> None:
    # R 4.2.2, clubSandwich 0.5.8, data rmcorr::bland1995: coef_test(lm(pH ~ PacO2), vcov = "CR2", cluster = Subject,
    # test = "Satterthwaite"): 4.043437960776 degrees of freedom, p 0.8656232996748957. With I(PacO2^2), conf_int too:
    # -0.1121330295816, p 0.1863432233275, 95 % interval -0.3199290935856 to 0.09566303442248.
    scans = bland_1995()
    assert least_squares(scans)["p_value_clustered"].estimate == pytest.approx(0.8656232996748957, rel=1e-9)
    curve = linearity(scans)
    quadratic = curve["quadratic"]
    assert quadratic.estimate == pytest.approx(-0.1121330295816, rel=1e-9)
    assert (quadratic.low, quadratic.high) == pytest.approx((-0.3199290935856, 0.09566303442248), rel=1e-8)
    assert curve["p_value"].estimate == pytest.approx(0.1863432233275, rel=1e-9)


def by_matrices(scans: PairedScans, columns: Floats, level: float) -> tuple[float, float, float]:
    """Coefficient and ends of its interval with whole matrices, as Pustejovsky and Tipton (2018) write them."""
    design = np.column_stack([columns, np.ones(scans.n_scans)])
    bread = np.linalg.inv(design.T @ design)
    beta = bread @ design.T @ scans.y
    leave = np.eye(scans.n_scans) - design @ bread @ design.T
    pulls = []
    for patient in range(scans.patients.n_patients):
        rows = scans.patients.codes == patient
        values, axes = np.linalg.eigh(leave[np.ix_(rows, rows)])
        root = np.where(values > 1e-9, 1 / np.sqrt(np.maximum(values, 1e-9)), 0.0)
        adjusted = np.zeros(scans.n_scans)
        adjusted[rows] = axes @ np.diag(root) @ axes.T @ design[rows] @ bread[0]
        pulls.append(adjusted)
    pulled = np.array(pulls)
    variance = float(np.sum((pulled @ (scans.y - design @ beta)) ** 2))
    expected = pulled @ leave @ pulled.T
    freedom = np.trace(expected) ** 2 / np.sum(expected**2)
    half = student.ppf((1 + level) / 2, freedom) * np.sqrt(variance)
    return float(beta[0]), float(beta[0] - half), float(beta[0] + half)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_sums_per_patient_are_the_matrices_of_the_definition(n_columns: int) -> None:
    generator = np.random.default_rng(3)
    # Numbers of scans from 1 to 12; the last patient alone has large values.
    labels = np.repeat(np.arange(7), [1, 2, 3, 5, 8, 12, 4])
    x = generator.normal(20, 5, labels.size) + 40 * (labels == 6)
    scans = PairedScans.of(x, 0.7 * x + generator.normal(0, 1 + x / 20), labels)
    columns = np.stack([x**power for power in range(n_columns, 0, -1)], axis=1)
    found, _ = clustered_test(scans, columns, scans.y, level=0.9, unit=2.0)
    assert [2 * v for v in (found.estimate, found.low, found.high)] == pytest.approx(  # type: ignore[operator]
        by_matrices(scans, columns, 0.9), rel=1e-8
    )


def test_a_patient_who_alone_tells_the_slope() -> None:
    # Without the last patient x does not vary: the generalised inverse leaves that patient's residuals out.
    x = np.array([1.0, 1.0, 1.0, 1.0, 5.0, 5.0])
    scans = PairedScans.of(x, [1.0, 2.0, 1.5, 3.0, 4.0, 4.5], [0, 0, 1, 1, 2, 2])
    found, p_value = clustered_test(scans, x[:, None], scans.y)
    assert (found.estimate, found.low, found.high) == pytest.approx(by_matrices(scans, x[:, None], 0.95), rel=1e-8)
    assert p_value.estimate is not None


def test_no_slope_is_called_in_5_of_100_small_studies() -> None:
    generator = np.random.default_rng(4)
    labels = np.repeat(np.arange(9), 3)
    called = []
    for _ in range(1000):
        x = generator.normal(30, 12, 9)[labels] + generator.normal(0, 8, 27)
        y = (
            generator.normal(0, 4, 9)[labels]
            + generator.normal(0, 0.15, 9)[labels] * (x - 30)
            + generator.normal(0, 4, 27)
        )
        p_value = clustered_test(PairedScans.of(x, y, labels), x[:, None], y)[1].estimate
        assert p_value is not None
        called.append(p_value < 0.05)
    # Standard error of the share: 0.7 points. The usual (CR1) test with 8 degrees of freedom calls 11 of 100.
    assert np.mean(called) == pytest.approx(0.05, abs=0.02)
