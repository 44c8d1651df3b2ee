"""Shoulder girdle: clavicles, scapulae and humeri, with the arms up or down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.shapes import Ellipsoid, Vector
from drrval.phantom.skeleton_ribs import on_cage, sternum
from drrval.phantom.skeleton_shapes import Bar, Slab, bar, smooth_outline
from drrval.phantom.skeleton_tables import skeleton_tables


@dataclass(frozen=True)
class Shoulder:
    """Landmarks of one shoulder, LPS mm, from which bones and muscles are made.

    Attributes:
        side: -1 right, 1 left.
        superior_angle, inferior_angle, medial: of the shoulder blade.
        glenoid: middle of the socket.
        head: centre of the humeral head.
        arm: unit vector from the shoulder to the elbow.
        acromion: (3, 3) from the blade's spine to the clavicle.
        sternal: sternal end of the clavicle.
    """

    side: int
    superior_angle: Vector
    inferior_angle: Vector
    medial: Vector
    glenoid: Vector
    head: Vector
    arm: Vector
    acromion: Vector
    sternal: Vector

    @property
    def blade_frame(self) -> Vector:
        """(3, 3) rows: to the socket, up along the inner border, and outwards (away from the ribs)."""
        up = self.superior_angle - self.inferior_angle
        up = up / np.linalg.norm(up)
        lateral = self.glenoid - (self.superior_angle + self.inferior_angle) / 2.0
        lateral = lateral - (lateral @ up) * up
        lateral /= np.linalg.norm(lateral)
        outward = np.cross(lateral, up)
        return np.array([lateral, up, outward if outward[1] > 0 else -outward])

    def on_blade(self, points: npt.ArrayLike, outward_mm: float = 0.0) -> Vector:
        """Points (..., 3) moved along the blade's normal until they lie this far outside its bent middle surface."""
        centre, bend_u, bend_v = self.blade_surface
        local = (np.asarray(points, dtype=float) - centre) @ self.blade_frame.T
        local[..., 2] = bend_u * local[..., 0] ** 2 + bend_v * local[..., 1] ** 2 + outward_mm
        return np.asarray(centre + local @ self.blade_frame)

    @property
    def blade_surface(self) -> tuple[Vector, float, float]:
        """Origin and bends (1/mm) of a surface through both angles, the inner border and the socket."""
        frame = self.blade_frame
        border = (self.superior_angle + self.inferior_angle) / 2.0
        half = float(np.linalg.norm(self.superior_angle - border))
        medial, socket = ((point - border) @ frame.T for point in (self.medial, self.glenoid))
        rise = medial[2] / (1.0 - (medial[1] / half) ** 2)
        bend_v = -rise / half**2
        bend_u = (socket[2] - rise - bend_v * socket[1] ** 2) / socket[0] ** 2
        return border + rise * frame[2], float(bend_u), float(bend_v)


@lru_cache(maxsize=4)
def shoulders(anatomy: Anatomy) -> tuple[Shoulder, Shoulder]:
    """Landmarks of the right and the left shoulder, with the arms as the anatomy has them."""
    return _shoulder(anatomy, -1), _shoulder(anatomy, 1)


def _shoulder(anatomy: Anatomy, side: int) -> Shoulder:
    entry = skeleton_tables()["shoulder"][anatomy.arms]
    clavicle = skeleton_tables()["shoulder"]["clavicle"]
    mirror = np.array([side, 1.0, 1.0])
    blade = {name: _on_blade(anatomy, entry[name], side) for name in ("superior_angle", "medial", "inferior_angle")}
    manubrium = sternum(anatomy)[0]
    beside, above = clavicle["start"]
    sternal = manubrium.centre + manubrium.frame.T @ [side * beside * anatomy.scale[0], above * anatomy.scale[2], -1.0]
    arm = np.asarray(entry["arm"]) * mirror
    return Shoulder(
        side,
        glenoid=anatomy.points(entry["glenoid"]) * mirror,
        head=anatomy.points(entry["head"]) * mirror,
        arm=arm / np.linalg.norm(arm),
        acromion=anatomy.points(entry["acromion"]) * mirror,
        sternal=sternal,
        **blade,
    )


def _on_blade(anatomy: Anatomy, place: list[float], side: int) -> Vector:
    azimuth, z, offset = place
    axis_y = skeleton_tables()["ribs"]["axis_y"] * anatomy.scale[1]
    height = np.array([z * anatomy.scale[2]])
    points, _ = on_cage(anatomy.loft("cage"), np.array([side * azimuth]), height, axis_y, offset)
    return np.asarray(points[0])


def clavicle(place: Shoulder) -> Bar:
    """S-shaped: bowed forwards near the sternum and backwards near the acromion."""
    table = skeleton_tables()["shoulder"]["clavicle"]
    end = place.acromion[-1]
    way = end - place.sternal
    front = np.cross([0.0, 0.0, -float(place.side)], way)
    front /= np.linalg.norm(front)
    bow = np.outer(table["front"], front) + np.outer(table["up"], [0.0, 0.0, 1.0])
    points = place.sternal + np.outer(table["at"], way) + bow
    return bar(points, table["half_width"], table["half_thickness"], wide=front)


def scapula(place: Shoulder) -> list[Slab | Bar]:
    """Blade with thick outer border, spine, acromion, coracoid process and socket."""
    table = skeleton_tables()["shoulder"]["blade"]
    frame = place.blade_frame
    root = place.on_blade(place.medial + table["spine_root"] * (place.superior_angle - place.medial))
    ways = np.linspace(0.0, 1.0, 5)[:, None]
    border = place.on_blade(place.inferior_angle + ways * (place.glenoid - place.inferior_angle) - 4.0 * frame[0])
    return [
        _blade(place, table),
        bar(border, *table["lateral_border"], wide=frame[2]),
        _spine(place, root, table),
        *_processes(place),
    ]


def _blade(place: Shoulder, table: dict[str, Any]) -> Slab:
    """A thin, bent triangle between the two angles and the socket."""
    frame = place.blade_frame
    centre, bend_u, bend_v = place.blade_surface
    top, tip, end, medial = (
        ((point - centre) @ frame.T)[:2]
        for point in (place.superior_angle, place.inferior_angle, place.glenoid, place.medial)
    )
    corners = [
        top,
        top + 0.55 * (end - top) + [0.0, 4.0],
        end + np.array([-12.0, 14.0]),
        end + np.array([-8.0, -14.0]),
        tip + 0.45 * (end - tip) + [-3.0, 0.0],
        tip + np.array([6.0, 2.0]),
        tip + np.array([-6.0, 3.0]),
        np.array([min(medial[0], -4.0), 8.0]),
    ]
    thick = table["half_thickness"]
    return Slab(centre, frame, smooth_outline(corners, 36), thick, bend=(bend_u, bend_v), rounding_mm=0.9 * thick)


def _spine(place: Shoulder, root: Vector, table: dict[str, Any]) -> Bar:
    outward = place.blade_frame[2]
    end = place.acromion[0]
    fractions = np.array([0.0, 0.3, 0.7, 1.0])
    height = table["spine_height"] * np.array([0.3, 0.75, 1.0, 0.8])
    points = root + fractions[:, None] * (end - root)
    points[:3] = [place.on_blade(point, h) for point, h in zip(points[:3], height[:3], strict=True)]
    return bar(points, height, table["spine_thickness"], wide=outward)


def _processes(place: Shoulder) -> list[Bar]:
    table = skeleton_tables()["shoulder"]
    frame = place.blade_frame
    socket, hook, flat = table["glenoid"], table["coracoid"], table["acromion"]
    neck = place.glenoid - socket["length"] * np.array([[1.0], [0.5], [0.1]]) * frame[0]
    mirror = np.array([place.side, 1.0, 1.0])
    coracoid = [place.glenoid + np.asarray(hook[name]) * mirror for name in ("root", "bend", "tip")]
    return [
        bar(neck, socket["half_width"], socket["half_thickness"], wide=frame[1]),
        bar(
            place.acromion,
            flat["half_width"],
            flat["half_thickness"],
            wide=np.cross(place.acromion[2] - place.acromion[0], [0, 0, 1.0]),
        ),
        bar(coracoid, hook["radii"], hook["radii"], wide=frame[2]),
    ]


def humeral_head(place: Shoulder) -> list[Ellipsoid | Bar]:
    """Head, tubercles and neck of the humerus."""
    table = skeleton_tables()["shoulder"]["humerus"]
    start = place.head + 6.0 * place.arm
    neck = bar(
        [start, place.head + table["neck_mm"] * place.arm],
        [table["head"] - 2.0, table["neck"] - 3.0],
        [table["head"] - 3.0, table["neck"] - 3.0],
    )
    return [Ellipsoid(place.head, [table["head"]] * 3), neck]


def humeral_shaft(place: Shoulder) -> Bar:
    """Shaft of the humerus."""
    table = skeleton_tables()["shoulder"]["humerus"]
    ends = [place.head + mm * place.arm for mm in (table["neck_mm"] - 6.0, table["neck_mm"] + 30.0, table["length_mm"])]
    radii = [table["neck"] - 4.0, table["shaft"], table["shaft"]]
    return bar(ends, radii, radii, step_mm=8.0)
