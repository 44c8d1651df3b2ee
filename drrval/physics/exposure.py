"""Exposure of the receptor: photons per pixel and air kerma, each from the other."""

from __future__ import annotations

from drrval.errors import DrrvalError
from drrval.physics.spectrum import photons_per_air_kerma
from drrval.settings import DetectorSettings, SpectrumSettings


def photons_per_pixel(detector: DetectorSettings, spectrum: SpectrumSettings, pixel_mm: float) -> float:
    """Photons that fall on one pixel in the unattenuated beam.

    Args:
        detector: states this number, or the air kerma.
        spectrum: the tube.
        pixel_mm: pixel pitch at the panel, mm.

    Raises:
        DrrvalError: settings that were copied past their own check and state neither.
    """
    if detector.photons_per_pixel is not None:
        return detector.photons_per_pixel
    if detector.air_kerma_ugy is not None:
        return detector.air_kerma_ugy * photons_per_air_kerma(spectrum) * pixel_mm**2
    raise DrrvalError(
        "The detector settings state neither photons_per_pixel nor air_kerma_ugy. Give one of them, for example "
        "DetectorSettings(air_kerma_ugy=20)."
    )


def air_kerma_ugy(detector: DetectorSettings, spectrum: SpectrumSettings, pixel_mm: float) -> float:
    """Air kerma at the receptor in the unattenuated beam, uGy; arguments as for :func:`photons_per_pixel`."""
    return photons_per_pixel(detector, spectrum, pixel_mm) / (photons_per_air_kerma(spectrum) * pixel_mm**2)
