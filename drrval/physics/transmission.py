"""Polychromatic transmission: the Beer-Lambert law summed over the spectrum, for every pixel.

The signal is ``S(A) = sum_E N(E) exp(-sum_m mu_m(E) A_m)`` with ``N(E)`` proportional to fluence x quantum efficiency
x response. A hundred energies per pixel would cost several times the projection. A few energies stand for all: column-
pivoted QR picks those whose attenuation differs most, non-negative least squares weighs them, and one more is
taken until the sum is right to 5e-5 everywhere. A kernel then sums them row by row without temporaries. That is
quicker than interpolating in a table of area densities, which gathers from memory, and exact in all three materials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy.linalg import qr
from scipy.optimize import nnls

from drrval.physics.attenuation import attenuation_matrix
from drrval.physics.receptor import quantum_efficiency, signal_per_photon
from drrval.physics.spectrum import tube_spectrum
from drrval.settings import DetectorSettings, SpectrumSettings

_TOLERANCE = 5e-5  # relative; half of what a step wedge may differ from the full sum
_FIRST_TRY = 6
# Area densities (g/cm2) that a chest can have along one ray: lung air, soft tissue, bone.
_MAX_AREA_DENSITY = (12.0, 60.0, 25.0)
# Area densities per material and exponent of their spacing: transmission bends most where there is little material.
_FITTED, _CHECKED = (8, 3), (13, 2)
_LEAST_SHARE = 1e-7  # energies that never give more of the signal need no weight
_LEAST_SIGNAL = 1e-5  # less is below one photon of the default exposure: errors there are not counted

# exp2 on [-0.5, 0.5] as a Taylor polynomial of degree 5, to 2.4e-6; 1.5 * 2^23 makes float32 addition round.
_C1, _C2, _C3, _C4, _C5 = (np.float32(math.log(2.0) ** k / math.factorial(k)) for k in range(1, 6))
_ROUND = np.float32(12582912.0)
_ONE, _ZERO = np.float32(1.0), np.float32(0.0)
_OPAQUE = np.float32(-100.0)  # 2^-100 of the signal: keeps the exponent of a float32 in its range


@dataclass(frozen=True)
class BeamQuadrature:
    """A spectrum, seen by a receptor, as few weighted energies.

    Attributes:
        energies_kev: energies, keV, ``[k]``.
        attenuation: mu/rho, cm2/g, ``[k, material]``.
        weights: share of the unattenuated signal per energy, sums to 1, ``[k]``.
        variance_weights: variance of the signal per energy when one photon falls on the pixel in the unattenuated
            beam, ``[k]``; the sum is 1 for an ideal photon-counting receptor and larger for any other.
        max_relative_error: largest relative error of signal and variance against the full spectrum, over area densities
            of 0-12 (air), 0-60 (soft tissue) and 0-25 (bone) g/cm2 that let through more than 1e-5 of the signal.
    """

    energies_kev: npt.NDArray[np.float64]
    attenuation: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    variance_weights: npt.NDArray[np.float64]
    max_relative_error: float


def beam_quadrature(spectrum: SpectrumSettings, detector: DetectorSettings) -> BeamQuadrature:
    """The spectrum of a tube, as a receptor weighs it, compressed to few energies."""
    return _quadrature(spectrum, detector.response, detector.csi_mg_cm2)


def transmission(
    area_density: npt.NDArray[np.float32], beam: BeamQuadrature
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Signal behind the patient, and its quantum variance (polychromatic Beer-Lambert law).

    Args:
        area_density: g/cm2, float32 ``[material, row, col]`` in the order of :data:`drrval.materials.MATERIALS`.
        beam: the compressed spectrum.

    Returns:
        Signal over the unattenuated signal, and the variance of that ratio for one photon per pixel in the
        unattenuated beam (divide by the photons per pixel), both float32 ``[row, col]`` and above 0. Rounding adds
        less than 1e-5 to the relative error of the quadrature.
    """
    signal = np.empty(area_density.shape[1:], np.float32)
    variance = np.empty_like(signal)
    exponents = (-beam.attenuation / math.log(2.0)).astype(np.float32)
    weights = np.stack([beam.weights, beam.variance_weights], axis=1).astype(np.float32)
    _sum_energies(np.ascontiguousarray(area_density, np.float32), exponents, weights, signal, variance)
    return signal, variance


@lru_cache(maxsize=16)
def _quadrature(spectrum: SpectrumSettings, response: str, csi_mg_cm2: float | None) -> BeamQuadrature:
    energies, fluence = tube_spectrum(spectrum)
    absorbed = fluence * quantum_efficiency(csi_mg_cm2, energies)
    per_photon = signal_per_photon(response, energies)
    mean = absorbed @ per_photon
    full = np.stack([absorbed * per_photon / mean, absorbed * per_photon**2 / mean**2], axis=1)
    attenuation = attenuation_matrix(energies)
    fit, fit_sums = _rays(_FITTED, attenuation, full)
    check, check_sums = _rays(_CHECKED, attenuation, full)
    shares = fit * full[:, 0] / fit_sums[:, :1]
    seen = np.flatnonzero(shares.max(axis=0) > _LEAST_SHARE)
    order = seen[qr(shares[:, seen], mode="r", pivoting=True)[1]]
    for n in range(min(_FIRST_TRY, len(order)), len(order) + 1):
        chosen = np.sort(order[:n])
        weights = np.stack([_weigh(fit[:, chosen], sums) for sums in fit_sums.T], axis=1)
        error = float(np.max(np.abs(check[:, chosen] @ weights / check_sums - 1.0)))
        if error <= _TOLERANCE:
            break
    return BeamQuadrature(energies[chosen], attenuation[chosen], weights[:, 0], weights[:, 1], error)


def _rays(
    spacing: tuple[int, int], attenuation: npt.NDArray[np.float64], full: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Transmission of each energy, ``[ray, energy]``, and the full sums, ``[ray, 2]``, of rays that matter."""
    steps, power = spacing
    axes = [top * np.linspace(0.0, 1.0, steps) ** power for top in _MAX_AREA_DENSITY]
    rays = np.exp(-np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1) @ attenuation.T)
    sums = rays @ full
    kept = sums[:, 0] > _LEAST_SIGNAL
    return rays[kept], sums[kept]


def _weigh(rays: npt.NDArray[np.float64], sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights >= 0 of the energies, fitted to relative errors; in the open beam, the first ray, they are exact."""
    weights, _ = nnls(rays / sums[:, None], np.ones(len(sums)), maxiter=50 * rays.shape[1])
    return weights * (sums[0] / weights.sum())


@njit(cache=True, parallel=True, nogil=True)
def _sum_energies(area: Any, exponents: Any, weights: Any, signal: Any, variance: Any) -> None:
    """One task per row: the order of summation, and so every bit, is the same for any number of threads."""
    for r in prange(signal.shape[0]):
        _sum_row(area[0, r], area[1, r], area[2, r], exponents, weights, signal[r], variance[r])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sum_row(air: Any, soft: Any, bone: Any, exponents: Any, weights: Any, signal: Any, variance: Any) -> None:
    signal[:] = _ZERO
    variance[:] = _ZERO
    for k in range(exponents.shape[0]):
        mu_air, mu_soft, mu_bone = exponents[k, 0], exponents[k, 1], exponents[k, 2]
        weight, variance_weight = weights[k, 0], weights[k, 1]
        for c in range(signal.size):
            passed = _exp2(mu_air * air[c] + mu_soft * soft[c] + mu_bone * bone[c])
            signal[c] += weight * passed
            variance[c] += variance_weight * passed


@njit(cache=True, nogil=True, inline="always")
def _exp2(x: Any) -> Any:
    """2^x for x <= 0 in arithmetic that vectorises: polynomial of the fraction, whole part put into the exponent."""
    clipped = max(x, _OPAQUE)
    rounded = clipped + _ROUND
    f = clipped - (rounded - _ROUND)
    power = _ONE + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * _C5))))
    bits = np.float32(power).view(np.int32) + (np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(bits).view(np.float32)
