"""From a noise-free chest to the CT that a scanner would give: slice profile, reconstruction kernel, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import correlate1d, gaussian_filter1d

from drrval.errors import StudyError
from drrval.phantom.anatomy import check_range, check_seed
from drrval.volume import CTVolume, Grid

_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # of a Gaussian with a standard deviation of 1
_LOWEST_HU = -1024.0
_TILE_SLICES = 16  # noise is made in tiles of slices, to keep memory low


@dataclass(frozen=True)
class Protocol:
    """How a chest CT is reconstructed.

    Attributes:
        slice_mm: nominal slice thickness (width of a rectangular profile along z), mm, 0.3 to 20. Voxels that are
            themselves thicker stay as they are.
        kernel_fwhm_mm: width of the point spread in the slice plane, mm, 0 to 5: about 0.9 for a sharp (lung) kernel,
            1.4 for a soft one.
        noise_hu: standard deviation of the noise in soft tissue, HU, 0 to 200.
    """

    slice_mm: float = 1.25
    kernel_fwhm_mm: float = 1.2
    noise_hu: float = 15.0

    def __post_init__(self) -> None:
        for name, low, high in (("slice_mm", 0.3, 20.0), ("kernel_fwhm_mm", 0.0, 5.0), ("noise_hu", 0.0, 200.0)):
            check_range(name, getattr(self, name), low, high)


# Common ways to take a chest CT. Screening asks for slices of at most 2.5 mm, better 1 mm (Kazerooni et al., ACR-STR
# practice parameter, J Thorac Imaging 2014;29:310); 5 mm is the older routine. Noise in soft tissue: typical values at
# about 5 mGy; it falls with the square root of dose and slice thickness and is about double at a quarter of the dose
# (McCollough et al. Radiology 2012;264:567, 10.1148/radiol.12112265).
PROTOCOLS: dict[str, Protocol] = {
    "thin": Protocol(1.0, 0.9, 25.0),
    "standard": Protocol(2.0, 1.2, 15.0),
    "thick": Protocol(5.0, 1.4, 9.0),
    "low_dose": Protocol(1.25, 1.2, 35.0),
}


def protocol_named(name: str) -> Protocol:
    """A protocol of :data:`PROTOCOLS`.

    Raises:
        StudyError: an unknown name.
    """
    if name not in PROTOCOLS:
        raise StudyError(f"Unknown protocol {name!r}. Expected one of: {', '.join(map(repr, PROTOCOLS))}.")
    return PROTOCOLS[name]


def acquire(hu: npt.NDArray[np.float32], grid: Grid, protocol: Protocol, seed: int) -> CTVolume:
    """Take the CT: blur by slice profile and kernel, add correlated noise, round to whole Hounsfield units.

    Args:
        hu: ``[z, y, x]``, noise-free Hounsfield units.
        grid: of ``hu``, axis-aligned.
        protocol: how the scanner works.
        seed: of the noise, 0 or above.

    Returns:
        float32 Hounsfield units with whole values of at least -1024 on the same grid.

    Raises:
        StudyError: ``hu`` does not have the grid's shape, or the seed is negative.
    """
    check_seed(seed)
    if hu.shape != grid.shape:
        raise StudyError(f"hu has the shape {hu.shape}, its grid {grid.shape}. Give an array on this grid.")
    out = _sliced(np.asarray(hu, dtype=np.float32), grid.spacing_mm[2], protocol.slice_mm)
    sigma = protocol.kernel_fwhm_mm / _FWHM
    for begin in range(0, len(out), _TILE_SLICES):
        part = out[begin : begin + _TILE_SLICES]
        if sigma > 0:
            for axis, spacing in ((1, grid.spacing_mm[1]), (2, grid.spacing_mm[0])):
                gaussian_filter1d(part, sigma / spacing, axis=axis, mode="nearest", output=part)
        if protocol.noise_hu > 0:
            part += _noise(part.shape, grid, protocol, np.random.default_rng([seed, 0x9E, begin]))
        np.rint(part, out=part)
        np.maximum(part, np.float32(_LOWEST_HU), out=part)
    return CTVolume(out, grid, np.ones(hu.shape[1:], dtype=bool), name="simulated CT")


def _sliced(hu: npt.NDArray[np.float32], spacing_mm: float, slice_mm: float) -> npt.NDArray[np.float32]:
    """Mean over the slice thickness; the voxels themselves are already means over the spacing."""
    if slice_mm <= spacing_mm:
        return hu.copy()
    half = slice_mm / spacing_mm / 2.0
    reach = int(np.ceil(half))
    weights = np.clip(half + 0.5 - np.abs(np.arange(-reach, reach + 1)), 0.0, 1.0)
    return np.asarray(correlate1d(hu, weights / weights.sum(), axis=0, mode="nearest"))


def _noise(shape: tuple[int, ...], grid: Grid, protocol: Protocol, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise with the spectrum of filtered back-projection: a ramp times the square of the kernel's transfer function.

    The spectrum is zero at zero frequency, rises with frequency and falls with the kernel (Kijewski and Judy, Phys
    Med Biol 1987;32:565, 10.1088/0031-9155/32/5/002). Slices are independent.
    """
    x_mm, y_mm, _ = grid.spacing_mm
    fy, fx = np.fft.fftfreq(shape[1], y_mm)[:, None], np.fft.rfftfreq(shape[2], x_mm)[None, :]
    frequency = np.hypot(fx, fy)
    sigma = protocol.kernel_fwhm_mm / _FWHM
    amplitude = np.sqrt(frequency) * np.exp(-2.0 * (np.pi * sigma * frequency) ** 2)
    twice = np.full(fx.shape, 2.0)  # the half spectrum stands for both signs of fx
    twice[0, 0] = 1.0
    if shape[2] % 2 == 0:
        twice[0, -1] = 1.0
    amplitude *= protocol.noise_hu / np.sqrt((amplitude**2 * twice).sum() / (shape[1] * shape[2]))
    white = rng.standard_normal(shape, dtype=np.float32)
    spectrum = fft.rfft2(white, axes=(1, 2))
    spectrum *= amplitude.astype(np.float32)
    return np.asarray(fft.irfft2(spectrum, s=shape[1:], axes=(1, 2)), dtype=np.float32)
