"""Views: where source and detector stand, and which way the displayed radiograph looks.

A displayed radiograph shows the patient's right on the left of the image for PA and AP alike, and a left lateral shows
the front of the patient on the left; rows always run from head to feet. All positions are LPS millimetres (x to the
patient's left, y to the back, z to the head).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from drrval.errors import GeometryError

# view -> (beam direction from source to detector, direction of increasing column); DICOM ViewPosition names.
_VIEWS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "PA": ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    "AP": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "LL": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
}
_ROW_AXIS = (0.0, 0.0, -1.0)
VIEWS = tuple(_VIEWS)


@dataclass(frozen=True)
class Preset:
    """A named acquisition geometry.

    Attributes:
        name: preset name.
        rows, columns: detector pixels.
        pixel_mm: detector pixel pitch, mm.
        sid_mm: source-to-image-receptor distance (SID), mm.
        isocentre_to_detector_mm: distance of the body's centre in front of the panel, mm.
        grid: whether an anti-scatter grid stands before the panel.
        display_g_cm2: soft tissue, g/cm2, that a fixed display shows as black and, nearly, as white.
        warning: what a user of this preset must know, or an empty string.
    """

    name: str
    rows: int
    columns: int
    pixel_mm: float
    sid_mm: float
    isocentre_to_detector_mm: float
    grid: bool
    display_g_cm2: tuple[float, float] = (0.0, 32.0)
    warning: str = ""

    @property
    def magnification(self) -> float:
        """Magnification at the isocentre."""
        return self.sid_mm / (self.sid_mm - self.isocentre_to_detector_mm)


@cache
def presets() -> dict[str, Preset]:
    """All geometry presets by name (from ``geometry_presets.yaml``)."""
    table = yaml.safe_load(files("drrval").joinpath("geometry_presets.yaml").read_text(encoding="utf-8"))
    return {name: Preset(name=name, **values) for name, values in table["presets"].items()}


@cache
def default_preset(view: str) -> str:
    """Name of the preset that a view uses when none is asked for."""
    table = yaml.safe_load(files("drrval").joinpath("geometry_presets.yaml").read_text(encoding="utf-8"))
    _check_view(view)
    return str(table["default_for_view"][view])


@dataclass(frozen=True)
class Geometry:
    """One cone-beam view.

    Attributes:
        view: DICOM view position: ``PA``, ``AP`` or ``LL``.
        source_mm: focal spot, LPS mm.
        detector_centre_mm: centre of the panel, LPS mm.
        column_axis: unit vector of increasing column.
        row_axis: unit vector of increasing row.
        shape: (rows, columns).
        pixel_mm: pixel pitch, mm.
        preset: name of the preset this view was made from.
        isocentre_to_detector_mm: distance of the body's centre in front of the panel, mm (scatter depends on it).
        anti_scatter_grid: whether a grid stands before the panel.
        display_g_cm2: soft tissue, g/cm2, that a fixed display shows as black and, nearly, as white.
    """

    view: str
    source_mm: tuple[float, float, float]
    detector_centre_mm: tuple[float, float, float]
    column_axis: tuple[float, float, float]
    row_axis: tuple[float, float, float]
    shape: tuple[int, int]
    pixel_mm: float
    preset: str = "custom"
    isocentre_to_detector_mm: float = 170.0
    anti_scatter_grid: bool = False
    display_g_cm2: tuple[float, float] = (0.0, 32.0)

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the panel, pointing from the source side to beyond the panel."""
        normal = np.cross(self.column_axis, self.row_axis)
        beam = np.asarray(self.detector_centre_mm) - np.asarray(self.source_mm)
        return normal if normal @ beam > 0 else -normal

    @property
    def sid_mm(self) -> float:
        """Perpendicular distance from the source to the panel, mm."""
        return float(self.normal @ (np.asarray(self.detector_centre_mm) - np.asarray(self.source_mm)))

    def pixel_position(self, row: npt.ArrayLike, column: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """LPS position (..., [x, y, z]) of pixel centres; fractional and array indices allowed."""
        u = (np.asarray(column, dtype=float) - (self.shape[1] - 1) / 2.0) * self.pixel_mm
        v = (np.asarray(row, dtype=float) - (self.shape[0] - 1) / 2.0) * self.pixel_mm
        return (
            np.asarray(self.detector_centre_mm)
            + u[..., None] * np.asarray(self.column_axis)
            + v[..., None] * np.asarray(self.row_axis)
        )

    def project_points(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional pixel (..., [row, column]) where each LPS point (..., [x, y, z]) is imaged."""
        ray = np.asarray(points_mm, dtype=float) - np.asarray(self.source_mm)
        hit = ray * (self.sid_mm / (ray @ self.normal))[..., None] + np.asarray(self.source_mm)
        offset = (hit - np.asarray(self.detector_centre_mm)) / self.pixel_mm
        row = offset @ np.asarray(self.row_axis) + (self.shape[0] - 1) / 2.0
        column = offset @ np.asarray(self.column_axis) + (self.shape[1] - 1) / 2.0
        return np.stack([row, column], axis=-1)

    def rotated(self, axis: npt.ArrayLike, degrees: float, about_mm: npt.ArrayLike) -> Geometry:
        """The same source and panel turned about an LPS axis through ``about_mm`` (right-hand rule)."""
        from scipy.spatial.transform import Rotation

        unit = np.asarray(axis, dtype=float)
        turn = Rotation.from_rotvec(np.deg2rad(degrees) * unit / np.linalg.norm(unit)).as_matrix()
        pivot = np.asarray(about_mm, dtype=float)

        def moved(point: tuple[float, float, float]) -> tuple[float, float, float]:
            return _triple(turn @ (np.asarray(point) - pivot) + pivot)

        return replace(
            self,
            source_mm=moved(self.source_mm),
            detector_centre_mm=moved(self.detector_centre_mm),
            column_axis=_triple(turn @ np.asarray(self.column_axis)),
            row_axis=_triple(turn @ np.asarray(self.row_axis)),
        )


def view_geometry(
    view: str = "PA",
    *,
    isocentre_mm: npt.ArrayLike = (0.0, 0.0, 0.0),
    preset: str | None = None,
    **changes: Any,
) -> Geometry:
    """Place source and panel for a view.

    Args:
        view: ``PA``, ``AP`` or ``LL`` (left lateral).
        isocentre_mm: LPS point (x, y, z) on the central ray, usually the centre of the chest.
        preset: name of a geometry preset; by default the view's own (``chest-pa``, ``chest-ap``, ``chest-lateral``).
        **changes: fields of :class:`Preset` to override, for example ``sid_mm=1500``.

    Raises:
        GeometryError: unknown view, preset or field, or distances that put the source inside the patient.
    """
    _check_view(view)
    name = preset or default_preset(view)
    if name not in presets():
        raise GeometryError(f"Unknown geometry preset {name!r}. Expected one of: {', '.join(presets())}.")
    values = {**vars(presets()[name]), **changes}
    unknown = set(changes) - set(vars(presets()[name]))
    if unknown:
        raise GeometryError(
            f"Unknown geometry setting {sorted(unknown)}. Expected some of: {', '.join(vars(presets()[name]))}."
        )
    chosen = Preset(**values)
    if not 0 < chosen.isocentre_to_detector_mm < chosen.sid_mm - 200:
        raise GeometryError(
            f"sid_mm={chosen.sid_mm:g} with isocentre_to_detector_mm={chosen.isocentre_to_detector_mm:g} puts "
            "the source in or near the patient. "
            "The SID must exceed the isocentre-to-detector distance by more than 200 mm."
        )
    beam, column_axis = (np.asarray(v) for v in _VIEWS[view])
    isocentre = np.asarray(isocentre_mm, dtype=float)
    return Geometry(
        view=view,
        source_mm=_triple(isocentre - beam * (chosen.sid_mm - chosen.isocentre_to_detector_mm)),
        detector_centre_mm=_triple(isocentre + beam * chosen.isocentre_to_detector_mm),
        column_axis=_triple(column_axis),
        row_axis=_ROW_AXIS,
        shape=(chosen.rows, chosen.columns),
        pixel_mm=chosen.pixel_mm,
        preset=chosen.name,
        isocentre_to_detector_mm=chosen.isocentre_to_detector_mm,
        anti_scatter_grid=chosen.grid,
        display_g_cm2=(chosen.display_g_cm2[0], chosen.display_g_cm2[1]),
    )


def _check_view(view: str) -> None:
    if view not in _VIEWS:
        raise GeometryError(f"Unknown view {view!r}. Expected one of: {', '.join(_VIEWS)} (LL is the left lateral).")


def _triple(vector: npt.ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in np.asarray(vector))
    return x, y, z
