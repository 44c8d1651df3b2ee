"""Tube spectrum, attenuation coefficients and polychromatic transmission against published values and full sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import spekpy
import yaml
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator

from drrval.materials import MATERIALS
from drrval.physics.attenuation import attenuation_matrix, mass_attenuation
from drrval.physics.receptor import signal_per_photon
from drrval.physics.spectrum import tube, tube_spectrum
from drrval.physics.transmission import beam_quadrature, transmission
from drrval.settings import DetectorSettings, SpectrumSettings
from validation.markdown import table

Array = npt.NDArray[np.float64]
PUBLISHED: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
WEDGES = {"water": np.linspace(0.0, 50.0, 101), "bone": np.linspace(0.0, 20.0, 101)}  # g/cm2
VOLTAGES = (60.0, 90.0, 120.0)
FINE_KEV = 0.05  # bins of the spectrum that stands for the integral
LEAST = 1e-5  # of the signal: what is fainter is not compared


def report(folder: Path) -> str:
    """Measure, draw ``spectrum.png`` into ``folder`` and return the section's Markdown."""
    draw(folder / "spectrum.png")
    return "\n\n".join(
        [
            _mean_energies(),
            _measured_half_value_layers(),
            _standard_qualities(),
            _attenuation(),
            "![Spectra, and mass attenuation against NIST](images/validation/spectrum.png)",
            _wedges(),
            _cost(),
        ]
    )


def percent(measured: float, published: float) -> str:
    """Relative difference with its sign."""
    return f"{100 * (measured / published - 1):+.1f} %"


def _mean_energies() -> str:
    rows = []
    for kvp, filtration, kev in PUBLISHED["mean_energy"]["beams"]:
        mean = tube(SpectrumSettings(kvp=kvp, filtration_mm_al=filtration)).get_emean()
        rows.append([f"{kvp} kV, {filtration} mm Al", f"{kev:.2f}", f"{mean:.2f}", percent(mean, kev), "MC-GPU"])
    for name, quality in PUBLISHED["narrow_series"]["qualities"].items():
        beam = tube(SpectrumSettings(kvp=quality["kvp"], filtration_mm_al=0.5))
        filters = {**quality["filters"], "Al": quality["filters"]["Al"] - 0.5}
        mean, kev = beam.multi_filter(list(filters.items())).get_emean(), quality["mean_kev"]
        rows.append([name, f"{kev}", f"{mean:.2f}", percent(mean, kev), "ISO 4037-1"])
    sources = f"{PUBLISHED['mean_energy']['source']}; {PUBLISHED['narrow_series']['source']}."
    heads = ["beam", "published, keV", "drrval, keV", "difference", "source"]
    return f"Mean photon energy. Sources: {sources}\n\n" + table(heads, rows)


def _measured_half_value_layers() -> str:
    published, rows = PUBLISHED["measured_half_value_layers"], []
    for name, (kvp, filtration, first, second) in published["qualities"].items():
        settings = SpectrumSettings(kvp=kvp, filtration_mm_al=filtration, anode_angle_deg=published["anode_angle_deg"])
        beam = tube(settings).multi_filter(list(published["filters"].items()))
        one, two = beam.get_hvl1(), beam.get_hvl2()
        cells = [f"{first:.2f}", f"{one:.2f}", percent(one, first), f"{second:.2f}", f"{two:.2f}", percent(two, second)]
        rows.append([f"{name}, {kvp} kV, {filtration} mm Al", *cells])
    heads = ["quality", "first, measured", "drrval", "difference", "second, measured", "drrval", "difference"]
    return f"Half-value layers, mm Al, nothing fitted. Source: {published['source']}.\n\n" + table(heads, rows)


def _standard_qualities() -> str:
    published, rows = PUBLISHED["standard_qualities"], []
    for number, quality in published["qualities"].items():
        bare = tube(SpectrumSettings(kvp=quality["kvp"], filtration_mm_al=0.5))
        added = bare.get_matl(matl="Al", hvl=quality["rqr_hvl"])
        homogeneity = bare.filter("Al", added).get_hc()
        layer = bare.filter("Al", quality["added_al"]).get_hvl1()
        rows.append(
            [
                f"RQR/RQA {number}, {quality['kvp']} kV",
                f"{quality['rqr_hvl']:.2f} ({0.5 + added:.2f} mm Al)",
                f"{quality['rqr_homogeneity']:.2f}",
                f"{homogeneity:.3f}",
                f"{quality['rqa_hvl']:.1f}",
                f"{layer:.2f}",
                percent(layer, quality["rqa_hvl"]),
            ]
        )
    heads = [
        "quality",
        "RQR, first layer set",
        "homogeneity, standard",
        "drrval",
        "RQA, standard",
        "drrval",
        "difference",
    ]
    return f"Standard radiation qualities by their definition. Source: {published['source']}.\n\n" + table(heads, rows)


def nist(material: str, energies: Array) -> Array:
    """NIST's table between its points, in logarithms, cm2/g."""
    published = PUBLISHED["mass_attenuation"]
    known = np.log(published["energies_kev"]), np.log(published["materials"][material])
    return np.asarray(np.exp(PchipInterpolator(*known)(np.log(energies))))


def _attenuation() -> str:
    published, rows = PUBLISHED["mass_attenuation"], []
    between = np.arange(20.0, 121.0)
    for material, values in published["materials"].items():
        at = mass_attenuation(material, published["energies_kev"]) / np.array(values) - 1
        along = mass_attenuation(material, between) / nist(material, between) - 1
        rows.append(
            [material.replace("_", " "), f"{100 * np.abs(at).max():.2f} %", f"{100 * np.abs(along).max():.2f} %"]
        )
    heads = ["material", "at the tabulated energies, 20-150 keV", "every keV, 20-120 keV (NIST interpolated)"]
    return f"Largest difference of mu/rho. Source: {published['source']}.\n\n" + table(heads, rows)


def full_sum(energies: Array, fluence: Array, material: str, response: str) -> Array:
    """Signal behind the wedge of a material, summed over every energy."""
    weights = fluence * signal_per_photon(response, energies)
    passed = np.exp(-np.outer(WEDGES[material], mass_attenuation(material, energies)))
    return np.asarray(passed @ weights / weights.sum())


def few_energies(material: str, settings: SpectrumSettings, response: str) -> tuple[int, float, Array]:
    """Number of energies, their stated error, and the signal behind the wedge as an image gets it."""
    beam = beam_quadrature(settings, DetectorSettings(response=response))
    seen = replace(beam, attenuation=np.stack([mass_attenuation(material, beam.energies_kev)] * len(MATERIALS), axis=1))
    area = np.zeros((len(MATERIALS), 1, WEDGES[material].size), np.float32)
    area[-1, 0] = WEDGES[material]
    return len(beam.weights), beam.max_relative_error, transmission(area, seen)[0][0].astype(float)


def _wedges() -> str:
    rows = []
    for kvp in VOLTAGES:
        settings = SpectrumSettings(kvp=kvp)
        fine = spekpy.Spek(kvp=kvp, th=settings.anode_angle_deg, dk=FINE_KEV).filter("Al", settings.filtration_mm_al)
        energies, fluence = fine.get_spectrum(edges=False)
        for response in ("energy-integrating", "photon-counting"):
            for material, steps in WEDGES.items():
                n, stated, found = few_energies(material, settings, response)
                bins = full_sum(*tube_spectrum(settings), material, response)
                integral = full_sum(energies, fluence, material, response)
                kept = bins > LEAST
                errors = [np.abs(found / truth - 1)[kept].max() for truth in (bins, integral)]
                row = [f"{kvp:g} kV", response, f"{material}, 0-{steps[kept][-1]:.0f} g/cm2", str(n), f"{stated:.1e}"]
                rows.append([*row, *(f"{error:.1e}" for error in errors)])
    heads = ["tube", "response", "step wedge", "energies", "stated error", "against bins", f"against {FINE_KEV} keV"]
    return (
        "Largest relative error of the transmitted signal, down to 1e-5 of it: against the sum over all bins of "
        f"0.25 keV, and against one over bins of {FINE_KEV} keV (which adds the error of the bins):\n\n"
        + table(heads, rows)
    )


def _cost() -> str:
    rng = np.random.default_rng(0)
    area = np.stack([rng.uniform(0, top, (1024, 1024)) for top in (3.0, 35.0, 6.0)]).astype(np.float32)
    beam = beam_quadrature(SpectrumSettings(), DetectorSettings())
    energies, fluence = tube_spectrum(SpectrumSettings())
    attenuation = attenuation_matrix(energies).astype(np.float32)

    def every_bin() -> None:
        total = np.zeros(area.shape[1:], np.float32)
        for share, mu in zip(fluence.astype(np.float32), attenuation, strict=True):
            total += share * np.exp(-np.tensordot(mu, area, axes=1))

    rows = [
        [
            f"kernel, {len(beam.weights)} energies, signal and variance",
            f"{1e3 * seconds(lambda: transmission(area, beam), 9):.0f}",
        ],
        [f"NumPy, all {len(energies)} bins, signal alone", f"{1e3 * seconds(every_bin, 1):.0f}"],
    ]
    return "Time for 1024 x 1024 pixels, ms, on the machine that made this page:\n\n" + table(["", "ms"], rows)


def seconds(call: Any, repeats: int) -> float:
    """Median time of a call after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return median(times)


def draw(path: Path) -> None:
    """Spectra of the three beams, and the difference of mass attenuation to NIST's table."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        spectra, differences = figure.subplots(1, 2)
        for kvp in VOLTAGES:
            energies, fluence = tube_spectrum(SpectrumSettings(kvp=kvp))
            width = np.diff(energies).min()
            spectra.plot(energies, fluence / width, label=f"{kvp:g} kV, mean {energies @ fluence:.1f} keV")
        spectra.set(
            xlabel="photon energy, keV",
            ylabel="share of photons per keV",
            title="4.3 mm Al (lines cut off)",
            ylim=(0, 0.06),
        )
        spectra.legend(loc="upper right")
        energies = np.arange(20.0, 121.0)
        for material in PUBLISHED["mass_attenuation"]["materials"]:
            change = 100 * (mass_attenuation(material, energies) / nist(material, energies) - 1)
            differences.plot(energies, change, label=material.replace("_", " "))
        differences.set(xlabel="photon energy, keV", ylabel="mu/rho, difference to NIST, %", ylim=(-3, 3))
        differences.legend()
        figure.savefig(path, dpi=150)
