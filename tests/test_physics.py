import numpy as np
import pytest

from drrval.geometry import view_geometry
from drrval.physics.attenuation import compositions, mass_attenuation
from drrval.physics.detector import detect, fixed_window
from drrval.physics.scatter import scatter_signal
from drrval.physics.spectrum import beam_quadrature, transmission, tube_spectrum
from drrval.settings import DetectorSettings, ScatterSettings, SpectrumSettings

GEOMETRY = view_geometry("PA", rows=64, columns=64)
FIELD = np.ones((64, 64), bool)
NO_SCATTER = ScatterSettings(model="none")


@pytest.mark.parametrize(
    ("material", "values"),
    [
        # NISTIR 5632 (Hubbell & Seltzer), mu/rho in cm2/g at 20, 40, 60, 80, 100 keV.
        ("air", (0.7779, 0.2485, 0.1875, 0.1662, 0.1541)),
        ("soft_tissue", (0.8230, 0.2688, 0.2048, 0.1823, 0.1693)),
        ("bone", (4.001, 0.6655, 0.3148, 0.2229, 0.1855)),
    ],
)
def test_mass_attenuation_follows_nist(material: str, values: tuple[float, ...]) -> None:
    assert mass_attenuation(material, [20, 40, 60, 80, 100]) == pytest.approx(np.array(values), rel=0.01)


def test_compositions_sum_to_one() -> None:
    assert {m: pytest.approx(1.0, abs=1e-3) for m in compositions()} == {
        m: sum(c.values()) for m, c in compositions().items()
    }


def test_mean_energy_matches_an_independent_spectrum() -> None:
    # DeepDRR's 120KV_AL43 (from MC-GPU) has a mean energy of 58.2 keV.
    energies, fluence = tube_spectrum(SpectrumSettings())
    assert energies @ fluence == pytest.approx(58.2, rel=0.02)
    assert energies.max() < 120


@pytest.mark.parametrize("kvp", [60.0, 90.0, 120.0])
@pytest.mark.parametrize("energy_weighted", [True, False])
def test_quadrature_equals_the_full_spectrum(kvp: float, energy_weighted: bool) -> None:
    settings = SpectrumSettings(kvp=kvp)
    beam = beam_quadrature(settings, energy_weighted)
    assert len(beam.weights) <= 16
    assert beam.max_relative_error < 1e-4
    # A step wedge off the fitted points, against direct summation over every energy bin.
    energies, fluence = tube_spectrum(settings)
    signal = fluence * energies if energy_weighted else fluence
    wedge = np.array([[0.3, 1.7, 3.1], [2.3, 17.9, 41.3], [0.4, 5.1, 11.7]], np.float32)[:, None]
    lines = sum(
        mass_attenuation(m, energies)[:, None] * wedge[i, 0] for i, m in enumerate(("air", "soft_tissue", "bone"))
    )
    direct = (signal / signal.sum()) @ np.exp(-lines)
    assert transmission(wedge, beam)[0] == pytest.approx(direct, rel=1e-4)


def flat(soft: float) -> np.ndarray:
    return np.stack([np.full((64, 64), v, np.float32) for v in (0.0, soft, 0.0)])


def expose(soft: float, **detector: object) -> np.ndarray:
    return detect(
        flat(soft),
        FIELD,
        GEOMETRY,
        spectrum=SpectrumSettings(),
        scatter=NO_SCATTER,
        detector=DetectorSettings(**detector),  # type: ignore[arg-type]
        rng=np.random.default_rng(3),
    ).astype(float)


def test_unattenuated_beam_has_signal_one_and_the_stated_photon_count() -> None:
    signal = expose(0.0, response="photon-counting", photons_per_pixel=1e4)
    assert signal.mean() == pytest.approx(1.0, abs=1e-3)
    # Counting 4096 pixels, the variance is known to 2.2 %; allow 4 standard errors.
    assert signal.var() == pytest.approx(1e-4, rel=0.09)


def test_energy_integrating_noise_is_compound_poisson() -> None:
    energies, fluence = tube_spectrum(SpectrumSettings())
    soft = 10.0
    passed = fluence * np.exp(-mass_attenuation("soft_tissue", energies) * soft)
    photons = 1e4
    mean = photons * (passed @ energies)
    variance = photons * (passed @ energies**2)
    unattenuated = photons * (fluence @ energies)
    signal = expose(soft, photons_per_pixel=photons)
    assert signal.mean() == pytest.approx(mean / unattenuated, rel=5e-3)
    assert signal.var() == pytest.approx(variance / unattenuated**2, rel=0.09)


def test_noise_follows_the_seed_and_can_be_off() -> None:
    assert np.array_equal(expose(5.0), expose(5.0))
    assert expose(5.0, noise=False).std() == 0.0


def test_electronic_noise_adds_its_variance() -> None:
    plain, noisy = expose(5.0), expose(5.0, electronic_noise_photons=1000.0)
    assert noisy.var() - plain.var() == pytest.approx((1000 / 1e5) ** 2, rel=0.1)


def test_blur_keeps_the_mean_of_an_edge_and_spreads_it() -> None:
    area = flat(0.0)
    area[1, :, 32:] = 30.0
    sharp, blurred = (
        detect(
            area,
            FIELD,
            GEOMETRY,
            spectrum=SpectrumSettings(),
            scatter=NO_SCATTER,
            detector=d,
            rng=np.random.default_rng(0),
        )
        for d in (DetectorSettings(noise=False), DetectorSettings(noise=False, blur_sigma_mm=1.0))
    )
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=1e-4)
    assert np.abs(np.diff(blurred[32])).max() < 0.3 * np.abs(np.diff(sharp[32])).max()


def test_scatter_is_broad_positive_and_reduced_by_a_grid() -> None:
    primary = np.full((256, 256), 0.13)
    field = np.ones(primary.shape, bool)
    primary[:, 100:156] = 0.012  # a mediastinum between lungs
    settings = ScatterSettings()
    bare = scatter_signal(primary, field, 1.68, settings, anti_scatter_grid=False)
    with_grid = scatter_signal(primary, field, 1.68, settings, anti_scatter_grid=True)
    assert with_grid == pytest.approx(bare / settings.grid_selectivity)
    assert (bare > 0).all()
    assert bare.max() / bare.min() < 3 < primary.max() / primary.min()
    # Niklason et al. 1981 (doi:10.1118/1.595027): in the mediastinum about 90 % of the radiation is scatter without a
    # grid, and with a 12:1 grid still more than half.
    behind_mediastinum = np.s_[:, 120:136]
    assert 0.8 < (bare / (bare + primary))[behind_mediastinum].mean() < 0.95
    assert 0.5 < (with_grid / (with_grid + primary))[behind_mediastinum].mean() < 0.75
    assert (scatter_signal(primary, field, 1.68, NO_SCATTER, anti_scatter_grid=False) == 0).all()


def test_collimated_field_is_open_beam_outside_and_keeps_its_scatter_inside() -> None:
    field = np.zeros((64, 64), bool)
    field[16:48] = True
    whole, cut = (
        detect(
            flat(20.0) * mask,
            mask,
            GEOMETRY,
            spectrum=SpectrumSettings(),
            scatter=ScatterSettings(),
            detector=DetectorSettings(noise=False),
            rng=np.random.default_rng(0),
        )
        for mask in (FIELD, field)
    )
    assert (cut[~field] == 1.0).all()
    assert cut[field] == pytest.approx(whole[field], rel=0.02)


def test_fixed_window_brackets_the_two_thicknesses() -> None:
    settings = {"spectrum": SpectrumSettings(), "scatter": NO_SCATTER, "detector": DetectorSettings(noise=False)}
    black, white = fixed_window(GEOMETRY, **settings)  # type: ignore[arg-type]
    for soft, value in zip(GEOMETRY.display_g_cm2, (black, white), strict=True):
        signal = detect(flat(soft), FIELD, GEOMETRY, rng=np.random.default_rng(0), **settings)  # type: ignore[arg-type]
        assert -np.log(signal.mean()) == pytest.approx(value, rel=1e-4)
