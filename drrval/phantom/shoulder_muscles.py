"""Muscles of neck, shoulder and upper arm, and the outline that they give to the body."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.phantom.anatomy import Anatomy
from drrval.phantom.body_wall_sheets import wall_tables
from drrval.phantom.shapes import Vector
from drrval.phantom.shoulders import Shoulder, clavicle, scapula
from drrval.phantom.skeleton_shapes import Bar, bar
from drrval.phantom.skeleton_spine import arch, vertebrae

_COVER_MM = 6.0


def outer_shapes(anatomy: Anatomy, places: tuple[Shoulder, ...]) -> list[Bar]:
    """Neck, spinous processes, shoulders and arms without fat and skin, as thick rods that overlap the chest wall."""
    table = wall_tables()["neck"]
    width = float(anatomy.scale[0])
    neck = bar(
        anatomy.points(table["points"]),
        np.asarray(table["half_width"]) * width,
        np.asarray(table["half_thickness"]) * width,
        wide=[1.0, 0.0, 0.0],
        step_mm=8.0,
    )
    tips = [arch(vertebra)[-1].points[-1] for vertebra in vertebrae(anatomy)]
    return [
        neck,
        bar(tips, 7.0, 7.0, step_mm=12.0),
        *(part for place in places for part in _shoulder_outline(anatomy, place)),
    ]


def _shoulder_outline(anatomy: Anatomy, place: Shoulder) -> list[Bar]:
    size = float(anatomy.scale[0])
    top = place.acromion[1]
    bones = [clavicle(place), *(part for part in scapula(place) if isinstance(part, Bar))]
    elbow = place.head + 300.0 * place.arm
    middle = place.head + 90.0 * place.arm
    nape = np.array([0.2 * place.acromion[0][0], place.superior_angle[1] - 16.0, place.acromion[0][2] - 8.0])
    armpit = anatomy.points([116, 6, 62]) * [place.side, 1.0, 1.0]
    return [
        bar([place.head, middle, elbow], np.array([40, 42, 36]) * size, np.array([38, 40, 34]) * size, step_mm=8.0),
        bar([nape, 0.5 * (nape + top), top], 18.0 * size, 14.0 * size, wide=[0, 0.3, 1.0]),
        *(_covered(bone) for bone in bones),
        bar([top, place.head], 26.0 * size, 26.0 * size),
        bar([armpit, place.head], [14, 34], [12, 34], wide=[0, 1.0, 0]),
        bar(_blade_line(place, 4.0), [20, 34, 30], [6, 11, 16], wide=place.blade_frame[1]),
        bar(_pectoral_fold(anatomy, place), [16, 19, 14], [7, 8, 9], wide=[0, 0, 1.0]),
        bar(_latissimus_fold(place), [12, 22, 16], [6, 10, 10], wide=place.arm),
        bar(
            [_pectoral_fold(anatomy, place)[1], place.head + 20.0 * place.arm], 24.0 * size, 16.0 * size, wide=place.arm
        ),
    ]


def _covered(bone: Bar) -> Bar:
    """A bone with the soft tissue that always covers it."""
    kept = np.unique(np.linspace(0, len(bone.points) - 1, len(bone.points) // 4 + 2).astype(int))
    half_width, half_thickness = bone.half_width[kept] + _COVER_MM, bone.half_thickness[kept] + _COVER_MM
    return Bar(bone.points[kept], bone.wide[kept], half_width, half_thickness)


def _blade_line(place: Shoulder, outward_mm: float) -> Vector:
    """Across the shoulder blade from its inner border to the humeral head, this far outside its plane."""
    start = 0.8 * place.medial + 0.2 * place.inferior_angle
    middle = 0.35 * start + 0.35 * place.glenoid + 0.3 * place.inferior_angle
    end = place.head - 6.0 * place.arm + 0.5 * outward_mm * place.blade_frame[2]
    return np.vstack([place.on_blade([start, middle], outward_mm), end])


def _pectoral_fold(anatomy: Anatomy, place: Shoulder) -> Vector:
    """From the front of the chest over the armpit to the upper arm."""
    mirror = np.array([place.side, 1.0, 1.0])
    start = anatomy.points([94, -54, 58]) * mirror
    end = place.head + 46.0 * place.arm + [0.0, -10.0, 0.0]
    return np.stack([start, 0.5 * (start + end) + np.array([8.0, 2.0, -6.0]) * mirror, end])


def _latissimus_fold(place: Shoulder) -> Vector:
    """From the lower angle of the shoulder blade behind the armpit to the upper arm."""
    end = place.head + 44.0 * place.arm
    start = place.inferior_angle + 6.0 * place.blade_frame[0]
    return np.stack([start, 0.55 * start + 0.45 * end, end])


def shoulder_muscles(anatomy: Anatomy, place: Shoulder) -> list[Bar]:
    """Separate muscles around one shoulder and on its side of the neck, as thick as the anatomy has them."""
    return [
        *_around_blade(anatomy, place),
        *_upper_arm(place, anatomy.muscle),
        *_deltoid(place, anatomy.muscle),
        _trapezius(place, anatomy.muscle),
        *_neck(anatomy, place.side),
    ]


def _around_blade(anatomy: Anatomy, place: Shoulder) -> list[Bar]:
    """Infraspinatus, subscapularis, supraspinatus, teres major with latissimus, pectoralis major."""
    _, up, outward = place.blade_frame
    muscle = anatomy.muscle
    fossa = 0.6 * place.superior_angle + 0.4 * place.glenoid + 8.0 * outward + 3.0 * up
    above_spine = [place.superior_angle + 6.0 * outward, fossa, place.head + 18.0 * up]
    return [
        _belly(_blade_line(place, 9.0), [16, 27, 12], [5, 8, 6], muscle, up),
        _belly(_blade_line(place, -8.0), [24, 30, 12], [4, 7, 6], muscle, up),
        _belly(above_spine, [7, 10, 5], [6, 9, 5], muscle, up),
        _belly(_latissimus_fold(place), [9, 18, 9], [5, 9, 5], muscle, place.arm),
        _belly(_pectoral_fold(anatomy, place), [13, 15, 9], [6, 7, 5], muscle, [0.0, 0.0, 1.0]),
    ]


def _upper_arm(place: Shoulder, muscle: float) -> list[Bar]:
    """Biceps in front of the humerus, triceps behind."""
    ahead = np.array([0.0, -1.0, 0.0]) + place.arm[1] * place.arm
    ahead *= 15.0 / np.linalg.norm(ahead)
    sideways = np.cross(ahead, place.arm)
    near, middle, elbow = (place.head + mm * place.arm for mm in (30.0, 80.0, 300.0))
    return [
        _belly([near + 1.1 * ahead, middle + 1.3 * ahead, elbow + ahead], [10, 18, 12], [8, 14, 9], muscle, sideways),
        _belly([near - 1.1 * ahead, middle - 1.4 * ahead, elbow - ahead], [12, 20, 14], [9, 15, 10], muscle, sideways),
    ]


def _deltoid(place: Shoulder, muscle: float) -> list[Bar]:
    """Three parts from the acromion over the humeral head to the outside of the shaft."""
    top = place.acromion[1]
    side = np.array([float(place.side), 0.0, 0.0])
    insertion = place.head + 100.0 * place.arm + 9.0 * side
    return [
        _belly(
            [top + shift, place.head + 30.0 * side + shift, insertion],
            [12, 16, 6],
            [6, 8, 5],
            muscle,
            [turn * place.side, 1.0, 0.0],
        )
        for shift, turn in (
            (9.0 * side, 0.0),
            (3.0 * side + [0.0, -20.0, -6.0], 1.0),
            (3.0 * side + [0.0, 20.0, -6.0], -1.0),
        )
    ]


def _trapezius(place: Shoulder, muscle: float) -> Bar:
    """The upper part, from the nape to the acromion; the rest is a sheet on the back."""
    top, back = place.acromion[1], place.superior_angle[1]
    nape = np.array([0.12 * top[0], back, top[2] + 26.0])
    shoulder = np.array([0.45 * top[0], back - 22.0, top[2] + 8.0])
    return _belly([nape, shoulder, top], [14, 15, 9], [6, 7, 5], muscle, [0.0, 1.0, 0.3])


def _belly(
    points: npt.ArrayLike, half_width: list[float], half_thickness: list[float], muscle: float, wide: npt.ArrayLike
) -> Bar:
    return bar(points, half_width, muscle * np.asarray(half_thickness, dtype=float), wide=wide)


def _neck(anatomy: Anatomy, side: int) -> list[Bar]:
    return [
        _belly(
            anatomy.points(entry["points"]) * [side, 1.0, 1.0],
            entry["half_width"],
            entry["half_thickness"],
            anatomy.muscle,
            [0.0, 1.0, 0.0],
        )
        for entry in wall_tables()["muscles"]
    ]
