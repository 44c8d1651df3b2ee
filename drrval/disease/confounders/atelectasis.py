"""Linear (plate-like) atelectasis above the diaphragm."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

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
from drrval.disease.confounders.placing import ball_box, lung_point, noise_of, one_each, rough
from drrval.disease.lung_air import denoise, noise_level
from drrval.settings import Settings
from drrval.volume import Grid


class AtelectasisSettings(Settings):
    """Bands of atelectasis; what is not given is drawn."""

    count: int | None = Field(None, ge=0, le=20, description="how many plates")
    side: Literal["right", "left"] | None = Field(None, description="the lung they are in")


def add_atelectasis(
    hu: HU, grid: Grid, lungs: Labels, settings: AtelectasisSettings | None = None, seed: int = 0
) -> Confounded:
    """Put thin, slightly wavy plates of airless lung above the diaphragm; they are lung still, but not pneumonia.

    A plate thinner than the voxels raises them by its share of them.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        settings: number and side.
        seed: of what is drawn.

    Raises:
        StudyError: lungs that do not fit the CT.
    """
    out = start(hu, lungs)
    rng = np.random.default_rng([seed, 0xA7])
    chosen, table = settings or AtelectasisSettings(), reference()["atelectasis"]
    noise_hu = noise_level(hu, grid)
    for own in one_each(chosen.count, table["count"], rng):
        _add_plate(out, grid, chosen, noise_hu, own)
    return out


def _add_plate(
    out: Confounded, grid: Grid, chosen: AtelectasisSettings, noise_hu: float, rng: np.random.Generator
) -> None:
    table = reference()["atelectasis"]
    side = str(rng.choice(list(SIDES)))
    label = SIDES[chosen.side or side]
    height, depth, angle = rng.uniform(*table["height"]), rng.uniform(0.0, 0.35), rng.uniform(-np.pi, np.pi)
    thick, long, wide = (rng.uniform(*table[name]) for name in ("thickness_mm", "length_mm", "width_mm"))
    tilt, turn = table["tilt_deg"] * rng.standard_normal(2), rng.uniform(0.0, 180.0)
    axes = Rotation.from_euler("zxy", [turn, *tilt], degrees=True).as_matrix().T.astype(np.float32)
    centre = lung_point(out.lungs, label, height, depth, angle, grid)
    box = ball_box(centre, long / 2.0 + 10.0, grid)
    x, y, z = (a - np.float32(c) for a, c in zip(axes_mm(box, grid), centre, strict=True))
    u, v, w = (x * a[0] + y * a[1] + z * a[2] for a in axes)
    radius = np.sqrt((u / np.float32(long / 2.0)) ** 2 + (v / np.float32(wide / 2.0)) ** 2)
    bent = w + np.float32(table["waviness_mm"]) * rough(box, centre, 30.0, rng, grid)
    half = np.float32(thick / 2.0) * np.clip(np.float32(4.0) * (1.0 - radius), 0.0, 1.0)
    edge = np.float32(np.abs(axes[2]) @ np.asarray(grid.spacing_mm))  # a voxel's extent across the plate
    overlap = np.minimum(half, bent + edge / 2.0) - np.maximum(-half, bent - edge / 2.0)
    lung = out.lungs[box] == label
    cover = np.clip(overlap / edge, 0.0, 1.0).astype(np.float32) * lung
    current = out.hu[box]
    clean = denoise(current, grid, noise_hu)
    mean = np.float32(rng.uniform(*table["hu"]))
    cover *= clean < mean
    replace_by(current, cover, mean + noise_of(current, clean, cover > 0.0, noise_hu))
    out.findings[box][cover >= 0.5 * min(1.0, thick / float(edge))] = code("atelectasis")
