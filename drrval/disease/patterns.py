"""Lesions as pneumonia spreads them: COVID-19, lobar pneumonia, bronchopneumonia."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np
import yaml

from drrval.disease.lesion import LARGEST_RADIUS_MM, Kind, Lesion
from drrval.errors import StudyError

Pattern = Literal["covid", "lobar", "broncho"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
Point = tuple[float, float, float]

LOBES = (1, 2, 3, 4, 5)
_LAST_RIGHT = 3  # lobes 1 to 3 are those of the right lung

_LUNGS_CM3 = 5000.0  # of an adult in inspiration, for the first guess of sizes
_INSIDE = 0.55  # share of a lesion's ellipsoid that lies in the lung and in no other lesion, roughly


def draw_lesions(
    pattern: Pattern, seed: int, extent_percent: float, *, lobes: Collection[int] = LOBES
) -> tuple[Lesion, ...]:
    """Draw the lesions of one patient.

    The extent decides how many there are and roughly how large; :func:`drrval.disease.spread.fit_extent` makes it
    exact for given lungs. A focus with a consolidated core, or a halo, is two lesions with one centre.

    Args:
        pattern: ``covid`` (bilateral, peripheral, posterior, basal), ``lobar`` (consolidation of a lobe up to its
            fissures, further lobes where one is not enough) or ``broncho`` (many small foci in several segments).
        seed: non-negative integer.
        extent_percent: lesion volume over the volume of the lungs, above 0 and up to 90.
        lobes: those that the scan has, 1 to 5 (:func:`drrval.disease.masks.lobes_present`); others get no disease, nor
            does a lung without any.

    Returns:
        lesions, relative to the lungs.

    Raises:
        StudyError: a value outside its range.
    """
    if pattern not in PATTERNS:
        raise StudyError(f"pattern={pattern!r}. Expected one of: {', '.join(map(repr, PATTERNS))}.")
    if not 0.0 < extent_percent <= 90.0:
        raise StudyError(f"extent_percent={extent_percent!r}. Give a share of the lungs above 0 and up to 90 percent.")
    if seed < 0:
        raise StudyError(f"seed={seed!r} is negative. Choose an integer of 0 or above.")
    present = sorted(set(lobes))
    if not present or not set(present) <= set(LOBES):
        raise StudyError(f"lobes={lobes!r}. Give one or more of the numbers 1 to 5.")
    rng = np.random.default_rng([seed, PATTERNS.index(pattern)])
    return tuple(_DRAW[pattern](rng, _table()[pattern], extent_percent, present))


@cache
def _table() -> dict[Pattern, dict[str, Any]]:
    return yaml.safe_load((files("drrval.disease") / "patterns.yaml").read_text(encoding="utf-8"))


def _sides(lobes: list[int]) -> list[int]:
    """Lungs that these lobes are of: 0 right, 1 left."""
    return sorted({int(lobe > _LAST_RIGHT) for lobe in lobes})


def _covid(rng: np.random.Generator, table: dict[str, Any], extent: float, lobes: list[int]) -> list[Lesion]:
    lesions = []
    sides = _sides(lobes)
    sizes = _sizes(rng, table, extent)
    crazy, core = (float(np.interp(extent, table["extent_percent"], table[name])) for name in ("crazy_paving", "core"))
    for number, radius in enumerate(sizes):
        place = rng.choice(3, p=[table["posterior"], table["lateral"], 1.0 - table["posterior"] - table["lateral"]])
        up = float(rng.beta(1.6, 2.4))
        stretch = rng.uniform(0.8, 1.25, 3)
        if place == 0:
            centre = (float(rng.uniform(0.2, 0.95)), float(rng.uniform(0.9, 1.0)), up)
            stretch *= (1.1, 0.75, 1.1)
        elif place == 1:
            centre = (float(rng.uniform(0.9, 1.0)), float(rng.beta(2.4, 1.6)), up)
            stretch *= (0.75, 1.1, 1.1)
        else:
            centre = (float(rng.uniform(0.3, 0.8)), float(rng.beta(3.0, 2.0)), up)
            radius *= 0.6
        kind: Kind = "crazy_paving" if rng.random() < crazy else "ggo"
        side = sides[number % len(sides)]
        focus = _lesion(rng, table, side, centre, radius * stretch, kind)
        lesions.append(focus)
        if kind == "ggo" and rng.random() < core:
            lesions.append(_lesion(rng, table, side, centre, rng.uniform(*table["core_size"]) * radius * stretch))
    return lesions


def _lobar(rng: np.random.Generator, table: dict[str, Any], extent: float, lobes: list[int]) -> list[Lesion]:
    present = np.isin(LOBES, lobes)
    shares = np.where(present, table["share_percent"], 0.0)
    shares *= np.sum(table["share_percent"]) / shares.sum()
    likely = np.where(present, table["first"], 0.0)
    first = int(rng.choice(5, p=likely / likely.sum()))
    same_side = (np.arange(5) < _LAST_RIGHT) == (first < _LAST_RIGHT)
    others = {lobe - 1 for lobe in lobes} - {first}
    order = [first, *sorted(others, key=lambda lobe: (not same_side[lobe], float(rng.random())))]
    lesions = []
    for lobe in order:
        part = min(extent, float(table["filled"] * shares[lobe]))
        radius = _radius_mm(part * _LUNGS_CM3 / 100.0)
        centre = _near(rng, table["centre"][lobe], table["scatter"])
        stretch = rng.uniform(0.85, 1.2, 3) * radius
        side = int(lobe >= _LAST_RIGHT)
        halo = _lesion(rng, table, side, centre, table["halo"] * stretch, "ggo", lobe=lobe + 1)
        lesions += [halo, _lesion(rng, table, side, centre, stretch, lobe=lobe + 1)]
        extent -= part
        if extent <= 0.0:
            break
    return lesions


def _broncho(rng: np.random.Generator, table: dict[str, Any], extent: float, lobes: list[int]) -> list[Lesion]:
    count = int(rng.integers(table["clusters"][0], table["clusters"][1] + 1))
    lungs = _sides(lobes)
    sides = [lungs[turn % len(lungs)] for turn in np.arange(count) + rng.integers(2)]
    middles = [(rng.uniform(0.25, 0.85), rng.beta(2.4, 1.6), rng.beta(1.8, 2.6)) for _ in range(count)]
    lesions = []
    for radius in _sizes(rng, table, extent):
        cluster = int(rng.integers(count))
        centre = _near(rng, middles[cluster], table["scatter"])
        stretch = rng.uniform(0.8, 1.25, 3) * radius
        side = sides[cluster]
        if rng.random() >= table["consolidated"]:
            lesions.append(_lesion(rng, table, side, centre, table["halo"] * stretch, "ggo"))
            continue
        lesions.append(_lesion(rng, table, side, centre, table["halo"] * stretch, "ggo"))
        lesions.append(_lesion(rng, table, side, centre, stretch))
    return lesions


_DRAW: dict[Pattern, Callable[[np.random.Generator, dict[str, Any], float, list[int]], list[Lesion]]] = {
    "covid": _covid,
    "lobar": _lobar,
    "broncho": _broncho,
}


def _sizes(rng: np.random.Generator, table: dict[str, Any], extent: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean radii of the foci, mm: more foci with more extent, log-normal in size, the volume of the extent in all."""
    volume_cm3 = extent * _LUNGS_CM3 / 100.0
    count = int(np.clip(rng.poisson(volume_cm3 / table["focus_cm3"]), *table["foci"]))
    volumes = np.exp(3.0 * table["spread"] * rng.standard_normal(count))
    return np.array([_radius_mm(float(v)) for v in volumes * volume_cm3 / volumes.sum()])


def _radius_mm(volume_cm3: float) -> float:
    return float(np.clip(10.0 * np.cbrt(volume_cm3 / _INSIDE * 3.0 / (4.0 * np.pi)), 2.0, 0.6 * LARGEST_RADIUS_MM))


def _near(rng: np.random.Generator, middle: Point | list[float], scatter: float) -> Point:
    medial, back, up = np.clip(np.asarray(middle) + scatter * rng.standard_normal(3), 0.02, 0.98)
    return float(medial), float(back), float(up)


def _lesion(
    rng: np.random.Generator,
    table: dict[str, Any],
    side: int,
    centre: Point,
    radii_mm: np.ndarray[Any, np.dtype[np.float64]],
    kind: Kind = "consolidation",
    lobe: int = 0,
) -> Lesion:
    x, y, z = np.clip(radii_mm, 1.5, LARGEST_RADIUS_MM)
    return Lesion(
        side="left" if side else "right",
        centre=centre,
        radii_mm=(float(x), float(y), float(z)),
        kind=kind,
        hu=float(rng.uniform(*table["hu"][kind])),
        seed=int(rng.integers(2**31)),
        lobe=lobe,
    )
