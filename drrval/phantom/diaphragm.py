"""The diaphragm as a surface, and the organs under it."""

from __future__ import annotations

from typing import Any

import numpy as np

from drrval.phantom.anatomy import Anatomy, reference, tissue_hu
from drrval.phantom.breath import Breath
from drrval.phantom.canvas import Canvas, Field
from drrval.phantom.labels import Label
from drrval.phantom.shapes import Ellipsoid, HeightMap, Vector

_STEP_MM = 2.0
_MUSCLE_MM = 3.5
_GAP_MM = 2.5  # fat and peritoneum between the diaphragm and an organ
_SADDLE_MM = 9.0  # the two halves merge over this width under the heart


def diaphragm(anatomy: Anatomy, breath: Breath) -> HeightMap:
    """Upper surface of the diaphragm: two domes that fall steeply to the chest wall, joined under the heart."""
    half = 0.75 * anatomy.chest_width_mm
    x = np.arange(-half, half, _STEP_MM)
    y = np.arange(-anatomy.chest_depth_mm, anatomy.chest_depth_mm, _STEP_MM)
    right, left = (_dome(anatomy, name, x[None, :], y[:, None]) for name in ("right", "left"))
    share = 1.0 / (1.0 + np.exp(-(x[None, :] - 4.0) / _SADDLE_MM))
    heights = right * (1.0 - share) + left * share + breath.lift_mm
    return HeightMap(heights, (float(x[0]), float(y[0])), _STEP_MM)


def _dome(anatomy: Anatomy, name: str, x: Vector, y: Vector) -> Vector:
    dome = reference()["diaphragm"][name]
    outwards = -1.0 if name == "right" else 1.0
    sx, sy, sz = anatomy.scale
    top = anatomy.points(dome["top"])
    u, v = (x - top[0]) * outwards / sx, (y - top[1]) / sy
    ways = (("lateral", u), ("medial", -u), ("front", -v), ("back", v))
    power = reference()["diaphragm"]["power"]
    fall = sum(dome[way][1] * (np.maximum(t, 0.0) / dome[way][0]) ** power for way, t in ways)
    return np.asarray(top[2] - np.minimum(fall, 220.0) * sz)


def paint_abdomen(canvas: Canvas, anatomy: Anatomy, breath: Breath, cavity: Field, below: Field) -> None:
    """Paint the diaphragm, and fat, liver, spleen, stomach, colon and kidney below it.

    Args:
        canvas: to paint on.
        anatomy, breath: whose abdomen.
        cavity: inside of the rib cage.
        below: under the upper surface of the diaphragm.
    """
    hu = tissue_hu()
    room = cavity.inside(below)
    canvas.paint(room, hu["muscle"], label=Label.DIAPHRAGM)
    room = room.grown(-_MUSCLE_MM)
    canvas.paint(room, hu["mediastinal_fat"], label=Label.FAT)
    room = room.grown(-_GAP_MM)
    for organ in reference()["abdomen"]:
        region = canvas.distance([_organ(anatomy, organ, breath)]).inside(room)
        label = Label[organ["label"]] if organ["label"] else Label.MUSCLE
        canvas.paint(region, hu[organ["tissue"]], label=label)
    if anatomy.stomach_gas > 0:
        bubble = canvas.distance([_organ(anatomy, reference()["gas_bubble"], breath, anatomy.stomach_gas)])
        canvas.paint(bubble.inside(room.grown(-3.0)), hu["gas"], label=Label.BOWEL_GAS)
    if anatomy.colon_gas > 0:
        entry = reference()["colon"]
        canvas.paint(canvas.distance([_organ(anatomy, entry, breath)]).inside(room), hu["bowel_wall"], label=Label.FAT)
        gas = _organ(anatomy, {**entry, "radii": entry["gas"]}, breath, anatomy.colon_gas)
        canvas.paint(canvas.distance([gas]).inside(room.grown(-3.0)), hu["gas"], label=Label.BOWEL_GAS)


def _organ(anatomy: Anatomy, entry: dict[str, Any], breath: Breath, size: float = 1.0) -> Ellipsoid:
    centre = anatomy.points(entry["centre"]) + np.array([0.0, 0.0, breath.lift_mm])
    return Ellipsoid(centre, np.asarray(entry["radii"]) * anatomy.scale * size, entry["tilt_deg"])
