"""Ribs, costal cartilages and sternum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.shapes import Loft, Vector
from drrval.phantom.skeleton_shapes import Bar, Slab, bar, smooth_outline
from drrval.phantom.skeleton_spine import FIRST_THORACIC, Vertebra, vertebrae
from drrval.phantom.skeleton_tables import skeleton_tables

_STEP_DEG = 3.0
_AXIS_INSIDE = 0.35  # the axis of azimuths is at most this part of the half depth in front of the cage's middle
_SMOOTH = 2.0  # standard deviation in steps of 3 mm that rounds off the bend at the tubercle and the angle


@dataclass(frozen=True)
class Rib:
    """One rib: ``number`` 1 to 12, ``side`` -1 right or 1 left, and its bony part."""

    number: int
    side: int
    bone: Bar


@lru_cache(maxsize=4)
def ribs(anatomy: Anatomy) -> tuple[Rib, ...]:
    """The 24 ribs, from head to costochondral junction.

    A rib leaves its vertebra backwards, turns forward at the angle and follows the inner rib cage; the first ribs rise
    a little at the back, all fall to the front.
    """
    spine = vertebrae(anatomy)
    return tuple(
        Rib(number, side, _rib(anatomy, spine[FIRST_THORACIC + number - 1], number, side))
        for number in range(1, 13)
        for side in (-1, 1)
    )


def _rib(anatomy: Anatomy, vertebra: Vertebra, number: int, side: int) -> Bar:
    table = skeleton_tables()["ribs"]
    along = table["along"]
    course, outward = _course(anatomy, vertebra, number, side)
    rough = bar(course, 1.0, 1.0, wide=outward)
    path, normals = (
        gaussian_filter1d(values, _SMOOTH, axis=0, mode="nearest") for values in (rough.points, rough.wide)
    )
    path[0] = rough.points[0]
    fraction = np.linspace(0.0, 1.0, len(path))
    size = rib_size(anatomy)
    height = table["half_height"][number - 1] * size * np.interp(fraction, along["at"], along["height"])
    thickness = table["half_thickness"][number - 1] * size * np.interp(fraction, along["at"], along["thickness"])
    return bar(path, height, thickness, wide=_upward(path, normals, table["twist_deg"][number - 1]))


def rib_size(anatomy: Anatomy) -> float:
    """Section of the ribs relative to the reference adult; women's ribs are smaller (Holcombe et al. 2023)."""
    return float(np.cbrt(np.prod(anatomy.scale)))


def _course(anatomy: Anatomy, vertebra: Vertebra, number: int, side: int) -> tuple[Vector, Vector]:
    """Axis points (n, 3) of a rib and the outward normals of the cage there."""
    table = skeleton_tables()["ribs"]
    cage = anatomy.loft("cage")
    lateral, forward, up = table["head"]
    head = vertebra.place([side * vertebra.half_width * lateral, -forward, vertebra.half_height * up])
    neck = [vertebra.place([side * x, y, z]) for x, y, z in table["neck"]]
    azimuth = np.arange(table["azimuth"][0], table["end"][number - 1] + 0.5 * _STEP_DEG, _STEP_DEG)
    drop = np.interp(azimuth, table["azimuth"], table["drop"][number - 1])
    z = head[2] - drop * anatomy.rib_fall * anatomy.scale[2]
    offset = table["gap_mm"] + table["half_thickness"][number - 1]
    arc, normal = on_cage(cage, side * azimuth, z, table["axis_y"] * anatomy.scale[1], offset)
    tubercle = abs(neck[-1][0] - vertebra.centre[0])
    beyond = (np.abs(arc[:, 0] - vertebra.centre[0]) > tubercle + 9.0) | (azimuth > 60.0)
    back = np.broadcast_to([0.0, 1.0, 0.0], (3, 3))
    return np.vstack([head, *neck, arc[beyond]]), np.vstack([back, normal[beyond]])


def on_cage(cage: Loft, azimuth_deg: Vector, z: Vector, axis_y: float, offset_mm: float) -> tuple[Vector, Vector]:
    """Points (n, 3) where rays from a vertical axis meet the rib cage, moved outwards, and the normals there.

    Args:
        cage: inner chest wall.
        azimuth_deg: (n,) 0 to the back, 90 to the patient's left, -90 to the right.
        z: (n,) heights, mm.
        axis_y: y of the axis, mm; its x is 0. Where the cage narrows to the apex, the axis keeps inside it.
        offset_mm: distance from the cage along the normal, mm.
    """
    sine, cosine = np.sin(np.deg2rad(azimuth_deg)), np.cos(np.deg2rad(azimuth_deg))
    section = cage.section(z)
    _, centre, half_depth = section
    middle_y = np.maximum(axis_y, centre - _AXIS_INSIDE * half_depth)
    near, far = np.zeros_like(z), np.full_like(z, 400.0)
    for _ in range(26):
        way = (near + far) / 2.0
        inside = _outline(way * sine, middle_y + way * cosine, section, cage.exponent) < 1.0
        near, far = np.where(inside, way, near), np.where(inside, far, way)
    points = np.stack([near * sine, middle_y + near * cosine, z], axis=1)
    normal = _normals(cage, points)
    return points + offset_mm * normal, normal


def _normals(cage: Loft, points: Vector) -> Vector:
    """Outward unit normals (n, 3) at points of the cage."""
    gradient = []
    for step in 0.5 * np.eye(3):
        ahead, behind = (
            _outline(p[:, 0], p[:, 1], cage.section(p[:, 2]), cage.exponent) for p in (points + step, points - step)
        )
        gradient.append(ahead - behind)
    normal = np.stack(gradient, axis=1)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def _outline(x: Vector, y: Vector, section: tuple[Vector, Vector, Vector], exponent: float) -> Vector:
    """1 on the cage's superellipse, less inside."""
    half_width, centre, half_depth = section
    total = np.abs(x / half_width) ** exponent + np.abs((y - centre) / half_depth) ** exponent
    return np.asarray(total ** (1.0 / exponent))


def _upward(path: Vector, normals: Vector, twist_deg: float) -> Vector:
    """Direction of the taller side of the section: along the wall, turned outwards by the twist."""
    tangent = np.gradient(path, axis=0)
    up = np.cross(normals, tangent)
    up *= np.sign(up[:, 2:])
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    return np.asarray(np.cos(np.deg2rad(twist_deg)) * up - np.sin(np.deg2rad(twist_deg)) * normals)


def cartilages(anatomy: Anatomy, bones: Sequence[Rib]) -> list[Rib]:
    """Costal cartilages of ribs 1 to 10 as :class:`Rib`; 8 to 10 end at the cartilage above."""
    table = skeleton_tables()["cartilage"]
    out: dict[tuple[int, int], Rib] = {}
    for rib in sorted(bones, key=lambda r: r.number):
        if rib.number > 10:
            continue
        start, before = rib.bone.points[-1], rib.bone.points[-4]
        if rib.number <= len(table["sternal"]):
            end = sternal_end(anatomy, rib.number, rib.side)
        else:
            above = out[rib.number - 1, rib.side].bone
            end = above.points[int(len(above.points) * table["join"][rib.number])]
        out[rib.number, rib.side] = Rib(rib.number, rib.side, _cartilage(anatomy, rib.number, start, before, end))
    return list(out.values())


def _cartilage(anatomy: Anatomy, number: int, start: Vector, before: Vector, end: Vector) -> Bar:
    table = skeleton_tables()["cartilage"]
    cage = anatomy.loft("cage")
    size = rib_size(anatomy)
    onward = (start - before) / np.linalg.norm(start - before)
    span = float(np.linalg.norm(end - start))
    control = (start + end) / 2.0 + 0.25 * span * onward - [0.0, 0.0, table["sag_mm"][number - 1] * anatomy.scale[2]]
    t = np.linspace(0.0, 1.0, 9)[:, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    path[1:-1] = _outside(cage, path[1:-1], table["half_thickness"] + skeleton_tables()["ribs"]["gap_mm"])
    outward = np.broadcast_to([0.0, -1.0, 0.0], path.shape)
    return bar(path, table["half_height"] * size, table["half_thickness"] * size, wide=_upward(path, outward, 0.0))


def _outside(cage: Loft, points: Vector, offset_mm: float) -> Vector:
    """Move points along y to the front of the cage where they are not."""
    half_width, centre, half_depth = cage.section(points[:, 2])
    lateral = np.clip(np.abs(points[:, 0]) / half_width, 0.0, 0.98)
    front = centre - half_depth * (1.0 - lateral**cage.exponent) ** (1.0 / cage.exponent) - offset_mm
    moved = points.copy()
    moved[:, 1] = np.minimum(points[:, 1], front)
    return moved


def front_of_cage(anatomy: Anatomy, z: npt.ArrayLike) -> Vector:
    """y of the inner chest wall in the midline at heights z, mm."""
    _, centre, depth = anatomy.loft("cage").section(np.asarray(z, dtype=float))
    return np.asarray(centre - depth)


def sternal_end(anatomy: Anatomy, number: int, side: int) -> Vector:
    """Where the cartilage of rib 1 to 7 meets the sternum, mm."""
    x, z = skeleton_tables()["cartilage"]["sternal"][number - 1]
    sx, _, sz = anatomy.scale
    gap = skeleton_tables()["sternum"]["gap_mm"]
    return np.array([side * x * sx, float(front_of_cage(anatomy, z * sz)) - gap - 4.0, z * sz])


def sternum(anatomy: Anatomy) -> list[Slab]:
    """Manubrium, body and xiphoid process, in front of the cage and following its slope."""
    table = skeleton_tables()["sternum"]
    return [_sternal_part(anatomy, table[name], table["gap_mm"]) for name in ("manubrium", "body", "xiphoid")]


def _sternal_part(anatomy: Anatomy, part: dict[str, Any], gap_mm: float) -> Slab:
    sx, _, sz = anatomy.scale
    half = np.asarray(part["outline"], dtype=float) * [sx, sz]
    mirrored = half[1:-1][::-1] * [-1.0, 1.0]
    outline = smooth_outline(np.vstack([half, mirrored]), 40)
    z = part["z"] * sz
    low, high = half[:, 1].min(), half[:, 1].max()
    y_low, y_high = front_of_cage(anatomy, [z + low, z + high])
    slope = np.array([0.0, y_high - y_low, high - low])
    up = slope / np.linalg.norm(slope)
    normal = np.array([0.0, -up[2], up[1]])
    centre = np.array([0.0, y_low + (y_high - y_low) * (-low) / (high - low), z])
    reach = gap_mm + part["half_thickness"]
    frame = np.array([[1.0, 0.0, 0.0], up, normal])
    return Slab(centre + reach * normal, frame, outline, part["half_thickness"], rounding_mm=2.0)
