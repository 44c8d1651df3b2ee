"""What differs from scan to scan of one patient besides the disease: breath, position on the table, noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml


@dataclass(frozen=True)
class Conditions:
    """How one CT was taken; the defaults are a patient who lies straight and breathes in fully.

    Attributes:
        inspiration: lung volume over that at full inspiration, 0..1.
        rotation_deg: of the patient about x (nodding), y (leaning to a side) and z (turned on the table), degrees.
        shift_mm: of the patient along x and z (left, head; the height is the table's), mm, as (x, y, z).
        table_height_mm: of table and patient over the middle of the scanner, mm.
        noise_factor: standard deviation of the noise over that of the protocol.
        seed: of this scan's noise.
    """

    inspiration: float = 1.0
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    table_height_mm: float = 0.0
    noise_factor: float = 1.0
    seed: int = 0


def draw_conditions(seed: int, visit: int, nuisance: bool = True) -> Conditions:
    """Draw the conditions of a scan; ranges and sources are in ``conditions.yaml``.

    Args:
        seed: of the patient, 0 or above.
        visit: which scan of the patient, 0 or above.
        nuisance: False gives every scan the same conditions but noise of its own.
    """
    rng = np.random.default_rng([seed, visit, 0xC1])
    noise_seed = int(rng.integers(2**31))
    if not nuisance:
        return Conditions(seed=noise_seed)
    table = _table()
    breath = table["inspiration"]
    return Conditions(
        inspiration=float(np.clip(rng.normal(breath["mean"], breath["sd"]), *breath["range"])),
        rotation_deg=_three(rng, table["rotation_deg"]),
        shift_mm=_three(rng, table["shift_mm"]),
        table_height_mm=_clipped(rng, table["table_height_mm"]["sd"], table["table_height_mm"]["limit"]),
        noise_factor=float(
            np.clip(np.exp(table["noise_factor"]["spread"] * rng.standard_normal()), *table["noise_factor"]["range"])
        ),
        seed=noise_seed,
    )


def _three(rng: np.random.Generator, table: dict[str, Any]) -> tuple[float, float, float]:
    x, y, z = (_clipped(rng, sd, table["limit"]) for sd in table["sd"])
    return x, y, z


def _clipped(rng: np.random.Generator, sd: float, limit: float) -> float:
    return float(np.clip(sd * rng.standard_normal(), -limit, limit))


@cache
def _table() -> dict[str, Any]:
    text = files("drrval.simulation").joinpath("conditions.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
