"""What the comparison with real radiographs measures, on images whose answers are known."""

import numpy as np
import pytest

from validation.radiograph_regions import (
    FIELD_PIXELS,
    PATCH,
    RINGS,
    find_regions,
    rib_contrast,
    scaled,
    texture_spectrum,
)

LUNG, MEDIASTINUM, LIVER = 80.0, 200.0, 220.0


def chest() -> tuple[np.ndarray, np.ndarray]:
    """Grey values and lung mask of two rectangular lungs, the field ``FIELD_PIXELS`` wide, above a liver."""
    lungs = np.zeros((400, 400), bool)
    lungs[40:300, 40:160] = lungs[40:300, 240:360] = True
    grey = np.full(lungs.shape, MEDIASTINUM)
    grey[300:] = LIVER
    grey[lungs] = LUNG
    return grey, lungs


def test_regions_hold_the_grey_values_of_their_organs() -> None:
    grey, lungs = chest()
    image = scaled(grey.astype(np.uint8), lungs)
    assert image.grey.shape == grey.shape
    levels = [image.level(name) for name in ("lung", "mediastinum", "below the diaphragm")]
    assert levels == [LUNG, MEDIASTINUM, LIVER]
    assert np.median(image.relative[image.regions["below the diaphragm"]]) == pytest.approx(140 / 120)


def test_size_does_not_matter() -> None:
    grey, lungs = chest()
    double = scaled(np.kron(grey, np.ones((2, 2))).astype(np.uint8), np.kron(lungs, np.ones((2, 2))) > 0)
    assert double.regions["lung"].sum() == pytest.approx(find_regions(lungs)["lung"].sum(), rel=0.02)


def test_region_that_the_image_does_not_show_is_nan() -> None:
    grey, lungs = chest()
    assert np.isnan(scaled(grey[:300].astype(np.uint8), lungs[:300]).level("below the diaphragm"))


def test_rib_contrast_sees_what_varies_from_head_to_feet_and_no_linear_display() -> None:
    grey, lungs = chest()
    wave = np.sin(2 * np.pi * np.arange(400) / (0.1 * FIELD_PIXELS))
    ribs = scaled((grey + 12 * wave[:, None] * lungs).astype(np.uint8), lungs)
    vessels = scaled((grey + 12 * wave * lungs).astype(np.uint8), lungs)
    shown_flatter = scaled((60 + 0.5 * (grey + 12 * wave[:, None] * lungs)).astype(np.uint8), lungs)
    assert 0.03 < rib_contrast(ribs) < 0.1 / np.sqrt(2)
    assert rib_contrast(vessels) < 0.2 * rib_contrast(ribs)
    assert rib_contrast(shown_flatter) == pytest.approx(rib_contrast(ribs), rel=0.05)


def test_texture_of_white_noise_is_its_variance_at_every_frequency() -> None:
    grey, lungs = chest()
    rng = np.random.default_rng(7)
    noisy = grey + rng.normal(0, 12, grey.shape) * lungs
    power = texture_spectrum(scaled(np.rint(noisy).astype(np.uint8), lungs))
    assert power.shape == RINGS.shape
    assert RINGS.max() < PATCH // 2
    assert np.mean(power) == pytest.approx((12 / 120) ** 2, rel=0.05)
    assert power == pytest.approx(np.mean(power), rel=0.25)
