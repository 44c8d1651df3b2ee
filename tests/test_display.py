import numpy as np
import pytest
from pydantic import ValidationError

from drrval import display
from drrval.display import quantised
from drrval.errors import DrrvalError
from drrval.settings import DisplaySettings

WINDOW = (0.4, 4.6)


def displayed(signal: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    """Shown with the whole image as field."""
    return display.displayed(signal, np.ones(signal.shape, bool), settings, 0.42)


def test_more_attenuation_is_brighter_in_every_rule() -> None:
    signal = np.array([[1.0, 0.3, 0.05, 0.01]], np.float32)
    for rule in ("fixed", "minmax", "paper"):
        assert (np.diff(displayed(signal, DisplaySettings(rule=rule, window=WINDOW))) >= 0).all()  # type: ignore[arg-type]


def test_fixed_scale_does_not_depend_on_the_rest_of_the_image() -> None:
    settings = DisplaySettings(rule="fixed", window=WINDOW)
    a = displayed(np.array([[0.1, 0.9]], np.float32), settings)
    b = displayed(np.array([[0.1, 0.001]], np.float32), settings)
    assert a[0, 0] == b[0, 0]
    minmax = DisplaySettings(rule="minmax")
    assert (
        displayed(np.array([[0.1, 0.9]], np.float32), minmax)[0, 0]
        != displayed(np.array([[0.1, 0.001]], np.float32), minmax)[0, 0]
    )


def test_paper_gamma_darkens_only_very_bright_images() -> None:
    settings = DisplaySettings(rule="paper")
    bright = np.array([[1.0, 0.02, 0.04, 0.03, 0.05, 0.02, 0.03, 0.04, 0.03, 0.0]], np.float32)
    inverted = np.rint(255 * (1 - bright))
    assert inverted.mean() > 220
    assert quantised(displayed(bright, settings), 8) == pytest.approx(np.rint(255 * (inverted / 255) ** 5), abs=1)
    dark = np.array([[1.0, 0.55, 0.61, 0.73, 0.0]], np.float32)
    assert np.array_equal(quantised(displayed(dark, settings), 8), np.rint(255 * (1 - dark)).astype(np.uint8))


def test_no_photon_is_white_not_infinite() -> None:
    assert displayed(np.zeros((1, 1), np.float32), DisplaySettings(window=WINDOW))[0, 0] == 1.0


def test_window_must_be_ordered() -> None:
    with pytest.raises(ValidationError, match="low < high"):
        DisplaySettings(window=(3.0, 1.0))


def test_fixed_rule_without_a_window_is_an_error() -> None:
    with pytest.raises(DrrvalError, match="needs a window"):
        displayed(np.ones((1, 1), np.float32), DisplaySettings())


@pytest.mark.parametrize("rule", ["fixed", "minmax", "paper"])
def test_outside_the_field_is_black_and_does_not_count(rule: str) -> None:
    settings = DisplaySettings(rule=rule, window=WINDOW)  # type: ignore[arg-type]
    inside = np.array([[0.5, 0.02, 0.04, 0.03, 0.05]], np.float32)
    framed = np.pad(inside, 1, constant_values=1.0)
    field = np.pad(np.ones(inside.shape, bool), 1)
    shown = display.displayed(framed, field, settings, 0.42)
    assert (shown[~field] == 0).all()
    assert np.array_equal(shown[1:-1, 1:-1], displayed(inside, settings))


def test_paper_gamma_does_not_depend_on_the_air_beside_the_patient() -> None:
    settings = DisplaySettings(rule="paper")
    chest = np.array([[0.02, 0.04, 0.03, 0.05, 0.02, 0.03, 0.04, 0.0, 1.0]], np.float32)
    wide = np.concatenate([chest, np.ones((1, 40), np.float32)], axis=1)
    assert np.array_equal(displayed(wide, settings)[:, :9], displayed(chest, settings))
    assert displayed(wide, settings)[0, 1] < 0.96


@pytest.mark.parametrize("pixel_mm", [0.42, 0.84])
def test_detail_gain_enlarges_a_grating_as_its_transfer_function_says(pixel_mm: float) -> None:
    cycles_per_mm, gain, sigma_mm = 0.1, 1.5, 3.0
    wave = np.cos(2 * np.pi * cycles_per_mm * pixel_mm * np.arange(1024))
    signal = np.exp(-(2.5 + 0.1 * np.broadcast_to(wave, (64, 1024)))).astype(np.float32)
    settings = DisplaySettings(window=WINDOW, detail_gain=gain, detail_mm=sigma_mm)
    shown = display.displayed(signal, np.ones(signal.shape, bool), settings, pixel_mm) * (WINDOW[1] - WINDOW[0])
    middle = slice(256, 768)
    amplitude = np.sqrt(2) * shown[32, middle].std() / np.sqrt(2 * np.mean(wave[middle] ** 2))
    expected = 0.1 * (1 + gain * (1 - np.exp(-2 * (np.pi * sigma_mm * cycles_per_mm) ** 2)))
    assert amplitude == pytest.approx(expected, rel=0.01)


def test_detail_leaves_an_even_field_and_its_border_alone() -> None:
    signal = np.full((64, 64), 0.1, np.float32)
    field = np.zeros(signal.shape, bool)
    field[16:48] = True
    signal[~field] = 1.0
    shown = display.displayed(signal, field, DisplaySettings(window=WINDOW, detail_gain=2.0), 0.42)
    assert shown[field] == pytest.approx((-np.log(0.1) - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), abs=1e-6)
