import numpy as np
import pytest
from published import PUBLISHED
from scipy.interpolate import CubicSpline

from drrval.physics.exposure import air_kerma_ugy, photons_per_pixel
from drrval.physics.spectrum import photons_per_air_kerma, tube, tube_spectrum
from drrval.settings import DetectorSettings, SpectrumSettings

MEASURED = PUBLISHED["measured_half_value_layers"]
STANDARD = PUBLISHED["standard_qualities"]["qualities"]
INCOMING = PUBLISHED["photons_per_air_kerma"]["qualities"]


@pytest.mark.parametrize(("kvp", "filtration", "kev"), PUBLISHED["mean_energy"]["beams"])
def test_mean_energy_is_that_of_an_independent_spectrum(kvp: float, filtration: float, kev: float) -> None:
    energies, fluence = tube_spectrum(SpectrumSettings(kvp=kvp, filtration_mm_al=filtration))
    assert fluence.sum() == pytest.approx(1.0)
    assert energies @ fluence == pytest.approx(kev, rel=0.015)
    assert energies.max() < kvp


@pytest.mark.parametrize("quality", MEASURED["qualities"])
def test_half_value_layers_are_those_measured(quality: str) -> None:
    kvp, filtration, first, second = MEASURED["qualities"][quality]
    settings = SpectrumSettings(kvp=kvp, filtration_mm_al=filtration, anode_angle_deg=MEASURED["anode_angle_deg"])
    beam = tube(settings).multi_filter(list(MEASURED["filters"].items()))
    assert beam.get_hvl1() == pytest.approx(first, rel=0.02)
    assert beam.get_hvl2() == pytest.approx(second, rel=0.02)


@pytest.mark.parametrize("number", ["5", "9"])
def test_standard_qualities_follow_from_their_definition(number: str) -> None:
    quality = STANDARD[number]
    bare = tube(SpectrumSettings(kvp=quality["kvp"], filtration_mm_al=0.5))
    beam = bare.filter("Al", bare.get_matl(matl="Al", hvl=quality["rqr_hvl"]))
    assert beam.get_hvl1() == pytest.approx(quality["rqr_hvl"], rel=1e-3)
    assert beam.get_hc() == pytest.approx(quality["rqr_homogeneity"], abs=0.01)
    assert beam.filter("Al", quality["added_al"]).get_hvl1() == pytest.approx(quality["rqa_hvl"], rel=0.02)


@pytest.mark.parametrize("name", ["RQA 5", "RQA 9"])
def test_photons_per_air_kerma_are_those_of_the_standard(name: str) -> None:
    kvp, added, half_value_layer, photons = INCOMING[name]

    def quality(kv: float) -> SpectrumSettings:
        return SpectrumSettings(kvp=kv, filtration_mm_al=2.5 + added)

    voltages = [kvp, 1.1 * kvp]
    adjusted = np.interp(half_value_layer, [tube(quality(kv)).get_hvl1() for kv in voltages], voltages)
    assert photons_per_air_kerma(quality(float(adjusted))) == pytest.approx(photons, rel=0.01)


def test_exposure_converts_both_ways() -> None:
    spectrum, pixel_mm = SpectrumSettings(), 0.42
    by_kerma = DetectorSettings(air_kerma_ugy=5.0)
    photons = photons_per_pixel(by_kerma, spectrum, pixel_mm)
    assert photons == pytest.approx(5.0 * 0.42**2 * photons_per_air_kerma(spectrum))
    assert air_kerma_ugy(by_kerma, spectrum, pixel_mm) == pytest.approx(5.0)
    by_photons = DetectorSettings(photons_per_pixel=photons)
    assert air_kerma_ugy(by_photons, spectrum, pixel_mm) == pytest.approx(5.0)
    assert photons_per_pixel(by_photons, spectrum, 0.1) == photons


def test_air_kerma_of_the_spectrum_follows_from_nist_coefficients() -> None:
    # (mu_en/rho) of dry air, cm2/g: NISTIR 5632, Table 4. 1 keV/g is 1.602e-13 Gy.
    energies, fluence = tube_spectrum(SpectrumSettings())
    kev = [10, 15, 20, 30, 40, 50, 60, 80, 100, 150]
    nist = [4.742, 1.334, 0.5389, 0.1537, 0.06833, 0.04098, 0.03041, 0.02407, 0.02325, 0.02496]
    absorption = np.exp(CubicSpline(np.log(kev), np.log(nist))(np.log(energies)))
    micrograys_per_photon_mm2 = 100.0 * (fluence * energies) @ absorption * 1.602e-13 * 1e6
    assert photons_per_air_kerma(SpectrumSettings()) == pytest.approx(1.0 / micrograys_per_photon_mm2, rel=0.01)
