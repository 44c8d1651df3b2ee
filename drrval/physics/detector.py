"""The image receptor: from area densities to a noisy signal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.geometry import Geometry
from drrval.physics.scatter import dense_scatter, scatter_signal
from drrval.physics.spectrum import BeamQuadrature, beam_quadrature, transmission
from drrval.settings import DetectorSettings, ScatterSettings, SpectrumSettings


def detect(
    area_density: npt.NDArray[np.float32],
    field: npt.NDArray[np.bool_],
    geometry: Geometry,
    *,
    spectrum: SpectrumSettings,
    scatter: ScatterSettings,
    detector: DetectorSettings,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Receptor signal over the signal of the unattenuated beam, float32 ``[row, col]``, at least 0.

    Primary by the polychromatic Beer-Lambert law, plus scatter, blurred by the receptor. Quantum noise has the
    variance of the compound Poisson process: ``sum_E n(E) r(E)^2`` with n photons of response r (r = E for an
    energy-integrating receptor, 1 for a photon-counting one). Scatter is given the energies of the primary beneath it.

    Args:
        area_density: g/cm2, ``[material, row, col]``.
        field: the collimated field, ``[row, col]``; outside it the signal is 1.
        geometry: the view (pixel pitch, anti-scatter grid).
        spectrum, scatter, detector: settings.
        rng: source of the noise.
    """
    integrating = detector.response == "energy-integrating"
    beam = beam_quadrature(spectrum, energy_weighted=integrating)
    primary = transmission(area_density, beam)
    signal = primary + scatter_signal(
        primary, field, geometry.pixel_mm, scatter, anti_scatter_grid=geometry.anti_scatter_grid
    )
    if detector.blur_sigma_mm > 0:
        signal = ndimage.gaussian_filter(signal, detector.blur_sigma_mm / geometry.pixel_mm, mode="nearest")
    if detector.noise:
        quantum = _signal_per_quantum(area_density, primary, beam, integrating, detector)
        signal = _with_noise(signal, quantum, detector, rng)
    return np.where(field, signal, 1.0).astype(np.float32)


def fixed_window(
    geometry: Geometry, *, spectrum: SpectrumSettings, scatter: ScatterSettings, detector: DetectorSettings
) -> tuple[float, float]:
    """-ln(signal) behind the two thicknesses of soft tissue that a view shows as black and as white.

    It depends on the beam, the grid and the scatter settings, never on the image. The scatter added is that behind
    the dense parts of a typical chest.
    """
    beam = beam_quadrature(spectrum, energy_weighted=detector.response == "energy-integrating")
    soft = np.array(geometry.display_g_cm2, np.float32)
    primary = transmission(np.stack([0 * soft, soft, 0 * soft])[:, None], beam)[0]
    black, white = -np.log(primary + dense_scatter(scatter, anti_scatter_grid=geometry.anti_scatter_grid))
    return float(black), float(white)


def _signal_per_quantum(
    area_density: npt.NDArray[np.float32],
    primary: npt.NDArray[np.float64],
    beam: BeamQuadrature,
    integrating: bool,
    detector: DetectorSettings,
) -> npt.NDArray[np.float64]:
    """Signal of one equivalent quantum: variance over mean of the compound Poisson process, ``[row, col]``."""
    if not integrating:
        return np.full_like(primary, 1.0 / detector.photons_per_pixel)
    # Weights are shares of energy, w = n E / sum(n E); so sum(n) = sum(w / E) and sum(n E^2) = sum(w E).
    photons_per_signal = np.sum(beam.weights / beam.energies_kev)
    second_moment = transmission(area_density, beam, power=1)
    return second_moment / np.maximum(primary, 1e-300) * photons_per_signal / detector.photons_per_pixel


def _with_noise(
    signal: npt.NDArray[np.float64],
    quantum: npt.NDArray[np.float64],
    detector: DetectorSettings,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    noisy = rng.poisson(signal / quantum) * quantum
    if detector.electronic_noise_photons > 0:
        noisy = noisy + rng.normal(0.0, detector.electronic_noise_photons / detector.photons_per_pixel, signal.shape)
    return np.maximum(noisy, 0.0)
