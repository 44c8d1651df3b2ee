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
    return display.displayed(signal, np.ones(signal.shape, bool), settings)


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
    shown = display.displayed(framed, field, settings)
    assert (shown[~field] == 0).all()
    assert np.array_equal(shown[1:-1, 1:-1], displayed(inside, settings))


def test_paper_gamma_does_not_depend_on_the_air_beside_the_patient() -> None:
    settings = DisplaySettings(rule="paper")
    chest = np.array([[0.02, 0.04, 0.03, 0.05, 0.02, 0.03, 0.04, 0.0, 1.0]], np.float32)
    wide = np.concatenate([chest, np.ones((1, 40), np.float32)], axis=1)
    assert np.array_equal(displayed(wide, settings)[:, :9], displayed(chest, settings))
    assert displayed(wide, settings)[0, 1] < 0.96
