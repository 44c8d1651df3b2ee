"""The CT under test, and the case folder that all tools read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from benchmarks.case import Case, View, save_case
from drrval.geometry import Geometry, view_geometry
from drrval.intake import read_ct
from drrval.materials import AIR_HU, hu_to_density
from drrval.simulation import SimulateSettings, simulate_cohort
from drrval.volume import CTVolume, Grid

SLICES, PIXELS = 133, 512
THREADS = 2
DETECTOR = 1024
PANEL_MM = 430.08
SOURCE_ISOCENTRE_MM, SOURCE_DETECTOR_MM = 1500.0, 1800.0
OBLIQUE_AXIS, OBLIQUE_DEGREES = (1.0, 2.0, 3.0), 20.0
VIEWS = ("PA", "AP", "LL", "oblique")


def benchmark_ct(slices: int | None = None) -> CTVolume:
    """The scan named by the variable ``BENCH_CT``, or one of the demo cohort on 512x512 pixels.

    The demo scan is drawn with 1 mm voxels and interpolated to a field of view as wide as the phantom.

    Args:
        slices: resample to so many slices of 512x512 pixels; by default a given scan stays as it is and the demo scan
            has 133 slices.

    Raises:
        IntakeError: ``BENCH_CT`` is no acceptable chest CT.
    """
    path = os.environ.get("BENCH_CT")
    if path:
        scan = centred(read_ct(path))
        return resampled(scan, slices) if slices else scan
    demo = SimulateSettings(patients=4, timepoints=3, seed=11, spacing_mm=1.0)
    return resampled(centred(simulate_cohort(demo)[1].make().volume), slices or SLICES)


def scan_name() -> str:
    """What to call the scan in tables: no path, which would tell of the machine."""
    path = os.environ.get("BENCH_CT")
    return Path(path).name if path else "drrval's demo cohort, subject 01, session 02"


def centred(ct: CTVolume) -> CTVolume:
    """The scan with its centre at the world's origin and its axes along the world's."""
    grid = centred_grid(ct.grid.shape, ct.grid.spacing_mm)
    return CTVolume(ct.hu, grid, ct.scanned, ct.name)


def centred_grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    """A grid (z, y, x) whose centre is the origin."""
    x, y, z = (-(n - 1) / 2 * spacing for n, spacing in zip(shape[::-1], spacing_mm, strict=True))
    return Grid(shape, spacing_mm, (x, y, z))


def resampled(ct: CTVolume, slices: int) -> CTVolume:
    """The scan interpolated to ``slices`` x 512 x 512 voxels: a square field as wide as the longer side, air around."""
    extent = np.multiply(ct.grid.spacing_mm, ct.grid.shape[::-1])
    pixel = float(extent[:2].max()) / PIXELS
    grid = centred_grid((slices, PIXELS, PIXELS), (pixel, pixel, float(extent[2]) / slices))
    source = sitk.GetImageFromArray(ct.hu)
    source.SetSpacing(ct.grid.spacing_mm)
    source.SetOrigin(ct.grid.origin_mm)
    values = sitk.Resample(
        source,
        (PIXELS, PIXELS, slices),
        sitk.Transform(),
        sitk.sitkLinear,
        grid.origin_mm,
        grid.spacing_mm,
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        AIR_HU,
        sitk.sitkFloat32,
    )
    return CTVolume(sitk.GetArrayFromImage(values), grid, np.ones((PIXELS, PIXELS), bool), ct.name)


def rounded(ct: CTVolume) -> npt.NDArray[np.int16]:
    """Hounsfield units as scanners store them, int16 ``[z, y, x]``."""
    return np.rint(ct.hu).astype(np.int16)


def benchmark_geometry(view: str, detector: int = DETECTOR) -> Geometry:
    """The view of all tools: isocentre at the origin, SID 1800 mm, source to isocentre 1500 mm, 430 mm panel.

    Args:
        view: ``PA``, ``AP``, ``LL`` or ``oblique``: PA turned 20 degrees about (1, 2, 3).
        detector: pixels a side.
    """
    geometry = view_geometry(
        "PA" if view == "oblique" else view,
        preset="chest-pa",
        sid_mm=SOURCE_DETECTOR_MM,
        isocentre_to_detector_mm=SOURCE_DETECTOR_MM - SOURCE_ISOCENTRE_MM,
        rows=detector,
        columns=detector,
        pixel_mm=PANEL_MM / detector,
    )
    return geometry.rotated(OBLIQUE_AXIS, OBLIQUE_DEGREES, (0.0, 0.0, 0.0)) if view == "oblique" else geometry


def write_case(ct: CTVolume, folder: Path) -> Case:
    """Write a scan and the views for all tools; every one gets its volume from the same int16 Hounsfield units.

    Writes ``case.json``, ``hu.npy`` (int16), ``density.npy`` and ``density.mha`` (float32, g/cm3).
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = rounded(ct)
    mass_density = hu_to_density(values).astype(np.float32)
    np.save(folder / "hu.npy", values)
    np.save(folder / "density.npy", mass_density)
    image = sitk.GetImageFromArray(mass_density)
    image.SetSpacing(ct.grid.spacing_mm)
    image.SetOrigin(ct.grid.origin_mm)
    sitk.WriteImage(image, str(folder / "density.mha"))
    case = Case(
        shape=ct.grid.shape,
        spacing_mm=ct.grid.spacing_mm,
        origin_mm=ct.grid.origin_mm,
        detector=(DETECTOR, DETECTOR),
        pixel_mm=PANEL_MM / DETECTOR,
        source_isocentre_mm=SOURCE_ISOCENTRE_MM,
        source_detector_mm=SOURCE_DETECTOR_MM,
        threads=THREADS,
        views={name: _view(benchmark_geometry(name)) for name in VIEWS},
    )
    save_case(case, folder)
    return case


def _view(geometry: Geometry) -> View:
    return View(geometry.source_mm, geometry.detector_centre_mm, geometry.column_axis, geometry.row_axis)
