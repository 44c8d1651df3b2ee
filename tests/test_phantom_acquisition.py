"""What a scanner does to a chest: slice profile, kernel, noise."""

import numpy as np
import pytest

from drrval.errors import StudyError
from drrval.phantom import PROTOCOLS, Protocol, acquire
from drrval.phantom.acquisition import protocol_named
from drrval.volume import Grid

SHAPE = (24, 96, 80)
GRID = Grid(SHAPE, (0.8, 0.8, 1.0), (0.0, 0.0, 0.0))
QUIET = Protocol(slice_mm=1.0, kernel_fwhm_mm=0.0, noise_hu=0.0)


def water() -> np.ndarray:
    return np.zeros(SHAPE, dtype=np.float32)


def noise(protocol: Protocol, seed: int = 1) -> np.ndarray:
    return acquire(water(), GRID, protocol, seed).hu


def test_a_perfect_scanner_only_rounds():
    hu = np.random.default_rng(0).uniform(-1000, 1500, SHAPE).astype(np.float32)
    out = acquire(hu, GRID, QUIET, 0)
    assert np.array_equal(out.hu, np.rint(hu))
    assert out.hu.dtype == np.float32
    assert out.grid == GRID
    assert out.scanned.all()


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_noise_has_the_stated_standard_deviation_and_no_offset(name):
    protocol = protocol_named(name)
    hu = noise(protocol)
    assert hu.std() == pytest.approx(protocol.noise_hu, rel=0.02)
    assert abs(hu.mean()) < 0.1
    assert np.array_equal(hu, np.rint(hu))


def test_noise_spectrum_is_a_ramp_times_the_kernel():
    """Power rises with frequency, then falls; f exp(-4 (pi s f)^2) has its peak at 1 / (pi s 8^0.5)."""
    fwhm = 3.0
    hu = np.concatenate([noise(Protocol(1.0, fwhm, 50.0), seed) for seed in range(3)])
    power = (np.abs(np.fft.fft2(hu)) ** 2).mean(axis=0)
    fy, fx = np.fft.fftfreq(SHAPE[1], 0.8)[:, None], np.fft.fftfreq(SHAPE[2], 0.8)[None, :]
    radial = np.hypot(fx, fy)
    sigma = fwhm / 2.3548
    peak = 1 / (np.pi * sigma * np.sqrt(8))
    band = [power[np.abs(radial - f) < 0.03].mean() for f in (0.3 * peak, peak, 2.2 * peak)]
    assert band[0] < 0.7 * band[1]
    assert band[2] < 0.5 * band[1]
    expected = radial * np.exp(-4 * (np.pi * sigma * radial) ** 2)
    inner = (radial > 0.05) & (radial < 0.35)
    assert np.corrcoef(power[inner], expected[inner])[0, 1] > 0.9


def test_slices_have_independent_noise():
    hu = noise(PROTOCOLS["thin"])
    assert abs(np.corrcoef(hu[3].ravel(), hu[4].ravel())[0, 1]) < 0.1


def test_a_thick_slice_is_the_mean_over_its_thickness():
    hu = water()
    hu[10] = 900.0
    out = acquire(hu, GRID, Protocol(3.0, 0.0, 0.0), 0).hu[:, 50, 40]
    assert out[9:12] == pytest.approx([300, 300, 300])
    assert out.sum() == pytest.approx(900)
    wider = acquire(hu, GRID, Protocol(2.0, 0.0, 0.0), 0).hu[:, 50, 40]
    assert wider[9:12] == pytest.approx([225, 450, 225])


def test_kernel_has_the_stated_width():
    hu = water()
    hu[:, 48, 40] = 1e6
    line = acquire(hu, GRID, Protocol(1.0, 2.0, 0.0), 0).hu[12, 48]
    offset = (np.arange(SHAPE[2]) - 40) * 0.8
    assert np.sqrt((line * offset**2).sum() / line.sum()) * 2.3548 == pytest.approx(2.0, rel=0.03)


def test_nothing_below_the_floor():
    hu = acquire(np.full(SHAPE, -1000, np.float32), GRID, PROTOCOLS["low_dose"], 0).hu
    assert hu.min() == -1024


def test_same_seed_same_bytes_other_seed_other_noise():
    protocol = PROTOCOLS["standard"]
    assert noise(protocol, 4).tobytes() == noise(protocol, 4).tobytes()
    assert noise(protocol, 4).tobytes() != noise(protocol, 5).tobytes()


def test_input_stays_as_it_is():
    hu = water()
    acquire(hu, GRID, PROTOCOLS["standard"], 0)
    assert not hu.any()


def test_bad_protocols_and_arrays_are_refused():
    with pytest.raises(StudyError, match=r"slice_mm=0\.1 is outside 0\.3\.\.20"):
        Protocol(slice_mm=0.1)
    with pytest.raises(StudyError, match=r"Unknown protocol 'best'. Expected one of: 'thin', 'standard'"):
        protocol_named("best")
    with pytest.raises(StudyError, match=r"its grid \(24, 96, 80\). Give an array on this grid"):
        acquire(np.zeros((2, 2, 2), np.float32), GRID, QUIET, 0)
    with pytest.raises(StudyError, match=r"seed=-1 is negative\. Choose an integer of 0 or above"):
        acquire(water(), GRID, QUIET, -1)
