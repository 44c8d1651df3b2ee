"""What the receptor makes of each photon: absorption, response, and the blur of its scintillator and pixels.

Blur and noise follow a linear cascade (Cunningham & Shaw 1999, doi:10.1364/JOSAA.16.000621): the quanta that the
scintillator absorbs are counted by Poisson statistics, their light spreads with the MTF ``T(f)``, square pixels of
pitch p collect it with ``A(f) = sinc(p f)``, and the panel samples it. An image of which the CT leaves nothing above
the Nyquist frequency comes out with the presampling MTF ``T A``, and white quantum noise of power W with the power
``W sum_k T^2(f + k/p) A^2(f + k/p)``, its aliases folded in. The image is therefore filtered twice: with
``T A / F`` before the quanta are drawn, and with ``F = sqrt(sum_k ...)`` after it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft

from drrval.physics.attenuation import mass_attenuation
from drrval.settings import DetectorSettings

_ALIASES = 20  # spectral copies on either side; the Gaussian MTF has vanished long before, at any setting allowed


def quantum_efficiency(csi_mg_cm2: float | None, energies_kev: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Share of the photons that interact, ``eta(E) = 1 - exp(-mu/rho(E) t)``, for each energy, 0-1.

    The energy of a photon that interacts counts in full: escape of K fluorescence is left out.

    Args:
        csi_mg_cm2: areal mass t of the caesium iodide scintillator, mg/cm2; None absorbs every photon.
        energies_kev: photon energies, keV, 1-D.
    """
    energies = np.asarray(energies_kev, dtype=float)
    if csi_mg_cm2 is None:
        return np.ones_like(energies)
    return -np.expm1(-mass_attenuation("caesium_iodide", energies) * csi_mg_cm2 / 1000.0)


def signal_per_photon(response: str, energies_kev: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Signal r(E) of one absorbed photon: its energy (``energy-integrating``) or 1 (``photon-counting``)."""
    energies = np.asarray(energies_kev, dtype=float)
    return energies if response == "energy-integrating" else np.ones_like(energies)


def scintillator_mtf(mtf50_per_mm: float, frequencies_per_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Gaussian MTF ``T(f) = 2^-(f / f50)^2``, pixel aperture not included.

    Args:
        mtf50_per_mm: frequency f50 at which it is one half, cycles/mm.
        frequencies_per_mm: spatial frequencies, cycles/mm.
    """
    return np.exp2(-((np.asarray(frequencies_per_mm, dtype=float) / mtf50_per_mm) ** 2))


def blur_signal(image: npt.NDArray[np.float32], detector: DetectorSettings, pixel_mm: float) -> None:
    """Filter the mean image, in place, with ``T A / F``: what pixels and aliasing change before quanta are drawn.

    Args:
        image: float32 ``[row, col]``; mirrored beyond its edges.
        detector: states the MTF; without one nothing is changed.
        pixel_mm: pixel pitch, mm.
    """
    if detector.mtf50_per_mm is not None:
        f50 = detector.mtf50_per_mm * pixel_mm
        _filter(image, lambda f: np.sinc(f) / _folded(f, f50))


def blur_quanta(image: npt.NDArray[np.float32], detector: DetectorSettings, pixel_mm: float) -> None:
    """Filter the image of absorbed quanta, in place, with ``F``: the spread of their light; arguments as above."""
    if detector.mtf50_per_mm is not None:
        f50 = detector.mtf50_per_mm * pixel_mm
        _filter(image, lambda f: scintillator_mtf(f50, f) * _folded(f, f50))


def _folded(f: npt.NDArray[np.float64], f50: float) -> npt.NDArray[np.float64]:
    """F(f) / T(f), frequencies in cycles per pixel; the ratio of Gaussians cannot underflow."""
    copies = f[:, None] + np.arange(-_ALIASES, _ALIASES + 1)
    light = np.exp2(-2.0 * (copies**2 - f[:, None] ** 2) / f50**2)
    return np.sqrt(np.sum(light * np.sinc(copies) ** 2, axis=1))


def _filter(image: npt.NDArray[np.float32], gain: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> None:
    """Multiply the cosine transform by a separable gain; its basis is that of an image mirrored at its edges."""
    rows, columns = (gain(np.arange(n) / (2.0 * n)).astype(np.float32) for n in image.shape)
    waves = fft.dctn(image)
    waves *= rows[:, None]
    waves *= columns
    image[:] = fft.idctn(waves, overwrite_x=True)
