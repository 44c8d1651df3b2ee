"""A CT of a healthy chest whose anatomy is known voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.errors import StudyError
from drrval.phantom.accessories import Accessories, paint_accessories
from drrval.phantom.anatomy import Anatomy, check_range, reference, tissue_hu
from drrval.phantom.body_wall import body_box, paint_body_wall
from drrval.phantom.breath import Breath
from drrval.phantom.canvas import Canvas
from drrval.phantom.diaphragm import paint_abdomen
from drrval.phantom.labels import Label, lobes_of, lungs_of
from drrval.phantom.lungs import lung_field, paint_lungs
from drrval.phantom.lungs_trees import paint_trees
from drrval.phantom.mediastinum import paint_airways, paint_mediastinum
from drrval.phantom.pose import Pose
from drrval.phantom.skeleton import paint_skeleton
from drrval.volume import Grid

SPACING_MM = (0.5, 8.0)  # smallest and largest voxel edge
INSPIRATION = (0.6, 1.05)
_AIR_MM = 8.0  # around the body
_TABLE_MM = 62.0  # behind the back, for the table


@dataclass(frozen=True)
class Thorax:
    """A noise-free CT of a healthy chest.

    Attributes:
        hu: float32 ``[z, y, x]``, Hounsfield units, at least -1000.
        labels: uint8 ``[z, y, x]``, :class:`drrval.phantom.Label`.
        grid: axis-aligned LPS grid of both.
        anatomy: whose chest.
    """

    hu: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    grid: Grid
    anatomy: Anatomy

    @property
    def lungs(self) -> npt.NDArray[np.uint8]:
        """uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung; vessels and bronchi inside count as lung."""
        return lungs_of(self.labels)

    @property
    def lobes(self) -> npt.NDArray[np.uint8]:
        """uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5 (right upper, middle, lower, left upper, lower)."""
        return lobes_of(self.labels)


def make_thorax(
    anatomy: Anatomy,
    *,
    spacing_mm: float | tuple[float, float, float] = 2.0,
    inspiration: float = 1.0,
    pose: Pose | None = None,
    table: bool = True,
    accessories: Accessories | None = None,
    size: tuple[int, int, int] | None = None,
) -> Thorax:
    """Build a chest from the lower neck to the upper abdomen, without noise and disease.

    Args:
        anatomy: whose chest.
        spacing_mm: voxel spacing, one for all or (x, y, z), mm, each 0.5 to 8.
        inspiration: lung volume as a fraction of full inspiration, 0.6 to 1.05; lower means higher domes and
            denser lungs.
        pose: how the patient lies; straight in the middle by default.
        table: whether the CT table is in the field; ``accessories`` has its own say.
        accessories: clothing, electrodes and table; by default the table alone.
        size: voxels (x, y, z) of the field of view, centred on the body; by default just enough for the body.

    Raises:
        StudyError: a value outside its range.
    """
    spacing = _spacing(spacing_mm)
    check_range("inspiration", inspiration, *INSPIRATION)
    placing = pose or Pose()
    canvas = _canvas(anatomy, spacing, placing, size)
    breath = Breath.of(anatomy, inspiration)
    paint_body_wall(canvas, anatomy)
    lung, cavity, below = lung_field(canvas, anatomy, breath)
    canvas.paint(cavity, tissue_hu()["mediastinal_fat"], label=Label.MEDIASTINAL_FAT)
    paint_abdomen(canvas, anatomy, breath, cavity, below)
    paint_mediastinum(canvas, anatomy, breath, cavity.without(below))
    paint_lungs(canvas, lung, anatomy, breath, inspiration)
    paint_trees(canvas, lung, anatomy, breath)
    paint_airways(canvas, anatomy, breath)
    paint_skeleton(canvas, anatomy)
    paint_accessories(canvas, anatomy, accessories or Accessories(table=table))
    return Thorax(canvas.hu, canvas.labels, canvas.grid, anatomy)


def _spacing(spacing_mm: float | Sequence[float]) -> tuple[float, float, float]:
    values = np.atleast_1d(np.asarray(spacing_mm, dtype=float))
    if values.shape not in ((1,), (3,)):
        raise StudyError(f"spacing_mm={spacing_mm!r}. Give one number or three (x, y, z).")
    x, y, z = np.broadcast_to(values, 3)
    for value in (x, y, z):
        check_range("spacing_mm", float(value), *SPACING_MM)
    return float(x), float(y), float(z)


def _canvas(
    anatomy: Anatomy, spacing: tuple[float, float, float], pose: Pose, size: tuple[int, int, int] | None
) -> Canvas:
    """A grid around the body; its range along z moves with the patient."""
    motion = pose.motion()
    low, high = body_box(anatomy)
    bottom, top = np.array([reference()["extent"]["bottom"], reference()["extent"]["top"]]) * anatomy.scale[2]
    low, high = np.array([low[0], low[1], bottom]), np.array([high[0], high[1], top])
    moved = motion.points(np.stack(np.meshgrid(*np.column_stack([low, high])), axis=-1).reshape(-1, 3))
    low[:2] = moved.min(axis=0)[:2] - _AIR_MM
    high[:2] = moved.max(axis=0)[:2] + np.array([_AIR_MM, _TABLE_MM])
    low[2], high[2] = np.array([bottom, top]) + motion.shift[2]
    if size is not None:
        middle, half = (low + high) / 2.0, np.asarray(size) * spacing / 2.0
        low, high = middle - half, middle + half
    return Canvas(low, high, spacing, motion)
