"""Anti-scatter grid: thin lead strips that point to the focus, with a light interspace between them.

The transmission of a photon is ``exp(-mu_lead * a - mu_interspace * b)`` with a and b its path lengths in strips and
interspace, and its place between two strips random (G. J. Day and D. R. Dance, "X-ray transmission formula for
antiscatter grids", Phys Med Biol 28 (1983) 1429-1433, average the same expression analytically). Photons that the
grid itself scatters, and the fluorescence of the lead, are not traced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xraydb
from numba import njit

from drrval.errors import DrrvalError
from drrval.physics.montecarlo.cross_sections import ENERGY_STEP_KEV, MAX_ENERGY_KEV


@dataclass(frozen=True)
class AntiScatterGrid:
    """A linear grid focused on the X-ray source, its strips parallel to the panel's columns (head to feet).

    Attributes:
        ratio: height of the strips over the width of the interspace.
        lines_per_cm: strips per centimetre.
        strip_mm: thickness of a lead strip, mm.
        interspace: chemical symbol of the interspace material, aluminium by default.
        interspace_g_cm3: its density, g/cm3.

    Raises:
        DrrvalError: strips as wide as their spacing, or a ratio that is not positive.
    """

    ratio: float = 12.0
    lines_per_cm: float = 40.0
    strip_mm: float = 0.04
    interspace: str = "Al"
    interspace_g_cm3: float = 2.70

    def __post_init__(self) -> None:
        if not (self.ratio > 0 and 0 < self.strip_mm < self.pitch_mm):
            raise DrrvalError(
                f"Anti-scatter grid with ratio {self.ratio}, {self.lines_per_cm} lines/cm and strips of "
                f"{self.strip_mm} mm cannot be built. The ratio must be positive and a strip thinner than its spacing."
            )

    @property
    def pitch_mm(self) -> float:
        """Distance from strip to strip, mm."""
        return 10.0 / self.lines_per_cm

    @property
    def height_mm(self) -> float:
        """Height of the strips, mm."""
        return self.ratio * (self.pitch_mm - self.strip_mm)

    def primary_transmission(self, energies_kev: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Share of photons from the focus that pass at each energy, same shape as ``energies_kev``."""
        lead, interspace = self._linear_attenuation(np.asarray(energies_kev, dtype=float)).T
        share = self.strip_mm / self.pitch_mm
        height_cm = self.height_mm / 10.0
        return share * np.exp(-lead * height_cm) + (1.0 - share) * np.exp(-interspace * height_cm)

    def _linear_attenuation(self, energies_kev: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Linear attenuation coefficients of strip and interspace, 1/cm, ``[energy, 2]``."""
        energies_ev = 1000.0 * np.maximum(energies_kev, 1.0)
        lead = xraydb.mu_elam("Pb", energies_ev) * xraydb.atomic_density("Pb")
        return np.stack([lead, xraydb.mu_elam(self.interspace, energies_ev) * self.interspace_g_cm3], axis=-1)


def grid_tables(grids: Sequence[AntiScatterGrid]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What the transport needs of several grids.

    Returns:
        Dimensions in cm ``[grid, 3]`` (height, pitch, strip), and attenuation in 1/cm ``[grid, energy, 2]`` of strip
        and interspace at multiples of ``ENERGY_STEP_KEV``.
    """
    energies = np.arange(0.0, MAX_ENERGY_KEV + ENERGY_STEP_KEV, ENERGY_STEP_KEV)
    sizes = np.array([[g.height_mm, g.pitch_mm, g.strip_mm] for g in grids]).reshape(-1, 3) / 10.0
    attenuation = np.array([g._linear_attenuation(energies) for g in grids]).reshape(-1, len(energies), 2)
    return sizes, attenuation


@njit(cache=True, nogil=True)
def transmission(size: Any, lead: float, interspace: float, slope: float, obliquity: float, start: float) -> float:
    """Share of a photon that passes the grid at a given place.

    Args:
        size: height, pitch and strip thickness, cm.
        lead, interspace: linear attenuation coefficients, 1/cm.
        slope: sideways distance across the strips per height, relative to the strips' own lean.
        obliquity: path length per height, at least 1.
        start: where between two strips the photon enters, 0-1 of the pitch.
    """
    height, pitch, strip = size[0], size[1], size[2]
    across = height * abs(slope)
    begin = start * pitch
    if across < 1e-6 * pitch:
        in_lead = 1.0 if begin < strip else 0.0
    else:
        in_lead = (_lead_up_to(begin + across, pitch, strip) - _lead_up_to(begin, pitch, strip)) / across
    return math.exp(-height * obliquity * (lead * in_lead + interspace * (1.0 - in_lead)))


@njit(cache=True, nogil=True, inline="always")
def _lead_up_to(position: float, pitch: float, strip: float) -> float:
    whole = math.floor(position / pitch)
    return whole * strip + min(position - whole * pitch, strip)
