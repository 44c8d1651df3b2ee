import numpy as np
import pytest
import xraydb
from conftest import numba_threads
from numba import njit
from scipy import stats

from drrval.errors import DrrvalError, GeometryError
from drrval.geometry import Geometry, view_geometry
from drrval.materials import density_model
from drrval.physics.attenuation import attenuation_matrix, compositions, mass_attenuation
from drrval.physics.montecarlo import AntiScatterGrid, Scene, Simulation, scene_of, simulate
from drrval.physics.montecarlo.anti_scatter_grid import transmission as through_grid
from drrval.physics.montecarlo.cross_sections import (
    KEV_ANGSTROM,
    MOMENTUM_STEP,
    interaction_tables,
    partial_coefficients,
)
from drrval.physics.montecarlo.random_stream import start_stream, uniform
from drrval.physics.montecarlo.scattering import ELECTRON_REST_KEV, compton, rayleigh
from drrval.physics.spectrum import tube_spectrum
from drrval.projection import project
from drrval.settings import SpectrumSettings
from drrval.volume import Grid

BEAM = tube_spectrum(SpectrumSettings())
SOFT = compositions()["soft_tissue"]
# AAPM TG-195, case 2: I. Sechopoulos et al., Med Phys 42 (2015) 5679, doi:10.1118/1.4928676, and AAPM Report 195.
TG195_SOFT = {
    "H": 0.105, "C": 0.256, "N": 0.027, "O": 0.602, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.002, "K": 0.002,
}  # fmt: skip


@njit
def compton_samples(n: int, kev: float, binding: np.ndarray) -> np.ndarray:
    state = np.empty(1, np.uint64)
    start_stream(5, 0, state)
    out = np.empty((n, 2))
    for i in range(n):
        out[i] = compton(kev, binding, state)
    return out


@njit
def rayleigh_samples(n: int, kev: float, cdf: np.ndarray) -> np.ndarray:
    state = np.empty(1, np.uint64)
    start_stream(6, 0, state)
    out = np.empty(n)
    for i in range(n):
        out[i] = rayleigh(kev, cdf, state)
    return out


@njit
def uniform_samples(streams: int, per_stream: int) -> np.ndarray:
    state = np.empty(1, np.uint64)
    out = np.empty((streams, per_stream))
    for i in range(streams):
        start_stream(7, i, state)
        for j in range(per_stream):
            out[i, j] = uniform(state)
    return out


def klein_nishina(kev: float, cosine: np.ndarray) -> np.ndarray:
    """Klein & Nishina 1929 (doi:10.1007/BF01366453), per solid angle, up to a constant."""
    ratio = 1 / (1 + kev / ELECTRON_REST_KEV * (1 - cosine))
    return ratio**2 * (ratio + 1 / ratio - (1 - cosine**2))


def assert_follows(cosines: np.ndarray, density: np.ndarray, fine: np.ndarray) -> None:
    """Chi-square test of samples against a density given on a fine grid of cosines."""
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(fine))])
    edges = np.interp(np.linspace(0, 1, 41), cumulative / cumulative[-1], fine)
    counts = np.histogram(cosines, edges)[0]
    assert counts.sum() == len(cosines)
    assert stats.chisquare(counts).pvalue > 1e-3


def slab(thickness: int = 10, n: int = 40, size_mm: float = 10.0) -> tuple[np.ndarray, Grid]:
    """Water-like slab across the beam, in air."""
    hu = np.full((n, thickness + 6, n), -1000.0, np.float32)
    hu[:, 3:-3] = 0.0
    return hu, Grid(hu.shape, (size_mm,) * 3, tuple(-size_mm * (m - 1) / 2 for m in hu.shape[::-1]))


def view(n: int = 16, **changes: float) -> Geometry:
    return view_geometry("PA", rows=n, columns=n, pixel_mm=320 / n, **changes)


def run(photons: int = 100_000, beam: tuple = BEAM, **options: object) -> Simulation:
    return simulate(scene_of(*slab()), view(), beam, photons=photons, **options)  # type: ignore[arg-type]


def test_random_numbers_are_uniform_and_independent() -> None:
    u = uniform_samples(20_000, 5)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(u.T) - np.eye(5)).max() < 4 / np.sqrt(len(u))
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 4 / np.sqrt(len(u))


@pytest.mark.parametrize("kev", [20.0, 60.0, 120.0])
def test_free_compton_scatter_follows_klein_nishina(kev: float) -> None:
    left, cosine = compton_samples(200_000, kev, np.ones(3000)).T
    fine = np.linspace(-1, 1, 4001)
    assert_follows(cosine, klein_nishina(kev, fine), fine)
    # Compton's formula.
    np.testing.assert_allclose(left, kev / (1 + kev / ELECTRON_REST_KEV * (1 - cosine)), rtol=1e-9)


@pytest.mark.parametrize("kev", [20.0, 80.0])
def test_bound_scatter_follows_binding_and_form_factors(kev: float) -> None:
    tables = interaction_tables([{"O": 1.0}])
    fine = np.linspace(-1, 1, 20001)
    x = kev / KEV_ANGSTROM * np.sqrt((1 - fine) / 2)
    bound = np.interp(x, np.arange(tables.binding.shape[1]) * MOMENTUM_STEP, tables.binding[0])
    assert_follows(compton_samples(200_000, kev, tables.binding[0])[:, 1], klein_nishina(kev, fine) * bound, fine)
    coherent = (1 + fine**2) * xraydb.f0("O", x) ** 2
    assert_follows(rayleigh_samples(200_000, kev, tables.form_factor_cdf[0]), coherent, fine)


def test_binding_of_hydrogen_is_one_minus_its_form_factor_squared() -> None:
    # Exact for one electron: S = 1 - F^2.
    x = np.array([0.05, 0.1, 0.2, 0.5, 1.0])
    binding = interaction_tables([{"H": 1.0}]).binding[0][np.rint(x / MOMENTUM_STEP).astype(int)]
    assert binding == pytest.approx(1 - xraydb.f0("H", x) ** 2, abs=0.005)


def test_integral_of_the_tables_is_the_tabulated_cross_section() -> None:
    # The angular distributions and the cross sections come from different tables and must belong together.
    tables = interaction_tables([{"O": 1.0}])
    radius2 = 7.940787e-26  # classical electron radius squared, cm2
    cosine = np.linspace(-1, 1, 20001)
    for kev in (30.0, 60.0, 100.0):
        x = kev / KEV_ANGSTROM * np.sqrt((1 - cosine) / 2)
        bound = 8 * np.interp(x, np.arange(tables.binding.shape[1]) * MOMENTUM_STEP, tables.binding[0])
        per_angle = np.array([klein_nishina(kev, cosine) * bound, (1 + cosine**2) * xraydb.f0("O", x) ** 2])
        total = np.trapezoid(per_angle, cosine, axis=1) * np.pi * radius2 * 6.02214e23 / xraydb.atomic_mass("O")
        incoherent, coherent = partial_coefficients({"O": 1.0})[round(kev * 2), [2, 1]]
        assert total[0] == pytest.approx(incoherent, rel=0.01)
        assert total[1] == pytest.approx(coherent, rel=0.02)


def test_energy_is_conserved() -> None:
    energy = run().energy
    spent = energy["on_panel"] + energy["escaped"] + sum(energy["deposited"])  # type: ignore[arg-type, operator]
    assert spent == pytest.approx(energy["emitted"], rel=1e-12)
    assert energy["emitted"] == pytest.approx(BEAM[0] @ BEAM[1], rel=0.01)


def test_result_depends_on_the_seed_and_not_on_the_number_of_threads() -> None:
    with numba_threads(2):
        first = run(10_000)
    with numba_threads(1):
        second = run(10_000)
    assert np.array_equal(first.batches, second.batches)
    assert not np.array_equal(first.batches, run(10_000, seed=1).batches)


@pytest.mark.parametrize("kev", [30.0, 60.0, 110.0])
def test_free_path_is_that_of_the_attenuation_coefficient(kev: float) -> None:
    # 10 cm of soft tissue: the share that comes through without interaction is exp(-mu x) on the central ray.
    parallel = view(1, sid_mm=1e6)
    result = simulate(scene_of(*slab()), parallel, ([kev], [1.0]), photons=200_000, response="photon-counting")
    expected = np.exp(-mass_attenuation("soft_tissue", [kev])[0] * 1.03 * 10.0)
    assert float(result.primary[0, 0]) == pytest.approx(expected, abs=4 * np.sqrt(expected / result.photons))


def test_primary_is_that_of_the_projector() -> None:
    # Voxels of 2.5 mm: the projector blurs an edge over one voxel, the transport does not.
    hu, grid = slab(40, 160, 2.5)
    hu[40:120, 11:27, 88:120] = 700.0  # bone, off centre in every direction
    hu[40:64, 11:39, 32:64] = -850.0
    geometry = view(8, isocentre_to_detector_mm=150.0)
    result = simulate(scene_of(hu, grid), geometry, BEAM, photons=1_000_000, response="photon-counting")
    fine = view(128, isocentre_to_detector_mm=150.0)
    area_density = project(hu, grid, fine, density_model())
    lines = np.tensordot(attenuation_matrix(BEAM[0]), area_density, axes=1)
    expected = np.tensordot(BEAM[1], np.exp(-lines), axes=1)
    expected = expected.reshape(8, 16, 8, 16).mean(axis=(1, 3))
    z = (result.primary - expected) / result.standard_error(0)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert stats.chi2.sf(np.sum(z**2), z.size) > 1e-3
    assert expected.max() / expected.min() > 2


def test_absorbed_energy_is_that_of_aapm_report_195() -> None:
    # Case 2, radiography, 56.4 keV: eV per photon, in the whole slab (range of the four codes 33134.9-33205.4) and in
    # cubes of 3 cm on the central axis, from the source side to the panel side.
    expected_total, expected_cubes = 33171.4, np.array([72.858791, 53.345097, 36.667360, 23.832066, 14.595186])
    labels, density = np.zeros((350, 26, 26), np.uint8), np.full((350, 26, 26), 0.001205, np.float32)
    labels[310:], density[310:] = 1, 1.03
    for i, z in enumerate((-6, -3, 0, 3, 6)):
        labels[330 + 2 * z - 3 : 330 + 2 * z + 3, 12:14, 12:14] = 2 + i
    grid = Grid(labels.shape, (15.0, 15.0, 5.0), (-187.5, -187.5, 2.5))
    scene = Scene(labels, density, grid, (compositions()["air"], *[TG195_SOFT] * 6))
    panel = Geometry("PA", (0, 0, 0), (0, 0, 1800), (1, 0, 0), (0, 1, 0), (13, 13), 30.0)
    result = simulate(scene, panel, ([56.4], [1.0]), photons=500_000)
    deposited = 1000 * np.array(result.energy["deposited"])
    error = 1000 * np.array(result.deposited_error)
    assert deposited[1:].sum() == pytest.approx(expected_total, rel=0.005)
    assert np.abs((deposited[2:] - expected_cubes) / error[2:]).max() < 4
    assert (error[2:] < 0.1 * expected_cubes).all()


def test_images_show_what_the_projector_shows_from_every_side() -> None:
    hu = np.full((24, 24, 24), -1000.0, np.float32)
    hu[2:16, 2:14, 5:22] = 0.0
    hu[11:15, 3:7, 9:13] = 1000.0
    turned = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], float)
    for direction in (np.eye(3), turned):
        grid = Grid(hu.shape, (8.0,) * 3, tuple(direction @ np.full(3, -92.0)), direction)
        for name in ("PA", "AP", "LL"):
            geometry = view_geometry(name, rows=12, columns=12, pixel_mm=18.0)
            shown = simulate(scene_of(hu, grid), geometry, ([60.0], [1.0]), photons=100_000).primary
            lines = np.tensordot(attenuation_matrix([60.0])[0], project(hu, grid, geometry, density_model()), axes=1)
            mirrored = (lines[:, ::-1], lines[::-1], lines.T)
            likeness = [np.corrcoef(shown.ravel(), np.exp(-image).ravel())[0, 1] for image in (lines, *mirrored)]
            assert likeness[0] > max(0.97, 0.05 + max(likeness[1:]))


def test_grid_passes_what_its_geometry_says() -> None:
    grid = AntiScatterGrid(ratio=10, lines_per_cm=40, strip_mm=0.05)
    assert grid.height_mm == pytest.approx(2.0)
    # 80 % interspace of 2 mm aluminium; lead strips of 2 mm pass next to nothing at 60 keV (NIST: 5.021 cm2/g).
    aluminium = np.exp(-0.2778 * 2.7 * 0.2)  # NIST: 0.2778 cm2/g at 60 keV
    assert grid.primary_transmission([60.0])[0] == pytest.approx(0.8 * aluminium, rel=0.005)
    size = np.array([0.2, 0.025, 0.005])
    starts = (np.arange(2000) + 0.5) / 2000
    straight = np.mean([through_grid(size, 57.0, 0.75, 0.0, 1.0, s) for s in starts])
    assert straight == pytest.approx(grid.primary_transmission([60.0])[0], rel=0.01)
    # A ray that crosses exactly one interspace and one strip meets the same lead wherever it enters.
    slanted = [through_grid(size, 57.0, 0.75, 0.125, 1.0, s) for s in starts[::100]]
    assert slanted == pytest.approx(20 * [np.exp(-0.2 * (57.0 * 0.2 + 0.75 * 0.8))], rel=1e-6)


def test_grid_takes_more_scatter_than_primary_and_more_with_its_ratio() -> None:
    grids = [AntiScatterGrid(r) for r in (5.0, 12.0)]
    result = run(400_000, grids=grids)
    selectivity = []
    for i, grid in enumerate(grids):
        primary, scatter = result.behind_grid(i)
        passed = primary.sum() / result.primary.sum()
        assert grid.primary_transmission(40.0) < passed < grid.primary_transmission(85.0)
        selectivity.append(passed / (scatter.sum() / result.scatter.sum()))
    assert 1.5 < selectivity[0] < selectivity[1]


def test_scatter_grows_with_the_field() -> None:
    small, large = (
        simulate(scene_of(*slab(20)), view_geometry("PA", rows=5, columns=5, pixel_mm=mm), BEAM, photons=200_000)
        for mm in (12.0, 64.0)
    )
    ratio = [float(r.scatter[2, 2] / r.primary[2, 2]) for r in (small, large)]
    assert ratio[1] > 2 * ratio[0] > 0


def test_bad_input_is_refused() -> None:
    hu, grid = slab()
    scene = scene_of(hu, grid)
    with pytest.raises(DrrvalError, match="Unknown response 'film'"):
        run(response="film")
    with pytest.raises(DrrvalError, match=r"of 60-200 keV cannot be followed.*1-150 keV"):
        simulate(scene, view(), ([60.0, 200.0], [1.0, 1.0]), photons=10)
    with pytest.raises(DrrvalError, match="cannot be built"):
        AntiScatterGrid(lines_per_cm=200.0, strip_mm=0.06)
    with pytest.raises(DrrvalError, match="differ in shape"):
        Scene(scene.labels[1:], scene.density, grid, scene.materials)
    with pytest.raises(DrrvalError, match="Label 2 has no material: only 2 are given"):
        Scene(np.full_like(scene.labels, 2), scene.density, grid, (SOFT, SOFT))
    inside = view_geometry("PA", rows=4, columns=4, sid_mm=290.0, isocentre_to_detector_mm=50.0)
    with pytest.raises(GeometryError, match="lies inside the volume"):
        simulate(scene_of(np.zeros((60, 60, 60)), Grid((60,) * 3, (10.0,) * 3, (-295.0,) * 3)), inside, BEAM, photons=1)
