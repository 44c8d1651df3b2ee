"""The X-ray tube: its spectrum, and the air kerma of its photons.

SpekPy 2 computes the spectrum (Poludniowski, Omar, Bujila & Andreo 2021, doi:10.1002/mp.14945): tungsten anode,
constant tube voltage, filtration given as aluminium.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import spekpy

from drrval.settings import SpectrumSettings

_BIN_KEV = 0.25  # sums behind a patient agree with bins of 0.05 keV to about 1e-4
_MM2_PER_CM2 = 100.0


@lru_cache(maxsize=16)
def _tube(settings: SpectrumSettings) -> spekpy.Spek:  # half a second to build
    return spekpy.Spek(kvp=settings.kvp, th=settings.anode_angle_deg, dk=_BIN_KEV).filter(
        "Al", settings.filtration_mm_al
    )


def tube(settings: SpectrumSettings) -> spekpy.Spek:
    """The filtered tube as a SpekPy model of the caller's own, in bins of 0.25 keV.

    It answers for mean energy and half-value layers, and can be filtered further.
    """
    return spekpy.Spek.clone(_tube(settings))


@lru_cache(maxsize=16)
def tube_spectrum(settings: SpectrumSettings) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Photon fluence of the filtered tube in bins of 0.25 keV.

    Returns:
        Bin centres (keV) and relative fluence (sums to 1), both ``[energy]``, read-only.
    """
    energies, fluence = tube(settings).get_spectrum(edges=False)
    kept = fluence > 0
    energies, fluence = energies[kept], fluence[kept] / fluence[kept].sum()
    energies.flags.writeable = fluence.flags.writeable = False
    return energies, fluence


@lru_cache(maxsize=16)
def photons_per_air_kerma(settings: SpectrumSettings) -> float:
    """Photons per mm2 that carry an air kerma of 1 uGy in the unattenuated beam.

    ``sum n(E) / sum n(E) E (mu_en/rho)_air(E)``, the conversion that IEC 62220-1 tabulates as the squared
    signal-to-noise ratio of the incoming beam; SpekPy's coefficients.
    """
    beam = tube(settings)
    return float(beam.get_flu() / beam.get_kerma() / _MM2_PER_CM2)
