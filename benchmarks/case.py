"""The common input of all tools: one folder with the volume and the views, readable with NumPy alone.

World coordinates are LPS millimetres with the centre of the volume at the origin, which is the isocentre too; the axes
of the volume are those of the world.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import emit

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """Source and panel of one view; all vectors (x, y, z).

    Attributes:
        source_mm, detector_centre_mm: positions, mm.
        column_axis, row_axis: unit vectors of increasing column and row.
    """

    source_mm: Vector
    detector_centre_mm: Vector
    column_axis: Vector
    row_axis: Vector

    @property
    def towards_detector(self) -> npt.NDArray[np.float64]:
        """Unit vector from the source to the panel, along its normal."""
        beam = np.subtract(self.detector_centre_mm, self.source_mm)
        return beam / np.linalg.norm(beam)


@dataclass(frozen=True)
class Case:
    """What every tool projects.

    Attributes:
        shape: voxels (z, y, x).
        spacing_mm, origin_mm: voxel spacing and centre of voxel [0, 0, 0], (x, y, z).
        detector: (rows, columns).
        pixel_mm: pixel pitch.
        source_isocentre_mm, source_detector_mm: distances.
        threads: threads that a tool may use.
        views: by name.
    """

    shape: tuple[int, int, int]
    spacing_mm: Vector
    origin_mm: Vector
    detector: tuple[int, int]
    pixel_mm: float
    source_isocentre_mm: float
    source_detector_mm: float
    threads: int
    views: dict[str, View]

    @property
    def index_to_world(self) -> npt.NDArray[np.float64]:
        """(4, 4) matrix from (x, y, z) voxel indices to millimetres."""
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix


def camera_to_world(view: View) -> npt.NDArray[np.float64]:
    """(4, 4) matrix from camera coordinates (along a row, down a column, towards the panel; source at 0) to mm."""
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([view.column_axis, view.row_axis, view.towards_detector, view.source_mm])
    return matrix


def save_case(case: Case, folder: Path) -> None:
    """Write ``case.json``."""
    (folder / "case.json").write_text(json.dumps(asdict(case), indent=1))


def load_case(folder: Path) -> Case:
    """Read ``case.json``."""
    values: dict[str, Any] = json.loads((folder / "case.json").read_text(), object_hook=_with_tuples)
    return Case(**values | {"views": {name: View(**view) for name, view in values["views"].items()}})


def hounsfield(folder: Path) -> npt.NDArray[np.int16]:
    """The volume in Hounsfield units, int16 ``[z, y, x]``."""
    return np.load(folder / "hu.npy")


def density(folder: Path) -> npt.NDArray[np.float32]:
    """The same volume as mass density, float32 ``[z, y, x]``, g/cm3; also in ``density.mha``."""
    return np.load(folder / "density.npy")


def report(folder: Path, image: npt.NDArray[Any], **result: Any) -> None:
    """Keep the image of a tool and print its result.

    Args:
        folder: where ``image.npy`` goes.
        image: area density of all materials together, g/cm2, ``[row, col]`` as :class:`View` counts them.
        **result: ``tool``, ``version``, ``method``, ``voxels`` (what the tool was given), ``materials``, ``seconds``
            (the duration of each run) and ``peak_rss_mb``.
    """
    np.save(folder / "image.npy", np.asarray(image, np.float32))
    emit(result)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
