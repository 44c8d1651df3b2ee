from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from scipy.special import erf

from drrval.errors import DrrvalError
from drrval.geometry import view_geometry
from drrval.physics.attenuation import mass_attenuation
from drrval.physics.detector import detect, fixed_window
from drrval.physics.exposure import photons_per_pixel
from drrval.physics.noise import poisson_counts
from drrval.physics.receptor import blur_quanta, blur_signal, quantum_efficiency, scintillator_mtf
from drrval.physics.scatter import dense_scatter
from drrval.physics.spectrum import photons_per_air_kerma, tube_spectrum
from drrval.settings import DetectorSettings, ScatterSettings, SpectrumSettings

N = 128
GEOMETRY = view_geometry("PA", rows=N, columns=N)
PIXEL = GEOMETRY.pixel_mm
FIELD = np.ones((N, N), bool)
BEAM = {"spectrum": SpectrumSettings(), "scatter": ScatterSettings(model="none")}
# The variance of n independent pixels is known to sqrt(2 / n); five standard errors.
VARIANCE_ERROR = 5 * np.sqrt(2 / N**2)


def flat(soft: float) -> np.ndarray:
    return np.stack([np.full((N, N), v, np.float32) for v in (0.0, soft, 0.0)])


def expose(area: np.ndarray, field: np.ndarray = FIELD, seed: int = 3, **detector: Any) -> np.ndarray:
    settings = DetectorSettings(**detector)
    signal = detect(area, field, GEOMETRY, detector=settings, rng=np.random.default_rng(seed), **BEAM)  # type: ignore[arg-type]
    assert signal.dtype == np.float32
    return signal.astype(float)


def test_unattenuated_beam_has_signal_one_and_the_stated_photon_count() -> None:
    signal = expose(flat(0.0), response="photon-counting", photons_per_pixel=1e4)
    assert signal.mean() == pytest.approx(1.0, abs=5e-2 / N)
    assert signal.var() == pytest.approx(1e-4, rel=VARIANCE_ERROR)


def test_air_kerma_sets_the_photon_count() -> None:
    signal = expose(flat(0.0), response="photon-counting", air_kerma_ugy=0.5)
    photons = 0.5 * PIXEL**2 * photons_per_air_kerma(SpectrumSettings())
    assert signal.var() == pytest.approx(1 / photons, rel=VARIANCE_ERROR)


@pytest.mark.parametrize("csi", [None, 120.0])
@pytest.mark.parametrize("response", ["energy-integrating", "photon-counting"])
def test_noise_is_compound_poisson(response: str, csi: float | None) -> None:
    photons, soft = 1e4, 10.0
    energies, fluence = tube_spectrum(SpectrumSettings())
    absorbed = photons * fluence * quantum_efficiency(csi, energies)
    passed = absorbed * np.exp(-mass_attenuation("soft_tissue", energies) * soft)
    per_photon = energies if response == "energy-integrating" else np.ones_like(energies)
    unattenuated = absorbed @ per_photon
    signal = expose(flat(soft), response=response, csi_mg_cm2=csi, photons_per_pixel=photons)
    assert signal.mean() == pytest.approx(passed @ per_photon / unattenuated, rel=2e-3)
    assert signal.var() == pytest.approx(passed @ per_photon**2 / unattenuated**2, rel=VARIANCE_ERROR)


def test_noise_follows_the_seed_and_can_be_off() -> None:
    area = flat(5.0)
    assert np.array_equal(expose(area), expose(area))
    assert not np.array_equal(expose(area), expose(area, seed=4))
    assert expose(area, noise=False, electronic_noise_photons=1000.0).std() == 0.0


def test_electronic_noise_adds_its_variance_and_is_not_blurred() -> None:
    quiet = {"photons_per_pixel": 1e6, "mtf50_per_mm": 0.5}
    noise = expose(flat(0.0), electronic_noise_photons=1e4, **quiet) - expose(flat(0.0), **quiet)
    assert noise.var() == pytest.approx((1e4 / 1e6) ** 2, rel=VARIANCE_ERROR)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) == pytest.approx(0.0, abs=5 / N * noise.var())


@pytest.mark.parametrize("mean", [0.0, 0.7, 30.0, 99.0, 150.0, 4000.0])
def test_counts_have_the_poisson_distribution(mean: float) -> None:
    counts = poisson_counts(np.full(200_000, mean, np.float32), np.random.default_rng(1))
    assert np.array_equal(counts, np.rint(counts))
    levels = np.unique(counts)
    empirical = np.searchsorted(np.sort(counts), levels, side="right") / counts.size
    # Kolmogorov's distance of so many exact draws stays below this in 99.9 % of cases.
    assert np.abs(empirical - stats.poisson.cdf(levels, mean)).max() < 1.95 / np.sqrt(counts.size)


def sinusoid(cycles: int, axis: int) -> np.ndarray:
    """An image with ``cycles`` / 2 periods along an axis that goes on when mirrored at its edges."""
    wave = np.cos(np.pi * cycles * (np.arange(N) + 0.5) / N)
    return (1.0 + 0.5 * (wave[:, None] if axis == 0 else wave[None, :]) * np.ones((N, N))).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("cycles", [1, 40, 100])
def test_mean_image_has_the_stated_mtf_times_the_pixel_aperture(cycles: int, axis: int) -> None:
    detector = DetectorSettings(mtf50_per_mm=1.2)
    image = sinusoid(cycles, axis)
    blur_signal(image, detector, PIXEL)
    blur_quanta(image, detector, PIXEL)
    frequency = cycles / (2 * N * PIXEL)
    expected = 0.5 ** ((frequency / 1.2) ** 2) * np.sin(np.pi * PIXEL * frequency) / (np.pi * PIXEL * frequency)
    before = sinusoid(cycles, axis) - 1.0
    assert (image - 1.0).ravel() @ before.ravel() / (before.ravel() @ before.ravel()) == pytest.approx(
        expected, rel=1e-4
    )
    assert image.mean() == pytest.approx(1.0, rel=1e-5)


def test_mtf_is_one_half_where_stated() -> None:
    assert scintillator_mtf(1.2, [0.0, 1.2, 2.4]) == pytest.approx([1.0, 0.5, 0.0625])


@pytest.mark.parametrize("mtf50", [0.6, 1.2, 5.0])
def test_light_of_each_quantum_spreads_over_the_pixels(mtf50: float) -> None:
    """Covariance of the noise of neighbouring pixels, from where in space the light of a quantum falls.

    A quantum absorbed at x gives the pixel at 0 the share h(x) of a Gaussian that lies within it; Campbell's theorem
    makes the covariance of two pixels the integral of h(x) h(x + lag) over all places.
    """
    photons = 1e4
    sigma = np.sqrt(np.log(2) / 2) / (np.pi * mtf50) / PIXEL  # pixels
    x = np.arange(-20, 20, 1e-3)

    def share(at: np.ndarray) -> np.ndarray:
        return (erf((at + 0.5) / (np.sqrt(2) * sigma)) - erf((at - 0.5) / (np.sqrt(2) * sigma))) / 2

    along = [float(np.sum(share(x) * share(x + lag)) * 1e-3) for lag in (0, 1, 2)]
    noise = expose(flat(0.0), response="photon-counting", photons_per_pixel=photons, mtf50_per_mm=mtf50) - 1.0

    def measured(rows: int, columns: int) -> float:
        return float(np.mean(noise[: N - rows, : N - columns] * noise[rows:, columns:]))

    variance = along[0] ** 2 / photons
    # Correlated pixels count for fewer: as many as the noise has independent cells.
    error = 5 * np.sqrt(2) / N / along[0]
    assert measured(0, 0) == pytest.approx(variance, rel=error)
    for rows, columns in ((0, 1), (1, 0), (1, 1), (0, 2)):
        expected = along[rows] * along[columns] / photons
        assert measured(rows, columns) == pytest.approx(expected, abs=error * variance)


def test_nothing_from_outside_the_field_is_blurred_into_it() -> None:
    field = np.zeros((N, N), bool)
    field[30:90, 20:100] = True
    area = flat(25.0)
    cut = expose(area * field, field, noise=False, mtf50_per_mm=1.0)
    assert (cut[~field] == 1.0).all()
    assert cut[field] == pytest.approx(expose(area, noise=False)[field], rel=1e-4)
    assert (expose(area, np.zeros_like(field)) == 1.0).all()
    oblique = np.add.outer(np.arange(N), np.arange(N)) < N
    cut = expose(area * oblique, oblique, noise=False, mtf50_per_mm=1.0)
    assert cut[oblique].max() < 1.05 * cut[10, 10]


def test_quantum_efficiency_is_the_share_absorbed() -> None:
    # mu/rho of CsI: 22.97 cm2/g at 40 keV and 7.921 at 60 keV (NISTIR 5632, Table 4).
    assert quantum_efficiency(100.0, [40.0, 60.0]) == pytest.approx(1 - np.exp([-2.297, -0.7921]), rel=0.01)
    assert quantum_efficiency(None, [40.0, 60.0]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_open_beam_is_shown_as_black(view: str) -> None:
    black, white = fixed_window(
        view_geometry(view), spectrum=SpectrumSettings(), scatter=ScatterSettings(), detector=DetectorSettings()
    )
    assert 0 <= 255 * (0.0 - black) / (white - black) < 3


@pytest.mark.parametrize("model", ["fitted", "none"])
def test_fixed_window_shows_the_dense_chest_at_three_quarters(model: str) -> None:
    beam = {"spectrum": SpectrumSettings(), "scatter": ScatterSettings(model=model)}  # type: ignore[arg-type]
    black, white = fixed_window(GEOMETRY, detector=DetectorSettings(), **beam)  # type: ignore[arg-type]
    scattered = dense_scatter(GEOMETRY, **beam)  # type: ignore[arg-type]
    energies, fluence = tube_spectrum(SpectrumSettings())
    weights = energies * fluence / (energies @ fluence)
    first, second = GEOMETRY.display_g_cm2
    for share in (0.0, 0.75):
        soft = first + share * (second - first)
        signal = weights @ np.exp(-mass_attenuation("soft_tissue", energies) * soft) + scattered
        assert (-np.log(signal) - black) / (white - black) == pytest.approx(share, abs=1e-4)


def test_exposure_is_stated_exactly_once() -> None:
    assert DetectorSettings().photons_per_pixel == 1e5
    by_kerma = DetectorSettings(air_kerma_ugy=2.5)
    assert by_kerma.photons_per_pixel is None
    assert DetectorSettings(**by_kerma.model_dump()) == by_kerma
    with pytest.raises(ValidationError, match="Give exactly one of them"):
        DetectorSettings(air_kerma_ugy=2.5, photons_per_pixel=1e4)
    with pytest.raises(ValidationError, match="twice or not at all"):
        DetectorSettings(photons_per_pixel=None)
    unchecked = DetectorSettings().model_copy(update={"photons_per_pixel": None})
    with pytest.raises(DrrvalError, match="neither photons_per_pixel nor air_kerma_ugy"):
        photons_per_pixel(unchecked, SpectrumSettings(), 0.42)
