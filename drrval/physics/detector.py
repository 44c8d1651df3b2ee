"""The image receptor: from area densities to a noisy signal."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from drrval.geometry import Geometry
from drrval.physics.exposure import photons_per_pixel
from drrval.physics.noise import poisson_counts
from drrval.physics.receptor import blur_quanta, blur_signal
from drrval.physics.scatter import dense_scatter, scatter_signal
from drrval.physics.transmission import beam_quadrature, transmission
from drrval.settings import DetectorSettings, ScatterSettings, SpectrumSettings

_DENSE_SHARE = 0.75  # of the way from black to white: mediastinum and liver


def detect(
    area_density: npt.NDArray[np.float32],
    field: npt.NDArray[np.bool_],
    geometry: Geometry,
    *,
    spectrum: SpectrumSettings,
    scatter: ScatterSettings,
    detector: DetectorSettings,
    rng: np.random.Generator,
    primary: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Receptor signal over the signal of the unattenuated beam, float32 ``[row, col]``, at least 0.

    In the order of nature: primary by the polychromatic Beer-Lambert law, plus scatter; quanta drawn; their light
    blurred by the scintillator; electronic noise of the panel. Quantum noise has the variance of the compound Poisson
    process, ``sum_E n(E) r(E)^2`` for n(E) absorbed photons of response r(E): it is drawn as equivalent quanta of
    ``sum n r^2 / sum n r`` each. Scatter is given the energies of the primary beneath it.

    Args:
        area_density: g/cm2, ``[material, row, col]``.
        field: the collimated field, ``[row, col]``; outside it the signal is 1 (shown black), and none of it is blurred
            into the field.
        geometry: the view (pixel pitch, anti-scatter grid).
        spectrum, scatter, detector: settings.
        rng: source of the noise.
        primary: the primary signal over the unattenuated one, ``[row, col]``, where another engine has computed it; by
            default computed from ``area_density``.
    """
    signal, quantum = transmission(area_density, beam_quadrature(spectrum, detector))
    quantum /= signal
    if primary is not None:
        signal = primary.copy()
    signal += scatter_signal(area_density, signal, field, geometry, scatter=scatter, spectrum=spectrum)
    image = np.ones(field.shape, np.float32)
    if field.any():
        window = _bounding_box(field)
        lit = field[window]
        photons = photons_per_pixel(detector, spectrum, geometry.pixel_mm)
        seen = _expose(signal[window] * lit, quantum[window] / photons, photons, geometry.pixel_mm, detector, rng)
        np.copyto(image[window], seen, where=lit)
    return image


def fixed_window(
    geometry: Geometry, *, spectrum: SpectrumSettings, scatter: ScatterSettings, detector: DetectorSettings
) -> tuple[float, float]:
    """-ln(signal) that a view shows as black and as white, from its ``display_g_cm2``.

    Black is that behind the first thickness of soft tissue. White follows from that behind the dense parts of a typical
    chest, three quarters of the way to the second: it is shown at three quarters of the grey scale. It depends on the
    beam, the grid and the scatter settings, never on the image; scatter is that behind the dense parts.
    """
    first, second = geometry.display_g_cm2
    soft = np.array([first, first + _DENSE_SHARE * (second - first)], np.float32)
    primary, _ = transmission(np.stack([0 * soft, soft, 0 * soft])[:, None], beam_quadrature(spectrum, detector))
    scattered = dense_scatter(geometry, scatter=scatter, spectrum=spectrum)
    black, dense = (-math.log(p + scattered) for p in primary[0].tolist())
    return black, black + (dense - black) / _DENSE_SHARE


def _bounding_box(field: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _expose(
    signal: npt.NDArray[np.float32],
    quantum: npt.NDArray[np.float32],
    photons: float,
    pixel_mm: float,
    detector: DetectorSettings,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Mean signal to detected signal, in place; ``quantum`` is the signal of one equivalent quantum, ``[row, col]``."""
    blur_signal(signal, detector, pixel_mm)
    np.maximum(signal, 0.0, out=signal)
    if detector.noise:
        np.multiply(poisson_counts(signal / quantum, rng), quantum, out=signal)
    blur_quanta(signal, detector, pixel_mm)
    if detector.noise and detector.electronic_noise_photons > 0:
        sigma = detector.electronic_noise_photons / photons
        signal += np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.maximum(signal, 0.0, out=signal)
