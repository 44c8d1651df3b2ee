"""Emphysema: centrilobular holes and bullae."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from drrval.disease.confounders.confounded import (
    HU,
    LOWEST_HU,
    SIDES,
    Box,
    Confounded,
    Labels,
    axes_mm,
    box_of,
    code,
    reference,
    replace_by,
    start,
)
from drrval.disease.confounders.placing import ball_box, lung_point, rough, soft_cover
from drrval.disease.lung_air import denoise, noise_level
from drrval.settings import Settings
from drrval.volume import Grid

_AERATED_HU = -650.0  # vessels, disease and the walls of airways are denser and stay


class EmphysemaSettings(Settings):
    """Emphysema; what is not given is drawn."""

    percent: float | None = Field(None, ge=0, le=60, description="share of the lung in centrilobular holes, %")
    bullae: int | None = Field(None, ge=0, le=20, description="how many bullae")


def add_emphysema(
    hu: HU, grid: Grid, lungs: Labels, settings: EmphysemaSettings | None = None, seed: int = 0
) -> Confounded:
    """Put holes into the lungs, mostly at the apices; the noise of the scan stays. They are lung still.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        settings: extent and number of bullae; the share of holes is that of the aerated voxels of each lung.
        seed: of what is drawn.

    Raises:
        StudyError: lungs that do not fit the CT.
    """
    out = start(hu, lungs)
    rng = np.random.default_rng([seed, 0xE4])
    chosen, table = settings or EmphysemaSettings(), reference()["emphysema"]
    drawn = float(rng.uniform(*table["percent"]))
    noise_hu = noise_level(hu, grid)
    bullae = int(rng.integers(table["bullae"][0], table["bullae"][1] + 1))
    percent = drawn if chosen.percent is None else chosen.percent
    for label in SIDES.values():
        _holes(out, grid, label, percent, noise_hu, np.random.default_rng(rng.integers(2**31)))
    for _ in range(bullae if chosen.bullae is None else chosen.bullae):
        _bulla(out, grid, noise_hu, np.random.default_rng(rng.integers(2**31)))
    return out


def _holes(out: Confounded, grid: Grid, label: int, percent: float, noise_hu: float, rng: np.random.Generator) -> None:
    table = reference()["emphysema"]
    box = box_of(out.lungs == label, 0.0, grid)
    lung = out.lungs[box] == label
    mean = denoise(out.hu[box], grid, noise_hu)
    open_lung = lung & (mean < _AERATED_HU)
    wanted = round(percent / 100.0 * open_lung.sum())
    if not wanted:
        return
    corner = np.array([s.start * step for s, step in zip(box[::-1], grid.spacing_mm, strict=True)])
    field = rough(box, corner, 0.8 * table["hole_mm"], rng, grid)
    field += np.float32(0.5) * rough(box, corner, 6.0 * table["hole_mm"], rng, grid)  # some regions, not others
    field += np.linspace(-0.5, 0.5, lung.shape[0], dtype=np.float32)[:, None, None] * np.float32(table["upper"])
    values = field[open_lung]
    threshold = np.partition(values, len(values) - wanted)[len(values) - wanted]
    # From nothing at the border of a hole to all of it where the field has risen by a third.
    cover = np.clip((field - threshold) * 3.0 + 0.5, 0.0, 1.0) * open_lung
    current = out.hu[box]
    _thin_out(current, cover, mean)
    out.findings[box][open_lung & (field >= threshold)] = code("emphysema")


def _thin_out(hu: HU, cover: HU, mean: HU) -> None:
    """Lower the mean of the covered share of voxels to that of air and leave their noise, in place."""
    shift = cover * np.minimum(np.float32(reference()["emphysema"]["hu"]) - mean, 0.0)
    hu += np.maximum(shift, np.minimum(LOWEST_HU - hu, 0.0)).astype(np.float32)


def _bulla(out: Confounded, grid: Grid, noise_hu: float, rng: np.random.Generator) -> None:
    """A round airspace with a thin wall, at the pleura."""
    table = reference()["emphysema"]
    label = int(rng.choice(list(SIDES.values())))
    small, large = table["bulla_mm"]
    radius = small * (large / small) ** rng.random() / 2.0
    centre = lung_point(
        out.lungs, label, rng.uniform(0.55, 0.95), rng.uniform(0.0, 0.3), rng.uniform(-np.pi, np.pi), grid
    )
    box = ball_box(centre, 1.6 * radius, grid)
    distance = _rough_ball(box, grid, centre, radius, rng)
    lung = out.lungs[box] == label
    current = out.hu[box]
    inside = soft_cover(distance, grid) * lung
    mean = denoise(current, grid, noise_hu)
    _thin_out(current, inside, mean)
    shell = soft_cover(
        np.abs(distance) - np.float32(max(table["bulla_wall_mm"], 0.5 * min(grid.spacing_mm)) / 2.0), grid
    )
    thin = min(1.0, table["bulla_wall_mm"] / float(np.mean(grid.spacing_mm)))
    replace_by(current, shell * np.float32(thin) * lung, np.maximum(current, np.float32(table["bulla_wall_hu"])))
    out.findings[box][(inside >= 0.5) & lung] = code("emphysema")


def _rough_ball(box: Box, grid: Grid, centre: Any, radius: float, rng: np.random.Generator) -> HU:
    x, y, z = (a - np.float32(c) for a, c in zip(axes_mm(box, grid), centre, strict=True))
    distance = np.sqrt(x**2 + y**2 + z**2) - np.float32(radius)
    return np.asarray(distance + np.float32(0.12 * radius) * rough(box, centre, 1.5 * radius, rng, grid))
