"""Interaction tables of the materials: cross sections, Rayleigh form factors and incoherent scattering functions.

Cross sections are those of the analytic projector (Elam, Ravel & Sieber 2002, doi:10.1016/S0969-806X(01)00227-4,
through xraydb): photoelectric, coherent and incoherent parts, mixed by mass fraction. Atoms scatter independently:
form factors add as squares (Waasmaier & Kirfel 1995, doi:10.1107/S0108767394013292, through xraydb), so the
interference between the molecules of a liquid, which moves Rayleigh scatter away from the smallest angles, is left
out. Incoherent scattering functions: ``incoherent_scattering.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import xraydb
import yaml
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import PchipInterpolator

ENERGY_STEP_KEV = 0.5
MAX_ENERGY_KEV = 150.5
KEV_ANGSTROM = 12.398419843  # h c
MOMENTUM_STEP = 0.005  # of x = sin(theta / 2) / wavelength, 1/angstrom
_MAX_MOMENTUM = MAX_ENERGY_KEV / KEV_ANGSTROM
_MAX_FORM_FACTOR_MOMENTUM = 6.0  # upper end of the fit of Waasmaier & Kirfel; coherent scatter beyond it is nil

PHOTOELECTRIC, COHERENT, INCOHERENT = 0, 1, 2


@dataclass(frozen=True)
class InteractionTables:
    """What the transport looks up.

    Attributes:
        partial: mass attenuation coefficients, cm2/g, ``[material, energy, 3]`` (photoelectric, coherent, incoherent)
            at multiples of :data:`ENERGY_STEP_KEV`; below 1 keV those of 1 keV.
        form_factor_cdf: integral of the squared form factor over x^2 from 0 to x, ``[material, momentum]`` at
            multiples of :data:`MOMENTUM_STEP`.
        binding: incoherent scattering function over the number of electrons, 0-1, ``[material, momentum]``.
    """

    partial: npt.NDArray[np.float64]
    form_factor_cdf: npt.NDArray[np.float64]
    binding: npt.NDArray[np.float64]


def interaction_tables(materials: Sequence[Mapping[str, float]]) -> InteractionTables:
    """Tables of several materials.

    Args:
        materials: mass fractions by element symbol; the elements of tissue, bone and air.
    """
    momenta = np.arange(0.0, _MAX_MOMENTUM + MOMENTUM_STEP, MOMENTUM_STEP)
    return InteractionTables(
        partial=np.stack([partial_coefficients(m) for m in materials]),
        form_factor_cdf=np.stack([_form_factor_cdf(m, momenta) for m in materials]),
        binding=np.stack([_binding(m, momenta) for m in materials]),
    )


def partial_coefficients(material: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Photoelectric, coherent and incoherent mass attenuation coefficients, cm2/g, ``[energy, 3]``."""
    energies_kev = np.arange(0.0, MAX_ENERGY_KEV + ENERGY_STEP_KEV, ENERGY_STEP_KEV)
    energies_ev = 1000.0 * np.maximum(energies_kev, 1.0)
    kinds = ("photo", "coh", "incoh")
    parts = [
        sum(w * xraydb.mu_elam(element, energies_ev, kind=kind) for element, w in material.items()) for kind in kinds
    ]
    return np.stack(parts, axis=1)


def _per_gram(material: Mapping[str, float]) -> dict[str, float]:
    return {element: w / xraydb.atomic_mass(element) for element, w in material.items()}


def _form_factor_cdf(material: Mapping[str, float], momenta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squared = sum(n * xraydb.f0(element, momenta) ** 2 for element, n in _per_gram(material).items())
    squared = np.where(momenta <= _MAX_FORM_FACTOR_MOMENTUM, squared, 0.0)
    return np.asarray(cumulative_trapezoid(squared, momenta**2, initial=0))


def _binding(material: Mapping[str, float], momenta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    table = _scattering_functions()
    x = np.array([0.0, *table["x"]])
    atoms = _per_gram(material)
    bound = sum(n * PchipInterpolator(x, [0.0, *table["elements"][element]])(momenta) for element, n in atoms.items())
    electrons = sum(n * xraydb.atomic_number(element) for element, n in atoms.items())
    return np.clip(np.asarray(bound) / electrons, 0.0, 1.0)


@cache
def _scattering_functions() -> dict[str, Any]:
    text = files("drrval.physics.montecarlo").joinpath("incoherent_scattering.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
