from dataclasses import replace

import numpy as np
import pytest
from conftest import numba_threads

from drrval.materials import MATERIALS
from drrval.physics.attenuation import mass_attenuation
from drrval.physics.receptor import quantum_efficiency, signal_per_photon
from drrval.physics.spectrum import tube_spectrum
from drrval.physics.transmission import beam_quadrature, transmission
from drrval.settings import DetectorSettings, SpectrumSettings

INTEGRATING, COUNTING = DetectorSettings(), DetectorSettings(response="photon-counting")
SCINTILLATOR = DetectorSettings(csi_mg_cm2=150)


def summed(wedge: dict[str, np.ndarray], spectrum: SpectrumSettings, detector: DetectorSettings) -> np.ndarray:
    """Signal and variance per photon, by direct summation over every energy bin of the spectrum, ``[2, step]``."""
    energies, fluence = tube_spectrum(spectrum)
    absorbed = fluence * quantum_efficiency(detector.csi_mg_cm2, energies)
    per_photon = signal_per_photon(detector.response, energies)
    lines = sum(np.outer(mass_attenuation(material, energies), steps) for material, steps in wedge.items())
    mean = absorbed @ per_photon
    passed = np.exp(-lines)
    return np.stack([(absorbed * per_photon / mean) @ passed, (absorbed * per_photon**2 / mean**2) @ passed])


def through(wedge: dict[str, np.ndarray], spectrum: SpectrumSettings, detector: DetectorSettings) -> np.ndarray:
    """The same by :func:`transmission`; water takes the place of soft tissue."""
    beam = beam_quadrature(spectrum, detector)
    places = ["water" if m == "soft_tissue" and "water" in wedge else m for m in MATERIALS]
    beam = replace(beam, attenuation=np.stack([mass_attenuation(m, beam.energies_kev) for m in places], axis=1))
    steps = len(next(iter(wedge.values())))
    area = np.stack([wedge.get(place, np.zeros(steps)) for place in places]).astype(np.float32)
    return np.stack(transmission(area[:, None], beam))[:, 0]


@pytest.mark.parametrize("kvp", [60.0, 90.0, 120.0])
@pytest.mark.parametrize("detector", [INTEGRATING, COUNTING, SCINTILLATOR])
@pytest.mark.parametrize(
    "wedge",
    [
        {"water": np.linspace(0.0, 50.0, 101)},
        {"bone": np.linspace(0.0, 20.0, 101)},
        {
            "air": np.array([0.3, 1.7, 3.1]),
            "soft_tissue": np.array([2.3, 17.9, 41.3]),
            "bone": np.array([0.4, 5.1, 8.7]),
        },
    ],
    ids=["water", "bone", "chest"],
)
def test_step_wedge_equals_the_full_sum(kvp: float, detector: DetectorSettings, wedge: dict[str, np.ndarray]) -> None:
    spectrum = SpectrumSettings(kvp=kvp)
    direct = summed(wedge, spectrum, detector)
    seen = direct[0] > 1e-5
    assert seen.mean() > 0.6
    assert through(wedge, spectrum, detector)[:, seen] == pytest.approx(direct[:, seen], rel=1e-4)


@pytest.mark.parametrize("detector", [INTEGRATING, COUNTING, SCINTILLATOR])
@pytest.mark.parametrize("spectrum", [SpectrumSettings(), SpectrumSettings(kvp=40, filtration_mm_al=0.5)])
def test_few_energies_stand_for_all_with_the_error_stated(
    spectrum: SpectrumSettings, detector: DetectorSettings
) -> None:
    beam = beam_quadrature(spectrum, detector)
    assert len(beam.weights) <= 24
    assert beam.max_relative_error <= 5e-5
    assert (beam.weights >= 0).all()
    assert (beam.variance_weights >= 0).all()
    assert beam.weights.sum() == pytest.approx(1.0)


def test_ideal_counter_has_the_variance_of_poisson_statistics() -> None:
    wedge = {"water": np.linspace(0.0, 40.0, 9)}
    signal, variance = through(wedge, SpectrumSettings(), COUNTING)
    assert variance == pytest.approx(signal, rel=1e-4)


def test_opaque_rays_leave_a_signal_above_zero() -> None:
    signal, variance = through({"bone": np.array([500.0, 1e6])}, SpectrumSettings(), INTEGRATING)
    assert (signal > 0).all()
    assert (signal < 1e-12).all()
    assert np.isfinite(variance / signal).all()


def test_threads_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(0)
    area = np.stack([rng.uniform(0, top, (37, 53)) for top in (4, 40, 8)]).astype(np.float32)
    beam = beam_quadrature(SpectrumSettings(), INTEGRATING)
    images = []
    for threads in (1, 2):
        with numba_threads(threads):
            images.append(np.stack(transmission(area, beam)))
    assert np.array_equal(images[0], images[1])
    # Nor do a pixel's neighbours.
    assert np.array_equal(np.stack(transmission(area[:, :5, 7:16], beam)), images[0][:, :5, 7:16])
