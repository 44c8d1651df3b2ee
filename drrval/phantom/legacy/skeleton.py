"""Bones and cartilage of the thorax as lists of shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from drrval.phantom.legacy.anatomy import Anatomy, reference
from drrval.phantom.legacy.shapes import Capsule, Ellipsoid, Loft, Shape, Vector, tube

_RIB_SECTION = (1.0, 1.0, 1.75)  # a rib is about twice as tall as thick
_RIB_OFFSET_MM = 6.0  # middle of the rib outside the pleura


def vertebra_levels() -> Vector:
    """Reference heights (z, mm) of the middles of C5 .. L2; T1 has index 3."""
    first = reference()["spine"]["first_thoracic"]
    level = np.arange(-3, 14)
    return np.asarray(first["z"] - level * first["pitch"] - first["pitch_growth"] * level * (level - 1) / 2.0)


def long_bones(anatomy: Anatomy) -> list[Shape]:
    """Bones with a thick cortex: ribs, sternum, clavicles, scapulae and vertebral arches."""
    return [*_arches(anatomy), *_ribs(anatomy), *_flat_bones(anatomy)]


def vertebral_bodies(anatomy: Anatomy, *, gap_mm: float = 3.0) -> list[Shape]:
    """Vertebral bodies as boxes with round edges; ``gap_mm`` is the height of a disc."""
    size = reference()["spine"]["body_radii"]
    top, bottom = np.asarray(size["top"]), np.asarray(size["bottom"])
    levels = vertebra_levels()
    pitch = -np.gradient(levels)
    out: list[Shape] = []
    for level, (z, step) in enumerate(zip(levels, pitch, strict=True)):
        radii = top + (bottom - top) * (level - 3) / 11.0
        centre = _vertebra_centre(anatomy, float(z))
        half_height = (step * anatomy.scale[2] - gap_mm) / 2.0
        out.append(Ellipsoid(centre, (radii[0] * anatomy.scale[0], radii[1], half_height), exponent=4.0))
    return out


def cartilage(anatomy: Anatomy) -> list[Shape]:
    """Costal cartilages of ribs 1 to 7, from the bony end to the sternum."""
    cage = anatomy.loft("cage")
    out: list[Shape] = []
    for index, rib in enumerate(reference()["ribs"]):
        if rib["sternum"] is None:
            continue
        z = rib["sternum"] * anatomy.scale[2]
        _, centre, depth = cage.section(z)
        for side in (1, -1):
            end = _rib_path(anatomy, cage, index, rib, side)[-1]
            sternal = np.array([side * 16.0 * anatomy.scale[0], float(centre - depth) - _RIB_OFFSET_MM, z])
            middle = (end + sternal) / 2.0 - [0.0, 2.0, 5.0]
            out += tube([end, middle, sternal], rib["radius"], stretch=(1.0, 1.0, 1.5))
    return out


def _vertebra_centre(anatomy: Anatomy, z_reference: float) -> Vector:
    z = z_reference * anatomy.scale[2]
    return np.array([0.0, float(anatomy.spine_y(z)), z])


def _arches(anatomy: Anatomy) -> list[Shape]:
    out: list[Shape] = []
    for z in vertebra_levels():
        centre = _vertebra_centre(anatomy, float(z))
        for process in reference()["spine"]["processes"]:
            out += _mirrored(np.asarray(process["points"], dtype=float), process["radius"], centre)
    return out


def _mirrored(points: Vector, radius: float, centre: Vector) -> list[Capsule]:
    both = []
    for side in (1.0, -1.0):
        both += tube(points * [side, 1.0, 1.0] + centre, radius, stretch=(1.0, 1.0, 1.2))
    return both


def _rib_path(anatomy: Anatomy, cage: Loft, index: int, rib: dict[str, Any], side: int) -> Vector:
    """Points of a rib from its head to its bony end; it runs level at the back and falls steepest at the side."""
    root = float(vertebra_levels()[index + 3])
    azimuth = np.linspace(20.0, rib["end"], 24)
    fall = rib["fall"] * anatomy.rib_fall * (1.0 - np.cos(np.pi * azimuth / 165.0)) / 2.0
    z = (root + 5.0 - fall) * anatomy.scale[2]
    arc = cage.surface(z, side * azimuth, _RIB_OFFSET_MM)
    body = _vertebra_centre(anatomy, root)
    head = body + np.array([side * 15.0, 13.0, 7.0])
    tubercle = body + np.array([side * 29.0, 28.0, 8.0])
    return np.vstack([head, tubercle, arc[arc[:, 0] * side > 38.0]])


def _ribs(anatomy: Anatomy) -> list[Shape]:
    cage = anatomy.loft("cage")
    out: list[Shape] = []
    for index, rib in enumerate(reference()["ribs"]):
        for side in (1, -1):
            path = _rib_path(anatomy, cage, index, rib, side)
            out += tube(path, rib["radius"], stretch=_RIB_SECTION)
    return out


def _flat_bones(anatomy: Anatomy) -> list[Shape]:
    out: list[Shape] = []
    for entry in reference()["flat_bones"]:
        for side in (1.0, -1.0) if entry["mirror"] else (1.0,):
            path = anatomy.points(entry["points"]) * [side, 1.0, 1.0]
            out += tube(path, entry["radii"], stretch=entry["stretch"])
    plate = reference()["scapula"]
    for side in (1.0, -1.0):
        blade = anatomy.ellipsoid(plate)
        tilt = np.asarray(plate["tilt_deg"]) * [1.0, side, side]
        out.append(Ellipsoid(np.asarray(blade.centre) * [side, 1.0, 1.0], blade.radii, tilt))
    return out
