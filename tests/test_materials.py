import numpy as np
import pytest

from drrval.materials import MATERIALS, decompose, density_model, hu_to_density
from drrval.settings import MaterialSettings


def test_thresholds_are_deepdrrs() -> None:
    assert [MATERIALS[i] for i in decompose([-1000, -800, -799, 350, 351])] == [
        "air",
        "air",
        "soft_tissue",
        "soft_tissue",
        "bone",
    ]


def test_thresholds_can_be_set() -> None:
    labels = decompose([-700, 200], MaterialSettings(air_max_hu=-600, soft_tissue_max_hu=150))
    assert labels.tolist() == [0, 2]


@pytest.mark.parametrize(("hu", "density"), [(-1000, 0.001), (0, 1.03), (1000, 1.6186), (-2000, 0.0)])
def test_density_line(hu: float, density: float) -> None:
    assert hu_to_density(hu) == pytest.approx(density, abs=1e-9)


def test_outside_air_weighs_next_to_nothing() -> None:
    # 0 HU outside the body (the published trap) would be water: a thousand times denser.
    assert hu_to_density(-1000.0) < 0.002 < hu_to_density(0.0) / 500


def test_model_and_function_agree() -> None:
    (a0, b0), (a1, b1) = density_model().lines
    hu = np.linspace(-1024, 3000, 50)
    assert np.allclose(np.maximum(np.minimum(a0 * hu + b0, a1 * hu + b1), 0), hu_to_density(hu))
