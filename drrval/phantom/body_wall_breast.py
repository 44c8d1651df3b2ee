"""Breasts: fat with strands of gland that run to the nipple."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.body_wall_sheets import fat_map, map_axes, wall_tables
from drrval.phantom.canvas import Canvas
from drrval.phantom.labels import Label
from drrval.phantom.shapes import Array, Ellipsoid, Vector

_LATTICE_MM = 3.0
_EMBEDDED_MM = 14.0  # how deep the middle of a breast lies under the skin of the chest


def breasts(anatomy: Anatomy) -> list[Ellipsoid]:
    """Right and left breast as ellipsoids that stand out of the chest; none where ``breast_mm`` is 0.

    On the back they flatten and slip to the side, the more the larger they are.
    """
    if anatomy.breast_mm <= 0.0:
        return []
    table = wall_tables()["breast"]
    x, z = np.asarray(table["centre"]) * anatomy.scale[[0, 2]]
    x += table["slip"] * anatomy.breast_mm
    across, along = np.asarray(table["radii"]) * anatomy.scale[[0, 2]] * (0.75 + 0.25 * anatomy.breast_mm / 30.0) ** 0.5
    front = _skin_y(anatomy, float(x), float(z))
    radii = [across, anatomy.breast_mm + _EMBEDDED_MM, along]
    return [
        Ellipsoid([side * x, front + _EMBEDDED_MM, z], radii, [0.0, 0.0, side * table["turn_deg"]]) for side in (-1, 1)
    ]


def _skin_y(anatomy: Anatomy, x: float, z: float) -> float:
    """About where the skin of the front of the chest lies, mm."""
    half_width, centre, half_depth = anatomy.loft("cage").section(z)
    n = anatomy.loft("cage").exponent
    front = float(centre - half_depth * (1.0 - (min(x / float(half_width), 0.97)) ** n) ** (1.0 / n))
    azimuth, heights = map_axes()
    fat = fat_map(float(anatomy.scale[2]))[np.argmin(np.abs(heights - z)), np.argmin(np.abs(azimuth - 140.0))]
    return front - 20.0 - float(fat) * anatomy.fat_mm


def paint_breasts(canvas: Canvas, anatomy: Anatomy) -> None:
    """Gland and label of the breasts, inside the skin that is already there; fat between stays."""
    table = wall_tables()["breast"]
    rng = np.random.default_rng([anatomy.seed, 0xB2EA])
    for shape in breasts(anatomy):
        whole = canvas.distance([shape])
        if whole.mm.size == 0:
            continue
        fat = canvas.labels[whole.box] == Label.FAT
        canvas.labels[whole.box][fat & (whole.mm < 0)] = Label.BREAST
        points = np.stack(np.broadcast_arrays(*canvas.patient_points(whole.box)), axis=-1)
        amount = _gland(points, shape, rng, anatomy) * (fat & (whole.mm < 0))
        hu = canvas.hu[whole.box]
        hu += amount * (np.float32(wall_tables()["tissue_hu"]["gland"]) - hu)
        nipple = np.asarray(shape.centre) - [0.0, shape.radii[1] + 2.0, 0.0]
        size = table["nipple_mm"]
        canvas.paint([Ellipsoid(nipple, [size, size, size])], wall_tables()["tissue_hu"]["skin"], label=Label.SKIN)


def _gland(points: Vector, shape: Ellipsoid, rng: np.random.Generator, anatomy: Anatomy) -> Array:
    """Fraction of gland at points ``(..., 3)``: a mesh of strands around the middle, thinner with age.

    The glandular part of the breast falls from about a third at 40 years to a sixth at 70 (Yaffe et al., Med Phys
    2009;36:5437, 10.1118/1.3250863, report 14 % on average by volume without skin).
    """
    table = wall_tables()["breast"]
    share = float(np.clip(rng.normal(0.34 - 0.005 * (anatomy.age - 40.0), 0.08), 0.05, 0.6))
    local = (points - np.asarray(shape.centre)) / np.asarray(shape.radii)
    local[..., 1] += 0.35  # towards the nipple
    depth = 1.0 - np.sqrt((local**2).sum(axis=-1)) / table["gland"]
    size = np.ceil(2.0 * np.asarray(shape.radii) / _LATTICE_MM).astype(int) + 4
    noise = gaussian_filter(rng.standard_normal(size), table["strand_mm"] / 2.0 / _LATTICE_MM)
    noise = -np.abs(noise) / noise.std()  # ridges: sheets and strands rather than lumps
    at = (points - np.asarray(shape.centre) + np.asarray(shape.radii)) / _LATTICE_MM + 2.0
    texture = map_coordinates(noise, np.moveaxis(at, -1, 0), order=1, mode="nearest")
    threshold = np.quantile(noise, 1.0 - share / table["gland"])
    return np.asarray(
        np.clip((texture - threshold) * 3.0 + 0.5, 0.0, 1.0) * np.clip(depth * 4.0, 0.0, 1.0), dtype=np.float32
    )
