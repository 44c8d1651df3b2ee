"""A scan in memory, and what one view of it projects to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from drrval.errors import IntakeError
from drrval.geometry import Geometry, view_geometry
from drrval.materials import AIR_HU, density_model
from drrval.positioning import clipping_flags, field_flags, scanned_field
from drrval.projection import DensityModel, project, project_labels
from drrval.rendering import Patient, position
from drrval.settings import MaterialSettings
from drrval.simulation import VirtualScan
from drrval.synthesis.anatomy import LabelMap, bounding_box, cut_grid, density_rise, lung_map, organ_map, silhouette_map
from drrval.synthesis.draw import Acquisition
from drrval.volume import Grid

Image = npt.NDArray[np.float32]

_DENSITY = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))  # values that are densities already
_SMALLEST_FIELD_MM = 150.0


@dataclass(frozen=True)
class PreparedScan:
    """A labelled CT, made ready once for all its views.

    Attributes:
        scan: the CT with its labels.
        patient: the CT with its body found, ``hu`` cut to the body.
        labels: label maps of lungs and lesions, of what hides the lungs, and of organs, cut to what they hold.
        rise: density rise of the lesions, g/cm3, and its grid; None without lesions.
        lung_box_mm: LPS corners (2, 3) of the box around the lungs.
        flags: what the CT leaves out.
    """

    scan: VirtualScan
    patient: Patient
    labels: tuple[LabelMap, ...]
    rise: tuple[npt.NDArray[np.float32], Grid] | None
    lung_box_mm: npt.NDArray[np.float64]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Projections:
    """One view of a scan before it is detected.

    Attributes:
        geometry: the view.
        area_density: float32 ``[material, row, col]``, g/cm2, 0 outside the field.
        field: bool ``[row, col]``: where the beam passes the scanned range.
        paths_cm: path length in each label, cm, ``[row, col]`` by name; a label that the scan lacks is not there.
        rise_g_cm2: area density that the lesions add, ``[row, col]``.
        flags: what the CT or the view leaves out.
    """

    geometry: Geometry
    area_density: npt.NDArray[np.float32]
    field: npt.NDArray[np.bool_]
    paths_cm: dict[str, Image]
    rise_g_cm2: Image
    flags: tuple[str, ...]


def prepare(scan: VirtualScan, materials: MaterialSettings | None = None) -> PreparedScan:
    """Isolate the body and lay out the label maps of a scan.

    Raises:
        IntakeError: no body or no lungs found in the CT.
    """
    patient = position(scan.volume, materials)
    box = bounding_box(patient.hu > AIR_HU)
    patient = replace(patient, hu=np.ascontiguousarray(patient.hu[box]), grid=cut_grid(patient.grid, box))
    if not scan.lungs.any():
        raise IntakeError(f"{scan.volume.name}: the lung map is empty. Give 1 for the right and 2 for the left lung.")
    chest = bounding_box(scan.lungs > 0)
    ends = [[s.start for s in chest], [s.stop - 1 for s in chest]]
    return PreparedScan(
        scan=scan,
        patient=patient,
        labels=tuple(m for m in (lung_map(scan), silhouette_map(scan), organ_map(scan)) if m is not None and m.names),
        rise=density_rise(scan),
        lung_box_mm=np.sort(scan.volume.grid.index_to_world(ends), axis=0),
        flags=clipping_flags(patient.ct, patient.body),
    )


def place(prepared: PreparedScan, drawn: Acquisition, size: int, largest_field_mm: float = 430.0) -> Geometry:
    """Source and panel of a drawn acquisition: a field around the lungs, no higher than the scanned range.

    Args:
        prepared: the scan.
        drawn: the acquisition.
        size: pixels of the panel's longer side.
        largest_field_mm: side of the largest panel, mm.
    """
    centre = prepared.patient.centre_mm
    base = view_geometry(
        drawn.view, isocentre_mm=centre, sid_mm=drawn.sid_mm, isocentre_to_detector_mm=drawn.body_to_panel_mm
    )
    across, down = np.asarray(base.column_axis), np.asarray(base.row_axis)
    magnification = drawn.sid_mm / (drawn.sid_mm - drawn.body_to_panel_mm)
    left, right, top, bottom = drawn.margins_mm
    lungs = prepared.lung_box_mm - centre
    columns = np.sort(lungs @ across) + np.array([-left, right])
    grid = prepared.patient.ct.grid
    scanned = np.sort((grid.index_to_world([[0, 0, 0], [grid.shape[0] - 1, 0, 0]]) - centre) @ down)
    rows = np.clip(np.sort(lungs @ down) + np.array([-top, bottom]), *scanned)
    width, height = np.clip(magnification * np.ptp([columns, rows], axis=1), _SMALLEST_FIELD_MM, largest_field_mm)
    pixel_mm = float(max(width, height)) / size
    # The perpendicular from the source meets the panel off its middle, like a field that is collimated to one side.
    shift = drawn.shift_mm[0] * across + drawn.shift_mm[1] * down
    middle = magnification * (columns.mean() * across + rows.mean() * down) - (magnification - 1.0) * shift
    geometry = replace(
        base,
        source_mm=_triple(np.asarray(base.source_mm) + shift),
        detector_centre_mm=_triple(np.asarray(base.detector_centre_mm) + middle),
        shape=(max(2, round(height / pixel_mm)), max(2, round(width / pixel_mm))),
        pixel_mm=pixel_mm,
        preset="synthesis",
        anti_scatter_grid=drawn.grid_ratio > 0,
    )
    for axis, degrees in enumerate(drawn.rotation_deg):
        geometry = geometry.rotated(np.eye(3)[axis], degrees, centre)
    return geometry


def project_view(prepared: PreparedScan, geometry: Geometry) -> Projections:
    """Project a scan and all its labels.

    Raises:
        GeometryError: a source inside the volume.
    """
    patient = prepared.patient
    field = scanned_field(patient.ct.grid, geometry, patient.centre_mm)
    area_density = project(patient.hu, patient.grid, geometry, density_model(patient.materials))
    area_density *= field
    paths: dict[str, Image] = {}
    for labels in prepared.labels:
        lengths = project_labels(labels.labels, labels.grid, geometry, len(labels.names)) * field
        paths |= dict(zip(labels.names, lengths, strict=True))
    rise = np.zeros(geometry.shape, np.float32)
    if prepared.rise is not None:
        values, grid = prepared.rise
        rise = project(values, grid, geometry, _DENSITY)[0] * field
    flags = prepared.flags + field_flags(patient.ct, patient.body, geometry)
    return Projections(geometry, area_density, field, paths, rise, flags)


def _triple(vector: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z
