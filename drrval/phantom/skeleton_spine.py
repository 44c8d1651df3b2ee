"""Vertebrae C5 to L2 and the discs between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.shapes import Vector
from drrval.phantom.skeleton_shapes import Bar, Slab, bar, smooth_outline
from drrval.phantom.skeleton_tables import skeleton_tables

FIRST_THORACIC = 3  # index of T1; C5 has index 0


@dataclass(frozen=True)
class Vertebra:
    """Place and size of one vertebra.

    Attributes:
        level: 0 for C5, 3 for T1, 16 for L2.
        centre: middle of the body, LPS mm.
        frame: (3, 3) rows: unit vectors to the left, to the back and up along the spine.
        half_width, half_depth, half_height: of the body, mm.
        disc_mm: height of the disc below.
    """

    level: int
    centre: Vector
    frame: Vector
    half_width: float
    half_depth: float
    half_height: float
    disc_mm: float

    def place(self, local: npt.ArrayLike) -> Vector:
        """Points (..., 3) given as mm beside, behind the back edge of, and above the middle of the body."""
        points = np.asarray(local, dtype=float) + np.array([0.0, self.half_depth, 0.0])
        return np.asarray(self.centre + points @ self.frame)


@lru_cache(maxsize=4)
def vertebrae(anatomy: Anatomy) -> tuple[Vertebra, ...]:
    """All vertebrae from head to feet, tilted to follow the spine."""
    table = skeleton_tables()["spine"]
    sx, sy, sz = anatomy.scale
    heights = _levels(anatomy)
    out = []
    for level, z in enumerate(heights):
        centre = spine_points(anatomy, [z])[0]
        above, below = spine_points(anatomy, [z + 8.0, z - 8.0])
        up = (above - below) / np.linalg.norm(above - below)
        left = np.array([1.0, 0.0, 0.0]) - up[0] * up
        left /= np.linalg.norm(left)
        pitch = table["pitch"][level] * sz
        disc = table["disc_height"][level] * sz
        half_width = float(table["half_width"][level] * sx)
        half_depth = float(table["half_depth"][level] * np.sqrt(sx * sy))
        frame = np.array([left, np.cross(up, left), up])
        out.append(Vertebra(level, centre, frame, half_width, half_depth, (pitch - disc) / 2.0, disc))
    return tuple(out)


def spine_points(anatomy: Anatomy, z_mm: npt.ArrayLike) -> Vector:
    """Middle of the spine (n, 3) at heights z, mm."""
    z = np.asarray(z_mm, dtype=float)
    return np.stack([anatomy.spine_x(z), anatomy.spine_y(z), z], axis=-1)


def _levels(anatomy: Anatomy) -> list[float]:
    """Heights of the middles of the bodies, mm; pitches are measured along the curved spine."""
    table = skeleton_tables()["spine"]
    pitch = np.asarray(table["pitch"]) * anatomy.scale[2]
    first = table["first_thoracic_z"] * anatomy.scale[2]
    levels = {FIRST_THORACIC: first}
    for level in range(FIRST_THORACIC, 16):
        levels[level + 1] = levels[level] - _rise(anatomy, levels[level], (pitch[level] + pitch[level + 1]) / 2.0)
    for level in range(FIRST_THORACIC, 0, -1):
        levels[level - 1] = levels[level] + _rise(anatomy, levels[level], (pitch[level] + pitch[level - 1]) / 2.0)
    return [float(levels[level]) for level in range(17)]


def _rise(anatomy: Anatomy, z: float, along_mm: float) -> float:
    """Height gained by going this far along the spine at height z."""
    above, below = spine_points(anatomy, [z + 6.0, z - 6.0])
    return along_mm * 12.0 / float(np.linalg.norm(above - below))


def vertebral_body(vertebra: Vertebra, *, grow_mm: float = 0.0) -> Slab:
    """A vertebral body; ``grow_mm`` makes it taller (the space of the discs) or, negative, shorter."""
    table = skeleton_tables()["spine"]
    half = np.asarray(table["outline"], dtype=float)
    outline = smooth_outline(np.vstack([half, half[1:-1][::-1] * [-1.0, 1.0]]), 32)
    return Slab(
        vertebra.centre,
        vertebra.frame,
        outline * [vertebra.half_width, vertebra.half_depth],
        vertebra.half_height + grow_mm,
        waist_mm=table["waist_mm"],
        rounding_mm=1.5,
    )


def disc(vertebra: Vertebra) -> Slab:
    """The disc below a vertebra, overlapping both bodies a little (paint it before them)."""
    body = vertebral_body(vertebra)
    centre = vertebra.centre - (vertebra.half_height + vertebra.disc_mm / 2.0) * vertebra.frame[2]
    return Slab(centre, vertebra.frame, body.outline * 0.97, vertebra.disc_mm / 2.0 + 1.5, rounding_mm=2.0)


def arch(vertebra: Vertebra) -> list[Bar]:
    """Pedicles, laminae, transverse, articular and, last, spinous processes."""
    region = _region(vertebra.level)
    size = vertebra.half_width / 15.0
    wide, high = vertebra.half_width, vertebra.half_height
    up = vertebra.frame[2]
    root = 0.62 * wide
    canal = 15.5 * size**0.3  # depth of the spinal canal, about 15 to 17 mm (Panjabi et al. 1991)
    corner = root * 1.02
    tip_x, tip_y, tip_z = region["transverse"]
    facet = region["facet"] * size**0.5
    length, fall = region["spinous"]
    parts: list[Bar] = []
    for side in (-1.0, 1.0):
        outline = {
            "pedicle": ([[side * root, -3, 0.35 * high], [side * corner, 0.62 * canal, 0.3 * high]], 5.0, 3.0),
            "lamina": (
                [[side * corner, 0.62 * canal, 0.2 * high], [0, canal + 4.0, -0.35 * high]],
                8.0 * size**0.5,
                2.8,
            ),
            "transverse": (
                [[side * corner, 0.62 * canal, 0.2 * high], [side * tip_x * size**0.6, tip_y * size**0.3, tip_z]],
                5.2,
                3.8,
            ),
            "facet": (
                [
                    [side * corner, 0.68 * canal, 0.3 * high + facet],
                    [side * corner * 0.92, 0.8 * canal, 0.3 * high - 2.1 * facet],
                ],
                5.0,
                3.2,
            ),
        }
        for name, (points, half_width, half_thickness) in outline.items():
            across = vertebra.frame[0] if name == "facet" else up
            parts.append(bar(vertebra.place(points), half_width, half_thickness, wide=across))
    spinous = [
        [0, canal + 3, -0.3 * high],
        [0, canal + 0.55 * length, -0.3 * high + 0.5 * fall],
        [0, canal + length, -0.3 * high + fall],
    ]
    parts.append(bar(vertebra.place(spinous), [5.5, 4.6, 4.2], [2.2, 2.2, 3.2], wide=up))
    return parts


def _region(level: int) -> dict[str, Any]:
    regions: dict[str, dict[str, Any]] = skeleton_tables()["spine"]["regions"]
    return next(r for r in regions.values() if r["levels"][0] <= level < r["levels"][1])
