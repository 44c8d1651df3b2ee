"""The X-ray tube's spectrum, and its compression to a few energies.

A DRR needs ``sum_E n(E) exp(-sum_m mu_m(E) A_m)`` for a million pixels. Summing a hundred energy bins costs several
times the projection. Non-negative least squares weighs 16 equally spaced energies so that they give the same sum for
every area density that a patient can have; the largest error is measured and kept with the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import spekpy
from scipy.optimize import nnls

from drrval.physics.attenuation import attenuation_matrix
from drrval.settings import SpectrumSettings

_NODES = 16
# Area densities (g/cm2) that a chest can have along one ray: lung air, soft tissue, bone.
_MAX_AREA_DENSITY = (12.0, 60.0, 25.0)


@dataclass(frozen=True)
class BeamQuadrature:
    """A spectrum as few weighted energies.

    Attributes:
        energies_kev: energies, keV, ``[k]``.
        weights: share of the unattenuated signal per energy, sums to 1, ``[k]``.
        attenuation: mu/rho, cm2/g, ``[k, material]``.
        max_relative_error: largest relative error of the transmitted signal against the full spectrum, over area
        densities of
            0-12 (air), 0-60 (soft tissue) and 0-25 (bone) g/cm2.
    """

    energies_kev: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    attenuation: npt.NDArray[np.float64]
    max_relative_error: float


def tube_spectrum(settings: SpectrumSettings) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Photon fluence of the filtered tube in 1 keV bins (spekpy; Poludniowski et al. 2021, doi:10.1002/mp.14945).

    Returns:
        Bin centres (keV) and relative fluence (sums to 1), both ``[energy]``.
    """
    beam = spekpy.Spek(kvp=settings.kvp, th=settings.anode_angle_deg, dk=1.0)
    beam.filter("Al", settings.filtration_mm_al)
    energies, fluence = beam.get_spectrum(edges=False)
    kept = fluence > 0
    return energies[kept], fluence[kept] / fluence[kept].sum()


@lru_cache(maxsize=8)
def beam_quadrature(settings: SpectrumSettings, energy_weighted: bool) -> BeamQuadrature:
    """The spectrum compressed to few energies.

    Args:
        settings: the tube.
        energy_weighted: weight photons by their energy (energy-integrating receptor) or count them.
    """
    energies, fluence = tube_spectrum(settings)
    signal = fluence * energies if energy_weighted else fluence
    signal = signal / signal.sum()
    attenuation = attenuation_matrix(energies)

    fit_on = _area_density_samples(6)
    nodes = np.unique(np.linspace(0, len(energies) - 1, _NODES).round().astype(int))
    weights, _ = nnls(*_relative_system(fit_on, attenuation, signal, nodes))
    nodes, weights = nodes[weights > 0], weights[weights > 0] / weights.sum()

    check_on = _area_density_samples(11)
    full = np.exp(-check_on @ attenuation.T) @ signal
    few = np.exp(-check_on @ attenuation[nodes].T) @ weights
    return BeamQuadrature(energies[nodes], weights, attenuation[nodes], float(np.max(np.abs(few / full - 1.0))))


def transmission(
    area_density: npt.NDArray[np.float32], beam: BeamQuadrature, power: int = 0
) -> npt.NDArray[np.float64]:
    """Signal behind the patient over the unattenuated signal (polychromatic Beer-Lambert law).

    Args:
        area_density: g/cm2, ``[material, row, col]``.
        beam: the compressed spectrum.
        power: 0 for the signal; 1 for the same sum with each photon weighted once more by its energy in keV, which
            the variance of an energy-integrating receptor needs.

    Returns:
        ``[row, col]``.
    """
    total = np.zeros(area_density.shape[1:])
    for energy, weight, mu in zip(beam.energies_kev, beam.weights, beam.attenuation, strict=True):
        line = np.tensordot(mu.astype(np.float32), area_density, axes=1)
        total += (weight * energy**power) * np.exp(-line)
    return total


def _area_density_samples(steps: int) -> npt.NDArray[np.float64]:
    # Squared spacing: transmission bends most where there is little material.
    axes = [top * np.linspace(0.0, 1.0, steps) ** 2 for top in _MAX_AREA_DENSITY]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


def _relative_system(
    samples: npt.NDArray[np.float64],
    attenuation: npt.NDArray[np.float64],
    signal: npt.NDArray[np.float64],
    nodes: npt.NDArray[np.intp],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Least-squares system in the weights of the nodes, each row divided by the full sum."""
    rays = np.exp(-samples @ attenuation.T)
    return rays[:, nodes] / (rays @ signal)[:, None], np.ones(len(samples))
