import numpy as np
import pytest
from published import PUBLISHED
from scipy.interpolate import PchipInterpolator

from drrval.errors import DrrvalError
from drrval.physics.attenuation import attenuation_matrix, compositions, mass_attenuation

NIST = PUBLISHED["mass_attenuation"]


@pytest.mark.parametrize("material", NIST["materials"])
def test_mass_attenuation_follows_nist(material: str) -> None:
    tabulated, values = np.array(NIST["energies_kev"], float), np.array(NIST["materials"][material])
    assert mass_attenuation(material, tabulated) == pytest.approx(values, rel=0.01)
    # Between the tabulated energies NIST's table is interpolated in its logarithms, as its authors advise.
    energies = np.arange(20.0, 121.0)
    nist = np.exp(PchipInterpolator(np.log(tabulated), np.log(values))(np.log(energies)))
    assert mass_attenuation(material, energies) == pytest.approx(nist, rel=0.03)


def test_compositions_sum_to_one() -> None:
    assert {m: pytest.approx(1.0, abs=1e-3) for m in compositions()} == {
        m: sum(c.values()) for m, c in compositions().items()
    }


def test_projected_materials_stand_in_the_order_of_the_projector() -> None:
    matrix = attenuation_matrix([40.0, 80.0])
    assert matrix == pytest.approx(
        np.stack([mass_attenuation(m, [40.0, 80.0]) for m in ("air", "soft_tissue", "bone")], 1)
    )


def test_material_without_composition_is_refused() -> None:
    with pytest.raises(DrrvalError, match=r"'steel' has no composition\. Expected one of: air, soft_tissue"):
        mass_attenuation("steel", [60.0])
