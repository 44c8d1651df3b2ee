"""Mass attenuation coefficients of tissues, water and the scintillator."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import xraydb
import yaml

from drrval.errors import DrrvalError
from drrval.materials import MATERIALS


@cache
def compositions() -> dict[str, dict[str, float]]:
    """Mass fractions of the elements of each material, from ``compositions.yaml`` (ICRU Report 44, NISTIR 5632)."""
    table: dict[str, dict[str, float]] = yaml.safe_load(
        files("drrval.physics").joinpath("compositions.yaml").read_text(encoding="utf-8")
    )
    return table


def mass_attenuation(material: str, energies_kev: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Total mass attenuation coefficient mu/rho, cm2/g, of a material at each energy, 1-D.

    Mixture rule over the elements (Elam, Ravel & Sieber 2002 tables, coherent scattering included, through xraydb).

    Args:
        material: a name in ``compositions.yaml``.
        energies_kev: photon energies, keV, 1-D.

    Raises:
        DrrvalError: a material without a composition.
    """
    if material not in compositions():
        raise DrrvalError(f"Material {material!r} has no composition. Expected one of: {', '.join(compositions())}.")
    energies_ev = np.asarray(energies_kev, dtype=float) * 1000.0
    parts = compositions()[material]
    return np.sum([w * xraydb.mu_elam(element, energies_ev) for element, w in parts.items()], axis=0)


def attenuation_matrix(energies_kev: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """mu/rho in cm2/g, ``[energy, material]`` in the order of :data:`drrval.materials.MATERIALS`."""
    return np.stack([mass_attenuation(m, energies_kev) for m in MATERIALS], axis=1)
