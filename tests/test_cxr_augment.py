"""Augmentation of radiographs: exact where an answer is known, seeded, inside its range, truth kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from cxr_models.augment import (
    abnormal_from_normal,
    adjust_gamma,
    implant_blobs,
    random_affine,
    random_gamma,
    random_intensity,
    random_mirror,
    random_quality,
)
from cxr_models.augment.fields import smooth_noise, soft_ellipse
from cxr_models.augment.geometric import AffineRange

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SIZE = 128


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _lungs() -> tuple[Mask, Mask]:
    shape = (SIZE, SIZE)
    right = soft_ellipse(shape, (62, 38), (20, 44), 0.0, 0.01) > 0.5
    left = soft_ellipse(shape, (62, 90), (18, 42), 0.0, 0.01) > 0.5
    return right, left


def _radiograph() -> Image:
    """Dark lungs at 0.25 in soft tissue at 0.7."""
    right, left = _lungs()
    return np.where(right | left, 0.25, 0.7).astype(np.float32)


def test_gamma_above_one_darkens_by_the_power_law() -> None:
    image = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)
    assert adjust_gamma(image, 0.5).tolist() == [[0.0, 0.5, 1.0]]
    assert adjust_gamma(image, 2.0)[0, 1] == pytest.approx(0.0625)


def test_gamma_refuses_a_wrong_scale() -> None:
    with pytest.raises(ValueError, match=r"The image spans 0 to 255, but augmentation works on 0-1"):
        adjust_gamma(np.array([[0.0, 255.0]], dtype=np.float32), 2.0)
    with pytest.raises(ValueError, match=r"gamma=0 must be positive"):
        adjust_gamma(_radiograph(), 0.0)


def test_random_gamma_stays_within_its_octaves() -> None:
    image = np.full((1, 1), 0.5, dtype=np.float32)
    values = [float(random_gamma(image, _rng(seed))[0, 0]) for seed in range(200)]
    assert 0.5**2 <= min(values) < 0.3
    assert 0.5**0.5 >= max(values) > 0.65


@pytest.mark.parametrize("augment", [random_gamma, random_intensity, implant_blobs])
def test_grey_value_augmentation_is_seeded_and_bounded(augment: object) -> None:
    assert callable(augment)
    image = _radiograph()
    first, again, other = augment(image, _rng(1)), augment(image, _rng(1)), augment(image, _rng(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert first.shape == image.shape
    assert first.min() >= 0
    assert first.max() <= 1


def test_blobs_change_a_part_of_the_image_only() -> None:
    image = _radiograph()
    changed = implant_blobs(image, _rng(3)) != image
    assert 0 < changed.mean() < 0.6


def test_no_transform_leaves_image_and_masks_alone() -> None:
    right, left = _lungs()
    masks = np.stack([right, left]).astype(np.float32)
    image, moved = random_affine(_radiograph(), masks, _rng(), AffineRange(0.0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(image, _radiograph(), atol=1e-6)
    np.testing.assert_allclose(moved, masks, atol=1e-6)


def test_masks_move_with_the_image() -> None:
    right, left = _lungs()
    image, moved = random_affine(_radiograph(), np.stack([right, left]).astype(np.float32), _rng(5), fill=0.7)
    lung = moved.max(axis=0)
    # wherever the moved mask is sure, the moved image shows the lung's or the tissue's grey value
    assert np.allclose(image[lung > 0.999], 0.25, atol=2e-3)
    assert np.allclose(image[lung < 0.001], 0.7, atol=2e-3)
    assert moved[0].sum() != pytest.approx(right.sum(), rel=1e-3)


def test_affine_never_mirrors() -> None:
    right, left = _lungs()
    for seed in range(10):
        _, moved = random_affine(_radiograph(), np.stack([right, left]).astype(np.float32), _rng(seed))
        columns = [np.average(np.arange(SIZE), weights=plane.sum(axis=0)) for plane in moved]
        assert columns[0] < columns[1]


def test_zoom_scales_the_area_by_its_square() -> None:
    right, left = _lungs()
    limits = AffineRange(rotation_deg=0.0, zoom=0.2, aspect=0.0, shift=0.0)
    areas = []
    for seed in range(40):
        _, moved = random_affine(_radiograph(), np.stack([right, left]).astype(np.float32), _rng(seed), limits)
        areas.append(moved.sum() / (right.sum() + left.sum()))
    assert min(areas) >= 1 / 1.2**2 - 0.01
    assert max(areas) <= 1.2**2 + 0.01
    assert max(areas) > 1.2


def test_implanted_lesion_stays_in_the_lungs_and_brightens_them() -> None:
    right, left = _lungs()
    for seed in range(8):
        abnormal = abnormal_from_normal(_radiograph(), right, left, _rng(seed))
        assert not (abnormal.lesion & ~(right | left)).any()
        assert np.array_equal(abnormal.image[~(right | left)], _radiograph()[~(right | left)])
        assert (abnormal.image >= _radiograph() - 1e-6).all()
        assert abnormal.image[abnormal.lesion].mean() > 0.25 + 0.02
        assert np.array_equal(abnormal.lesion, abnormal.opacity >= 0.12)


def test_implanted_extent_follows_what_was_asked_for() -> None:
    right, left = _lungs()
    both = right | left
    shares = [
        np.mean(
            [abnormal_from_normal(_radiograph(), right, left, _rng(s), extent=e).lesion[both].mean() for s in range(12)]
        )
        for e in (0.1, 0.5, 0.9)
    ]
    assert shares[0] < 0.25 < shares[1] < 0.65 < shares[2]
    for seed in range(6):
        none = abnormal_from_normal(_radiograph(), right, left, _rng(seed), extent=0.0)
        assert not none.opacity.any()
        half = abnormal_from_normal(_radiograph(), right, left, _rng(seed), extent=0.5)
        assert half.opacity[right].any()
        assert half.opacity[left].any()


def test_some_disease_is_one_sided() -> None:
    right, left = _lungs()
    sides = [abnormal_from_normal(_radiograph(), right, left, _rng(s)).lesion for s in range(24)]
    one_sided = sum(bool(lesion[right].any()) != bool(lesion[left].any()) for lesion in sides)
    assert 1 <= one_sided <= 14


def test_implanting_is_seeded() -> None:
    right, left = _lungs()
    first, again = (abnormal_from_normal(_radiograph(), right, left, _rng(9)) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.opacity, again.opacity)


def test_implanting_needs_lungs_and_a_share() -> None:
    empty = np.zeros((SIZE, SIZE), dtype=bool)
    right, left = _lungs()
    with pytest.raises(ValueError, match="Both lung masks are empty"):
        abnormal_from_normal(_radiograph(), empty, empty, _rng())
    with pytest.raises(ValueError, match=r"extent=30 is a share of the lungs and must be within 0-1"):
        abnormal_from_normal(_radiograph(), right, left, _rng(), extent=30)


@pytest.mark.parametrize("change", [random_gamma, random_intensity, random_quality])
def test_grey_values_of_another_scale_are_refused(change: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="augmentation works on 0-1: divide 8-bit values by 255"):
        change(255.0 * _radiograph(), _rng())


def test_masks_of_other_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks are \(1, 10, 12\).*give them its pixels"):
        random_affine(_radiograph(), np.zeros((1, 10, 12), np.float32), _rng())


def test_smooth_noise_has_the_scale_it_was_asked_for() -> None:
    coarse, fine = (smooth_noise((SIZE, SIZE), cells, _rng(4)) for cells in (4, 32))
    for field in (coarse, fine):
        assert field.mean() == pytest.approx(0.0, abs=1e-5)
        assert field.std() == pytest.approx(1.0, rel=1e-5)
    step = [float(np.abs(np.diff(field, axis=0)).mean()) for field in (coarse, fine)]
    assert step[1] > 4 * step[0]


def test_soft_ellipse_has_the_area_of_an_ellipse() -> None:
    area = soft_ellipse((SIZE, SIZE), (63.5, 63.5), (20.0, 40.0), 0.7, 0.2).sum()
    assert area == pytest.approx(np.pi * 20 * 40, rel=0.01)


def test_mirror_takes_the_masks_along_and_comes_half_of_the_time() -> None:
    image = _radiograph()
    image[:, :10] = 1.0
    mask = (image == 1.0)[None].astype(np.float32)
    mirrored = 0
    for seed in range(100):
        out, (lesion,) = random_mirror(image, mask, _rng(seed))
        assert np.array_equal(lesion > 0.5, out == 1.0)
        mirrored += int(out[0, -1] == 1.0)
    assert 35 <= mirrored <= 65


def test_quality_loses_detail_and_nothing_else() -> None:
    clean = _radiograph()
    noisy = np.clip(clean + 0.1 * _rng().standard_normal(clean.shape), 0, 1).astype(np.float32)
    changed = [random_quality(noisy, _rng(seed)) for seed in range(20)]
    for image in changed:
        assert image.shape == noisy.shape
        assert image.dtype == np.float32
        assert 0.0 <= image.min() <= image.max() <= 1.0
        assert abs(float(image.mean() - noisy.mean())) < 0.01
    roughness = [float(np.diff(image, axis=1).std()) for image in changed]
    assert min(roughness) < 0.6 * float(np.diff(noisy, axis=1).std())
    assert any(np.array_equal(image, noisy) for image in changed)  # three in ten stay as they are
