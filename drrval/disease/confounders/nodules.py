"""Lung nodules: solid, ground-glass and calcified."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from drrval.disease.confounders.confounded import (
    HU,
    SIDES,
    Confounded,
    Labels,
    axes_mm,
    code,
    reference,
    replace_by,
    start,
)
from drrval.disease.confounders.placing import ball_box, lung_point, noise_of, one_each, rough, soft_cover
from drrval.disease.lung_air import denoise, noise_level
from drrval.settings import Settings
from drrval.volume import Grid

NoduleKind = Literal["solid", "ground_glass", "calcified"]


class NoduleSettings(Settings):
    """Nodules; what is not given is drawn, for each nodule anew."""

    count: int | None = Field(None, ge=0, le=50, description="how many")
    kind: NoduleKind | None = Field(None, description="solid, ground_glass or calcified")
    diameter_mm: float | None = Field(None, ge=2, le=30, description="diameter, mm")
    side: Literal["right", "left"] | None = Field(None, description="the lung they are in")


def add_nodules(hu: HU, grid: Grid, lungs: Labels, settings: NoduleSettings | None = None, seed: int = 0) -> Confounded:
    """Put rounded, slightly lobulated nodules into the lungs; they are lung still, but not pneumonia.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        settings: number, kind, size, side.
        seed: of what is drawn.

    Raises:
        StudyError: lungs that do not fit the CT.
    """
    out = start(hu, lungs)
    rng = np.random.default_rng([seed, 0x40])
    chosen, table = settings or NoduleSettings(), reference()["nodules"]
    noise_hu = noise_level(hu, grid)
    for own in one_each(chosen.count, table["count"], rng):
        _add_one(out, grid, chosen, noise_hu, own)
    return out


def _add_one(out: Confounded, grid: Grid, chosen: NoduleSettings, noise_hu: float, rng: np.random.Generator) -> None:
    table = reference()["nodules"]
    kind = str(rng.choice(list(table["kinds"]), p=list(table["kinds"].values())))
    side = str(rng.choice(list(SIDES)))
    height, depth, angle = rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.9), rng.uniform(-np.pi, np.pi)
    kind, label = chosen.kind or kind, SIDES[chosen.side or side]
    small, large = table["diameter_mm"][kind]
    radius = (chosen.diameter_mm or small * (large / small) ** rng.random()) / 2.0
    centre = lung_point(out.lungs, label, height, depth, angle, grid)
    box = ball_box(centre, 1.5 * radius + 2.0 * max(grid.spacing_mm), grid)
    x, y, z = (a - np.float32(c) for a, c in zip(axes_mm(box, grid), centre, strict=True))
    distance = np.sqrt(x**2 + y**2 + z**2) - np.float32(radius)
    distance += np.float32(table["lobulation"] * radius) * rough(box, centre, radius, rng, grid)
    lung = out.lungs[box] == label
    current = out.hu[box]
    clean = denoise(current, grid, noise_hu)
    mean = np.float32(rng.uniform(*table["hu"][kind]))
    # A ground-glass nodule leaves vessels visible, and no nodule hollows out what is denser.
    cover = soft_cover(distance, grid) * lung * (clean < mean)
    replace_by(current, cover, mean + noise_of(current, clean, cover > 0.0, noise_hu))
    out.findings[box][(cover >= 0.5) & lung] = code("nodules")
