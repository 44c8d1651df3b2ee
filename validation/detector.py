"""The image receptor against the statistics, the transfer functions and the exposures that it must have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import stats

from drrval.geometry import view_geometry
from drrval.physics.attenuation import mass_attenuation
from drrval.physics.detector import detect
from drrval.physics.exposure import air_kerma_ugy
from drrval.physics.receptor import blur_quanta, blur_signal, quantum_efficiency, scintillator_mtf, signal_per_photon
from drrval.physics.spectrum import photons_per_air_kerma, tube, tube_spectrum
from drrval.settings import DetectorSettings, ScatterSettings, SpectrumSettings
from validation.markdown import table
from validation.spectrum import PUBLISHED, percent

Array = npt.NDArray[np.float64]
N = 1024
GEOMETRY = view_geometry("PA", rows=N, columns=N)
PIXEL_MM = GEOMETRY.pixel_mm
MTF50 = 1.2  # cycles/mm, about that of a caesium iodide panel
FREQUENCIES = np.arange(N // 2) / (N * PIXEL_MM)  # cycles/mm, up to the Nyquist frequency


def report(folder: Path) -> str:
    """Measure, draw ``detector.png`` into ``folder`` and return the section's Markdown."""
    mtf, power = _measured_mtf(), _noise_power()
    draw(folder / "detector.png", mtf, power)
    return "\n\n".join([_exposures(), _variances(), _counts(), _transfer(mtf, power), _figure()])


def _figure() -> str:
    return "![MTF and noise power spectrum](images/validation/detector.png)"


def expose(soft: float, **settings: Any) -> Array:
    """Image of a flat slab of soft tissue (g/cm2), ``[row, col]``."""
    area = np.zeros((3, N, N), np.float32)
    area[1] = soft
    beam = {"spectrum": SpectrumSettings(), "scatter": ScatterSettings(model="none")}
    rng, field = np.random.default_rng(20210330), np.ones((N, N), bool)
    return detect(area, field, GEOMETRY, detector=DetectorSettings(**settings), rng=rng, **beam).astype(float)  # type: ignore[arg-type]


def _exposures() -> str:
    rows = []
    for name, (kvp, added, layer, photons) in PUBLISHED["photons_per_air_kerma"]["qualities"].items():
        voltages = [0.97 * kvp, 1.08 * kvp]
        layers = [tube(SpectrumSettings(kvp=kv, filtration_mm_al=2.5 + added)).get_hvl1() for kv in voltages]
        adjusted = float(np.interp(layer, layers, voltages))
        found = photons_per_air_kerma(SpectrumSettings(kvp=adjusted, filtration_mm_al=2.5 + added))
        rows.append(
            [name, f"{layer} mm Al at {adjusted:.1f} kV", str(photons), f"{found:.0f}", percent(found, photons)]
        )
    heads = ["quality", "half-value layer set", "standard", "drrval", "difference"]
    default, per_kerma = DetectorSettings(), photons_per_air_kerma(SpectrumSettings())
    kerma = air_kerma_ugy(default, SpectrumSettings(), PIXEL_MM)
    return (
        f"Photons per mm2 and uGy of air kerma. Source: {PUBLISHED['photons_per_air_kerma']['source']}.\n\n"
        + table(heads, rows)
        + f"\n\nThe default tube gives {per_kerma:.0f} photons/(mm2 uGy). The default exposure, "
        f"{default.photons_per_pixel:.0e} photons per pixel of {PIXEL_MM:g} mm, is {kerma:.1f} uGy in the open beam."
    )


def _variances() -> str:
    energies, fluence = tube_spectrum(SpectrumSettings())
    photons, rows = 1e4, []
    for response in ("energy-integrating", "photon-counting"):
        for csi in (None, 150.0):
            for soft in (0.0, 10.0, 25.0):
                absorbed = photons * fluence * quantum_efficiency(csi, energies)
                passed = absorbed * np.exp(-mass_attenuation("soft_tissue", energies) * soft)
                each = signal_per_photon(response, energies)
                mean, variance = passed @ each / (absorbed @ each), passed @ each**2 / (absorbed @ each) ** 2
                image = expose(soft, response=response, csi_mg_cm2=csi, photons_per_pixel=photons)
                name = "ideal" if csi is None else f"CsI {csi:g} mg/cm2"
                ratios = [
                    f"{mean:.4f}",
                    f"{image.mean() / mean:.4f}",
                    f"{variance:.3e}",
                    f"{image.var() / variance:.4f}",
                ]
                rows.append([response, name, f"{soft:g}", *ratios])
    heads = ["response", "absorber", "soft tissue, g/cm2", "mean signal", "measured / expected", "variance"]
    error = 100 * np.sqrt(2 / N**2)
    return (
        f"Signal and quantum noise at 1e4 photons per pixel against the sums over the whole spectrum, {N} x {N} pixels "
        f"(the standard error of the measured variance is {error:.2f} %):\n\n"
        + table([*heads, "measured / expected"], rows)
    )


def _counts() -> str:
    rows = []
    for mean in (100.0, 300.0, 1000.0, 10000.0):
        spread = 12 * np.sqrt(mean)
        counts = np.arange(np.floor(mean - spread), mean + spread)
        # The z of which the rounded expansion is the largest that gives at most this count.
        z = 3 * (np.sqrt(mean - 2 / 3 * (mean - 1 / 6 - counts - 0.5)) - np.sqrt(mean))
        distance = np.abs(stats.norm.cdf(z) - stats.poisson.cdf(counts, mean)).max()
        rows.append([f"{mean:g}", f"{distance:.1e}"])
    return (
        "Largest difference between the distribution function of the counts drawn by the expansion and Poisson's "
        "(below a mean of 100 Poisson's own are drawn):\n\n" + table(["mean", "difference"], rows)
    )


def _measured_mtf() -> Array:
    """Contrast that gratings of every eighth frequency keep, NaN between."""
    kept = np.full(FREQUENCIES.size, np.nan)
    for k in range(8, FREQUENCIES.size, 8):
        wave = np.cos(2 * np.pi * k * (np.arange(N) + 0.5) / N).astype(np.float32)
        image = np.broadcast_to(1 + wave / 2, (8, N)).copy()
        blur_signal(image, DetectorSettings(mtf50_per_mm=MTF50), PIXEL_MM)
        blur_quanta(image, DetectorSettings(mtf50_per_mm=MTF50), PIXEL_MM)
        kept[k] = 2 * np.mean((image - 1) @ wave) / (wave @ wave)
    return kept


def _noise_power() -> Array:
    """Noise power along the rows over that of white noise of as many quanta, photon-counting receptor.

    Every row of frequencies counts, divided by what the blur across the rows leaves of it. Bins of 16 frequencies.
    """
    noise = expose(0.0, response="photon-counting", photons_per_pixel=1e4, mtf50_per_mm=MTF50) - 1.0
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size * 1e4
    across = folded_power(np.fft.fftfreq(N, PIXEL_MM))
    along = np.mean(power / across[:, None], axis=0)[: N // 2]
    return np.repeat(along.reshape(-1, 16).mean(axis=1), 16)


def presampling_mtf(frequencies: Array) -> Array:
    """MTF of the scintillator times the pixel aperture."""
    return np.asarray(scintillator_mtf(MTF50, frequencies) * np.sinc(PIXEL_MM * frequencies))


def folded_power(frequencies: Array) -> Array:
    """Presampling noise power and its aliases, relative to white noise."""
    copies = frequencies[:, None] + np.arange(-50, 51) / PIXEL_MM
    return np.asarray(np.sum(presampling_mtf(copies) ** 2, axis=1))


def _transfer(mtf: Array, power: Array) -> str:
    gratings = ~np.isnan(mtf)
    worst = np.abs(mtf - presampling_mtf(FREQUENCIES))[gratings].max()
    ratio = (power / folded_power(FREQUENCIES)).reshape(-1, 16).mean(axis=1)
    return table(
        ["", "measured"],
        [
            ["MTF of gratings, largest difference to T(f) A(f)", f"{worst:.1e}"],
            ["noise power over the folded spectrum, mean", f"{ratio.mean():.4f}"],
            ["the same, standard deviation of the bins", f"{ratio.std():.4f} (expected {1 / np.sqrt(16 * N):.4f})"],
        ],
    )


def draw(path: Path, mtf: Array, power: Array) -> None:
    """Stated and measured MTF, and noise power spectrum."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(FREQUENCIES, scintillator_mtf(MTF50, FREQUENCIES), "--", label=f"scintillator, 50 % at {MTF50}/mm")
        left.plot(FREQUENCIES, presampling_mtf(FREQUENCIES), label="with pixel aperture (presampling MTF)")
        left.plot(FREQUENCIES, mtf, "k.", markersize=3, label="measured with gratings")
        left.set(xlabel="cycles/mm", ylabel="MTF", ylim=(0, 1.05))
        right.plot(FREQUENCIES, power, color="0.6", label="measured")
        right.plot(FREQUENCIES, folded_power(FREQUENCIES), label="presampling, aliases folded in")
        right.plot(FREQUENCIES, presampling_mtf(FREQUENCIES) ** 2, "--", label="presampling")
        right.set(xlabel="cycles/mm", ylabel="noise power, white noise = 1", ylim=(0, 1.15))
        for axes in (left, right):
            axes.legend()
        figure.savefig(path, dpi=150)
