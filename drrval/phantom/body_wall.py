"""Skin, subcutaneous fat, muscles and breasts: the body before anything is put inside."""

from __future__ import annotations

import numpy as np

from drrval.phantom.anatomy import Anatomy, reference
from drrval.phantom.body_wall_breast import paint_breasts
from drrval.phantom.body_wall_hull import STEP_MM, azimuth_axis_y, body_hull
from drrval.phantom.body_wall_kernel import lay_wall
from drrval.phantom.body_wall_sheets import AZIMUTH_STEP_DEG, Z_LIMITS_MM, Z_STEP_MM, wall_tables
from drrval.phantom.canvas import Canvas, Field
from drrval.phantom.labels import Label
from drrval.phantom.shapes import Vector
from drrval.phantom.shoulder_muscles import shoulder_muscles
from drrval.phantom.shoulders import shoulders
from drrval.phantom.skeleton_shapes import REACH_MM, Bar

_APEX_MM = 128.0  # height of the reference adult's first intercostal muscle
_CLOSED = 1.2  # voxels; the label of the skin is never thinner, so that it has no holes
_WIDEST_MM = 235.0  # half width of the field; raised arms leave it upwards, hanging ones to the sides


def paint_body_wall(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint the body with its skin, fat, muscle sheets and breasts; the inside of the rib cage is filled with muscle.

    Args:
        canvas: air so far; ``hu`` and ``labels`` are changed in place.
        anatomy: whose body.
    """
    hull = body_hull(anatomy)
    tables = wall_tables()
    tissue = tables["tissue_hu"]
    closed = _CLOSED * max(canvas.spacing_mm)
    thickness = tables["skin_mm"]["breast" if anatomy.breast_mm > 0 else "chest"]
    lay_wall(
        canvas.hu,
        canvas.labels,
        np.asarray(canvas.to_patient, dtype=float),
        float(canvas.edge_mm),
        hull.skin,
        hull.cage,
        hull.origin,
        STEP_MM,
        hull.sheets,
        np.array([Z_LIMITS_MM[0], Z_STEP_MM, AZIMUTH_STEP_DEG, azimuth_axis_y(anatomy)]),
        np.array([*tables["ribs_mm"], tables["plane_mm"], thickness, _APEX_MM * anatomy.scale[2], closed]),
        np.array([tissue["skin"], tissue["fat"], tissue["muscle"]], dtype=float),
        np.array([Label.SKIN, Label.FAT, Label.MUSCLE], dtype=np.uint8),
    )
    for place in shoulders(anatomy):
        for part in shoulder_muscles(anatomy, place):
            _paint_under_skin(canvas, part, tissue["muscle"])
    paint_breasts(canvas, anatomy)


def _paint_under_skin(canvas: Canvas, muscle: Bar, hu: float) -> None:
    """Paint a muscle where there is fat or muscle; it never comes through the skin."""
    field = canvas.distance([muscle])
    labels = canvas.labels[field.box]
    below = (labels == Label.FAT) | (labels == Label.MUSCLE)
    canvas.paint(Field(field.box, np.where(below, field.mm, REACH_MM).astype(np.float32)), hu, label=Label.MUSCLE)


def body_box(anatomy: Anatomy) -> tuple[Vector, Vector]:
    """Lowest and highest corner (x, y, z) of the skin inside the field, patient's frame, mm.

    The field ends at the heights of the reference tables and, to the sides, where arms would leave the scanner.
    """
    hull = body_hull(anatomy)
    low_z, high_z = np.array([reference()["extent"]["bottom"], reference()["extent"]["top"]]) * anatomy.scale[2]
    x, y, z = (axis.ravel() for axis in hull.axes)
    inside = hull.skin[(z >= low_z) & (z <= high_z)] < 0
    columns, rows = x[inside.any(axis=(0, 1))], y[inside.any(axis=(0, 2))]
    half = min(float(np.abs(columns).max()) + STEP_MM, _WIDEST_MM)
    return np.array([-half, rows[0] - STEP_MM, low_z]), np.array([half, rows[-1] + STEP_MM, high_z])
