"""Free pleural effusion of a supine patient."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy import ndimage

from drrval.disease.confounders.confounded import (
    HU,
    SIDES,
    Confounded,
    Labels,
    Mask,
    axes_mm,
    box_of,
    code,
    reference,
    replace_by,
    start,
)
from drrval.disease.confounders.placing import distance_inside, noise_of
from drrval.disease.lung_air import denoise, noise_level
from drrval.errors import StudyError
from drrval.settings import Settings
from drrval.volume import Grid

_MOST = 0.7  # of a lung: beyond, the mediastinum would have to give way
_RIM_MM = 2.5  # partial volumes between a lung mask and the chest wall
_TISSUE_HU = -20.0
_REACH_MM = 80.0  # thickest layer of collapsed lung


class EffusionSettings(Settings):
    """Pleural fluid; what is not given is drawn."""

    right_ml: float | None = Field(None, ge=0, le=3000, description="fluid on the right, ml")
    left_ml: float | None = Field(None, ge=0, le=3000, description="fluid on the left, ml")
    hu: float | None = Field(None, ge=-20, le=60, description="Hounsfield units of the fluid")


def add_effusion(
    hu: HU, grid: Grid, lungs: Labels, settings: EffusionSettings | None = None, seed: int = 0
) -> Confounded:
    """Let fluid collect behind the lungs.

    The fluid is dependent, which in a supine patient is posterior: a crescent that is thickest at the lowest point of
    the pleural space and tapers up along the chest wall, because the lung floats in it (the meniscus). Its voxels no
    longer are lung; the partial volumes between lung mask and chest wall never were. The tissue of the lung that
    was there is collapsed against the fluid (compressive atelectasis): the next layer of lung holds it besides its own,
    so that mass is kept; it is lung, and labelled ``atelectasis`` where half of its air is gone.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        settings: volumes and density; the volume of the fluid is exact to a voxel.
        seed: of what is drawn.

    Raises:
        StudyError: more fluid than 70 % of a lung, or lungs that do not fit.
    """
    out = start(hu, lungs)
    rng = np.random.default_rng([seed, 0xEF])
    chosen = _drawn(settings or EffusionSettings(), rng)
    noise_hu = noise_level(hu, grid)
    for side, millilitres in (("right", chosen.right_ml), ("left", chosen.left_ml)):
        if millilitres:
            _fill(
                out,
                grid,
                side,
                millilitres,
                float(chosen.hu or 0.0),
                noise_hu,
                np.random.default_rng([seed, SIDES[side]]),
            )
    return out


def _drawn(settings: EffusionSettings, rng: np.random.Generator) -> EffusionSettings:
    table = reference()["effusion"]
    sides = str(rng.choice(["right", "left", "both"], p=table["right_left_both"]))
    right, left = np.exp(rng.uniform(np.log(table["ml"][0]), np.log(table["ml"][1]), size=2))
    hu = float(np.clip(rng.normal(table["hu"]["mean"], table["hu"]["sd"]), 0.0, 30.0))
    values = settings.model_dump()
    if settings.right_ml is None and settings.left_ml is None:
        values["right_ml"] = float(right) if sides != "left" else 0.0
        values["left_ml"] = float(left) if sides != "right" else 0.0
    values["hu"] = hu if settings.hu is None else settings.hu
    return EffusionSettings(**values)


def _fill(
    out: Confounded,
    grid: Grid,
    side: str,
    millilitres: float,
    fluid_hu: float,
    noise_hu: float,
    rng: np.random.Generator,
) -> None:
    label = SIDES[side]
    box = box_of(out.lungs == label, 3.0 * _RIM_MM, grid)
    hu, lungs = out.hu[box], out.lungs[box]
    lung = lungs == label
    room = _pleural_space(hu, lungs, lung, grid)
    wanted = round(millilitres / grid.voxel_volume_cm3)
    if wanted > _MOST * lung.sum():
        most = _MOST * lung.sum() * grid.voxel_volume_cm3
        raise StudyError(
            f"{millilitres:.0f} ml of {side} effusion, with room for {most:.0f} ml (70 % of the lung). Ask for less."
        )
    clean = denoise(hu, grid, noise_hu)
    depth = _depth(room, box, grid, rng)
    order = np.partition(depth[room], wanted)
    surface = order[wanted]
    fluid = room & (depth < surface)
    noise = noise_of(hu, clean, fluid, noise_hu)
    edge = np.float32(np.mean(grid.spacing_mm))
    cover = np.clip((surface - depth) / edge + np.float32(0.5), 0.0, 1.0) * room
    collapsed = _collapse(hu, lung, depth - surface, cover) & ~fluid
    replace_by(hu, cover, np.float32(fluid_hu) + noise)
    findings = out.findings[box]
    findings[collapsed] = code("atelectasis")
    findings[fluid] = code("effusion")
    lungs[fluid] = 0


def _pleural_space(hu: HU, lungs: Labels, lung: Mask, grid: Grid) -> Mask:
    """The lung with its vessels, and the partial volumes between it and the chest wall."""
    cross, steps = (
        np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool),
        max(1, round(_RIM_MM / grid.spacing_mm[0])),
    )
    near = ndimage.binary_dilation(lung, cross, iterations=steps)
    closed = ndimage.binary_erosion(near, cross, iterations=steps, border_value=1)
    closed = np.stack([ndimage.binary_fill_holes(s) for s in closed | lung])
    rim = near & (hu < _TISSUE_HU)
    return np.asarray((closed | rim) & ((lungs == 0) | lung), dtype=bool)


def _depth(room: Mask, box: tuple[slice, slice, slice], grid: Grid, rng: np.random.Generator) -> HU:
    """Order in which the pleural space fills, mm: distance to its wall, and a share of the height over its floor."""
    table = reference()["effusion"]
    # Smoothing rounds off the dents that ribs and vessels leave in the wall: the lung's own surface has none.
    wall = distance_inside(room, grid, table["smooth_mm"])
    _, y, z = axes_mm(box, grid)
    height = np.float32(y[0, np.flatnonzero(room.any(axis=(0, 2)))[-1], 0]) - y
    base = np.float32(z[np.flatnonzero(room.any(axis=(1, 2)))[0], 0, 0])
    rise = float(rng.uniform(*table["taper"]))
    return np.asarray(wall + rise * height + table["taper_up"] * (z - base), dtype=np.float32)


def _collapse(hu: HU, lung: Mask, beyond: HU, cover: HU) -> Mask:
    """Press the lung whose share ``cover`` gives way to fluid into the lung next to it, in place; where it is dense."""
    table = reference()["effusion"]
    tissue = float((cover * np.clip(hu / 1000.0 + 1.0, 0.0, 1.0))[lung].sum())
    near = lung & (cover < 1.0) & (beyond < _REACH_MM)
    away = np.maximum(beyond[near], 0.0)
    air = np.clip(-hu[near] / 1000.0, 0.0, 1.0)
    left = 1.0 - cover[near]

    def filled(reach: float) -> HU:
        """Share of the air that is gone: most at the fluid, none beyond the reach."""
        return np.asarray(table["collapsed"] * np.clip(1.0 - (away / reach) ** 3, 0.0, 1.0), dtype=np.float32)

    low, high = 0.0, _REACH_MM
    for _ in range(20):  # until the layer's added tissue is that of the lung displaced
        reach = (low + high) / 2.0
        low, high = (reach, high) if float((filled(reach) * air * left).sum()) < tissue else (low, reach)
    gone = filled(high)
    hu[near] += gone * air * np.float32(1000.0 + table["collapsed_hu"])
    dense = np.zeros_like(lung)
    dense[near] = gone > 0.5
    return dense
