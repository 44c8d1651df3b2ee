"""Adults drawn from seeds: distinct, repeatable, and as different as in a clinic."""

import numpy as np
import pytest

from drrval.errors import StudyError
from drrval.phantom import Anatomy, make_thorax, random_anatomy
from drrval.phantom.anatomy import LIMITS


@pytest.fixture(scope="module")
def adults() -> list[Anatomy]:
    return [random_anatomy(seed) for seed in range(300)]


def values(adults: list[Anatomy], name: str) -> np.ndarray:
    return np.array([float(getattr(a, name)) for a in adults])


def test_at_least_200_distinct_adults_that_repeat(adults):
    assert len(set(adults)) == 300
    sizes = {(round(a.chest_width_mm), round(a.chest_depth_mm), round(a.lung_height_mm)) for a in adults}
    assert len(sizes) >= 200, "they differ by more than fractions of a millimetre"
    assert random_anatomy(17) == adults[17]


def test_every_parameter_varies_and_few_stick_at_a_limit(adults):
    for name, (low, high) in LIMITS.items():
        drawn = values(adults, name)
        assert drawn.std() > 0.02 * (high - low), name
        if name not in ("breast_mm", "colon_gas", "unfolding"):  # zero for many
            assert np.mean((drawn == low) | (drawn == high)) < 0.05, name


@pytest.mark.parametrize(
    ("one", "other", "sign"),
    [
        ("age", "bone_hu", -1),
        ("age", "kyphosis", 1),
        ("age", "aorta_factor", 1),
        ("age", "unfolding", 1),
        ("fat_mm", "dome_lift_mm", 1),
        ("fat_mm", "chest_depth_mm", 1),
        ("chest_width_mm", "lung_height_mm", 1),
        ("chest_width_mm", "heart_width_mm", 1),
        ("female", "chest_width_mm", -1),
        ("female", "fat_mm", 1),
    ],
)
def test_parameters_go_together_as_in_adults(adults, one, other, sign):
    assert sign * np.corrcoef(values(adults, one), values(adults, other))[0, 1] > 0.15


def test_cardiothoracic_ratio_is_that_of_adults(adults):
    """0.42 to 0.50 is normal; some hearts are larger."""
    ratio = values(adults, "heart_width_mm") / values(adults, "chest_width_mm")
    assert 0.42 < ratio.mean() < 0.50
    assert 0.02 < ratio.std() < 0.06
    assert 0.02 < np.mean(ratio > 0.5) < 0.30


@pytest.mark.parametrize(("female", "low", "high"), [(True, 3.0, 6.0), (False, 4.0, 8.0)])
def test_lung_volume_is_within_the_limits_of_adults(adults, female, low, high):
    """Litres, gas and tissue: total lung capacity of the Global Lung Function Initiative.

    Hall et al. Eur Respir J 2021 (10.1183/13993003.00289-2020): medians of about 5.0 (women, 163 cm) and 6.9
    (men, 177 cm), lower limits of normal about 4.0 and 5.5. A CT is taken lying and holds 10 to 25 percent less
    gas, and about 0.8 litres of tissue and blood are added.
    """
    volumes = []
    for anatomy in [a for a in adults if a.female == female][:3]:
        thorax = make_thorax(anatomy, spacing_mm=7.0, table=False)
        volumes.append(np.count_nonzero(thorax.lungs) * thorax.grid.voxel_volume_cm3 / 1000)
    assert low < min(volumes), volumes
    assert max(volumes) < high, volumes
    assert len({round(v, 3) for v in volumes}) == 3


def test_anatomy_outside_the_adult_range_is_refused():
    with pytest.raises(StudyError, match=r"Anatomy chest_width_mm=100 is outside the adult range 215\.\.320"):
        Anatomy(chest_width_mm=100)
    with pytest.raises(StudyError, match=r"seed=-7 is negative\. Choose an integer of 0 or above"):
        random_anatomy(-7)
    with pytest.raises(StudyError, match=r"Anatomy arms='aside'\. Expected one of: 'up', 'down'"):
        Anatomy(arms="aside")  # type: ignore[arg-type]
