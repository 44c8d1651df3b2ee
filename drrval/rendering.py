"""CT in, radiograph out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from drrval.body import Body, find_body, isolate_body
from drrval.deepdrr import project_deepdrr
from drrval.errors import DrrvalError
from drrval.geometry import Geometry, view_geometry
from drrval.identity import examination_of
from drrval.materials import density_model
from drrval.physics.detector import detect, fixed_window
from drrval.positioning import chest_centre, clipping_flags, field_flags, scanned_field
from drrval.projection import BACKENDS as PROJECTORS
from drrval.projection import project
from drrval.radiograph import Radiograph
from drrval.settings import (
    DetectorSettings,
    DisplaySettings,
    MaterialSettings,
    ScatterSettings,
    SpectrumSettings,
)
from drrval.volume import CTVolume, Grid

BACKENDS = (*PROJECTORS, "deepdrr")
_BEYOND_ENDS_MM = 30.0  # a bedside cone leaves the scan by 24 mm: 150 mm up, 150 mm off the centre, at 930 mm


@dataclass(frozen=True)
class Patient:
    """A CT with its body found: what every view of the scan shares.

    Attributes:
        ct: the scan.
        body: the body mask.
        hu: int16 ``[z, y, x]``, Hounsfield units, air outside the body. About 30 mm of copies of the first and last
            slice lie before and after the scan, because the diverging beam looks beyond its ends.
        grid: where the voxels of ``hu`` lie.
        centre_mm: centre of the chest, LPS mm (x, y, z); the default isocentre.
        materials: thresholds of the decomposition.
    """

    ct: CTVolume
    body: Body
    hu: npt.NDArray[np.int16]
    grid: Grid
    centre_mm: npt.NDArray[np.float64]
    materials: MaterialSettings


def position(ct: CTVolume, materials: MaterialSettings | None = None) -> Patient:
    """Isolate the body of a CT and find its isocentre, once for all views.

    Raises:
        IntakeError: no body or no lungs found.
    """
    chosen = materials or MaterialSettings()
    body = find_body(ct, chosen)
    ends = math.ceil(_BEYOND_ENDS_MM / ct.grid.spacing_mm[2])
    nz, ny, nx = ct.hu.shape
    x, y, z = ct.grid.index_to_world((-ends, 0, 0)).tolist()
    grid = replace(ct.grid, shape=(nz + 2 * ends, ny, nx), origin_mm=(x, y, z))
    return Patient(ct, body, isolate_body(ct, body, ends), grid, chest_centre(ct, body), chosen)


def render(
    ct: CTVolume | Patient,
    view: str = "PA",
    *,
    preset: str | None = None,
    geometry: Geometry | None = None,
    spectrum: SpectrumSettings | None = None,
    scatter: ScatterSettings | None = None,
    detector: DetectorSettings | None = None,
    display: DisplaySettings | None = None,
    seed: int = 0,
    backend: str = "auto",
) -> Radiograph:
    """Render a chest CT as a radiograph.

    The beam is collimated to the scanned range: pixels that look past the first or last slice at the depth of the
    chest's centre get the signal of the open beam (black).

    Args:
        ct: the scan, or a :class:`Patient` when several views are rendered.
        view: ``PA``, ``AP`` or ``LL``.
        preset: geometry preset; by default the view's own.
        geometry: a complete view in LPS millimetres; ``view`` and ``preset`` are then ignored.
        spectrum, scatter, detector, display: settings; the defaults are described with them.
        seed: integer that all noise is drawn from.
        backend: projector; see :func:`drrval.projection.project`. ``deepdrr`` has DeepDRR compute area densities and
            primary signal (extra ``deepdrr``, an NVIDIA GPU); see :mod:`drrval.deepdrr`.

    Raises:
        IntakeError: no body or no lungs found in the CT.
        GeometryError: unknown view or preset, or a source inside the volume.
        BackendError: a backend whose software or GPU is missing.
        DrrvalError: unknown backend.
    """
    if backend not in BACKENDS:
        raise DrrvalError(f"Unknown backend {backend!r}. Expected one of: {', '.join(BACKENDS)}.")
    patient = ct if isinstance(ct, Patient) else position(ct)
    where = geometry or view_geometry(view, isocentre_mm=patient.centre_mm, preset=preset)
    beam = spectrum or SpectrumSettings()
    scattering = scatter or ScatterSettings()
    receptor = detector or DetectorSettings()
    covered = scanned_field(patient.ct.grid, where, patient.centre_mm)
    primary = None
    if backend == "deepdrr":
        images = project_deepdrr(patient.hu, patient.grid, where, patient.materials, spectrum=beam, detector=receptor)
        area_density, primary = images.area_density, images.signal
    else:
        area_density = project(patient.hu, patient.grid, where, density_model(patient.materials), backend=backend)
    area_density *= covered
    rng = np.random.default_rng(seed)
    signal = detect(
        area_density, covered, where, spectrum=beam, scatter=scattering, detector=receptor, rng=rng, primary=primary
    )
    shown = display or DisplaySettings()
    if shown.window is None:
        window = fixed_window(where, spectrum=beam, scatter=scattering, detector=receptor)
        shown = shown.model_copy(update={"window": window})
    flags = clipping_flags(patient.ct, patient.body) + field_flags(patient.ct, patient.body, where)
    scan = patient.ct
    return Radiograph(
        signal, area_density, covered, where, shown, seed, flags, scan.name, examination=examination_of(scan)
    )
