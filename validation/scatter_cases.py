"""Views whose scatter is simulated: simulated thoraces and slabs to fit the estimate to, others to judge it by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from skimage.transform import downscale_local_mean

from drrval.geometry import Geometry, default_preset, presets, view_geometry
from drrval.intake import read_ct
from drrval.materials import density_model
from drrval.phantom import Protocol, acquire, make_thorax, random_anatomy
from drrval.physics.attenuation import attenuation_matrix
from drrval.physics.montecarlo import AntiScatterGrid, scene_of, simulate
from drrval.physics.scatter import Distances
from drrval.physics.spectrum import tube_spectrum
from drrval.projection import project, project_labels
from drrval.rendering import position
from drrval.settings import SpectrumSettings
from drrval.volume import CTVolume, Grid

BINS, BIN_MM = 64, 6.72  # the presets' panel of 430 mm
FINE = 4  # projected pixels per bin
GRID_RATIOS = (5.0, 8.0, 10.0, 12.0, 15.0)
_VOXEL_MM = 4.0
_BEYOND_MM = 60.0  # the patient goes on beyond the scan, so that the beam is filled


@dataclass(frozen=True)
class Case:
    """One view of one body.

    Attributes:
        name: what to call it.
        hu: Hounsfield units ``[z, y, x]``, air outside the body.
        grid: where the voxels lie.
        geometry: the view; ``BINS`` x ``BINS`` pixels.
        body_mm: distance of the body's middle from the panel, mm.
        kvp: tube voltage, kV.
        lung_cm: path of each ray through aerated lung, cm, ``[row, col]``; None without lungs.
    """

    name: str
    hu: npt.NDArray[np.float32]
    grid: Grid
    geometry: Geometry
    body_mm: float
    kvp: float
    lung_cm: npt.NDArray[np.float32] | None = None

    @property
    def distances(self) -> Distances:
        """Distances in the form that the estimate takes."""
        return Distances(BIN_MM, self.geometry.sid_mm, self.body_mm)

    def simulated(self, photons: int, seed: int) -> dict[str, npt.NDArray[np.float64]]:
        """Area densities, primary (analytic, and simulated) and simulated scatter in bins, open and behind grids."""
        spectrum = SpectrumSettings(kvp=self.kvp)
        grids = [AntiScatterGrid(ratio) for ratio in GRID_RATIOS]
        scene = scene_of(self.hu, self.grid)
        run = simulate(scene, self.geometry, tube_spectrum(spectrum), photons=photons, seed=seed, grids=grids)
        fine = replace(self.geometry, shape=(BINS * FINE, BINS * FINE), pixel_mm=BIN_MM / FINE)
        area_density = project(self.hu, self.grid, fine, density_model())
        primary = direct_transmission(area_density, spectrum)
        behind = np.array([run.behind_grid(i) for i in range(len(grids))])
        return {
            "area_density": downscale_local_mean(area_density, (1, FINE, FINE)),
            "primary": downscale_local_mean(primary, (FINE, FINE)),
            "simulated_primary": run.primary,
            "scatter": run.scatter,
            "error": run.standard_error(1, 2),
            "single": run.mean(1),
            "behind_grids": behind,
        }


def regions(lung_cm: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.bool_]]:
    """Lung, heart and mediastinum, and the 5 cm below the diaphragm of a frontal view, bool ``[row, col]`` each."""
    full = float(np.percentile(lung_cm[lung_cm > 1.0], 90))
    lung = lung_cm > 0.6 * full
    rows, columns = np.indices(lung.shape)
    first, last = (np.where(lung.any(axis=1), edge, -1)[:, None] for edge in _ends(lung))
    between = (columns > first) & (columns < last) & (lung_cm < 0.25 * full)
    lowest = np.where((lung_cm > 1.0).any(axis=0), _ends(lung_cm.T > 1.0)[1], len(lung))
    below = (rows > lowest + 2) & (rows <= lowest + 2 + round(50.0 / BIN_MM))
    return {"lung": lung, "heart and mediastinum": between & ~below, "below the diaphragm": below}


def _ends(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First and last True of each row."""
    return mask.argmax(axis=1), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)


def direct_transmission(area_density: npt.NDArray[np.float32], spectrum: SpectrumSettings) -> npt.NDArray[np.float64]:
    """Energy-weighted Beer-Lambert law summed over every bin of the spectrum, ``[row, col]``."""
    energies, fluence = tube_spectrum(spectrum)
    weights = energies * fluence / (energies @ fluence)
    total = np.zeros(area_density.shape[1:])
    for weight, mu in zip(weights, attenuation_matrix(energies), strict=True):
        total += weight * np.exp(-np.tensordot(mu, area_density, axes=1))
    return total


def thorax(seed: int, view: str, *, kvp: float = 120.0, **changes: float) -> Case:
    """A view of the thorax phantom number ``seed``."""
    anatomy = random_anatomy(seed)
    healthy = make_thorax(anatomy, spacing_mm=_VOXEL_MM, table=False)
    scan = acquire(healthy.hu, healthy.grid, Protocol(slice_mm=_VOXEL_MM), seed)
    extra = "".join(f" {key}={value:g}" for key, value in changes.items())
    return _case(f"thorax {seed} {view} {kvp:g} kV{extra}", scan, view, kvp, **changes)


def real_ct(path: Path, view: str) -> Case:
    """A view of a CT."""
    return _case(f"{path.name.split('.')[0]} {view}", read_ct(path), view, 120.0)


def slab(thickness_mm: float, width_mm: float = 600.0) -> Case:
    """A slab of water-like tissue (0 HU), as wide as the beam or narrower, at 120 kV."""
    half = int(max(thickness_mm, 400.0) / _VOXEL_MM / 2.0)
    shape = (150, 2 * half, 150)
    grid = Grid(shape, (_VOXEL_MM,) * 3, tuple(-_VOXEL_MM * (n - 1) / 2.0 for n in shape[::-1]))
    hu = np.full(shape, -1000.0, np.float32)
    depth, width = round(thickness_mm / _VOXEL_MM / 2.0), round(width_mm / _VOXEL_MM / 2.0)
    hu[:, half - depth : half + depth, 75 - width : 75 + width] = 0.0
    name = f"slab {thickness_mm:g} mm, {width_mm:g} mm wide 120 kV"
    return Case(name, hu, grid, _binned("PA", (0.0,) * 3), 170.0, 120.0)


def training() -> Iterator[Case]:
    """What the estimate is fitted to."""
    for seed in range(6):
        for view in ("PA", "AP", "LL"):
            yield thorax(seed, view)
    for seed, kvp in ((0, 70.0), (1, 80.0), (2, 100.0), (3, 140.0), (4, 90.0), (5, 140.0), (3, 70.0)):
        yield thorax(seed, "PA", kvp=kvp)
    for seed, gap in ((1, 130.0), (2, 220.0), (5, 300.0)):
        yield thorax(seed, "PA", isocentre_to_detector_mm=gap)
    yield thorax(4, "LL", kvp=140.0)
    yield thorax(0, "AP", kvp=90.0, sid_mm=1300.0)
    for thickness in (40.0, 120.0, 200.0, 280.0):
        yield slab(thickness)
    yield slab(200.0, width_mm=200.0)


def unseen() -> Iterator[Case]:
    """Phantoms that the fit has not seen."""
    for seed in (101, 102, 103):
        for view in ("PA", "AP", "LL"):
            yield thorax(seed, view)
    yield thorax(104, "PA", kvp=80.0)
    yield thorax(104, "PA", isocentre_to_detector_mm=200.0)


def _case(name: str, ct: CTVolume, view: str, kvp: float, **changes: float) -> Case:
    patient = position(ct)
    hu, grid = _filling(*_coarse(patient.hu.astype(np.float32), patient.grid))
    body_mm = changes.get("isocentre_to_detector_mm", presets()[default_preset(view)].isocentre_to_detector_mm)
    geometry = _binned(view, patient.centre_mm, **changes)
    lungs = patient.body.lung_like.astype(np.uint8)
    sz, sy, sx = patient.body.stride
    x, y, z = ct.grid.spacing_mm
    coarse = replace(ct.grid, shape=lungs.shape, spacing_mm=(x * sx, y * sy, z * sz))
    return Case(name, hu, grid, geometry, body_mm, kvp, project_labels(lungs, coarse, geometry, 1)[0])


def _binned(view: str, centre_mm: npt.ArrayLike, **changes: float) -> Geometry:
    return view_geometry(view, isocentre_mm=centre_mm, rows=BINS, columns=BINS, pixel_mm=BIN_MM, **changes)


def _coarse(hu: npt.NDArray[np.float32], grid: Grid) -> tuple[npt.NDArray[np.float32], Grid]:
    """Block means of about 4 mm."""
    blocks = [max(1, round(_VOXEL_MM / s)) for s in grid.spacing_mm[::-1]]
    trimmed = hu[tuple(slice(n - n % b) for n, b in zip(hu.shape, blocks, strict=True))]
    means = downscale_local_mean(trimmed, tuple(blocks)).astype(np.float32)
    x, y, z = (s * b for s, b in zip(grid.spacing_mm, blocks[::-1], strict=True))
    ox, oy, oz = grid.index_to_world([(b - 1) / 2.0 for b in blocks]).tolist()
    return means, Grid(means.shape, (x, y, z), (ox, oy, oz), grid.direction)


def _filling(hu: npt.NDArray[np.float32], grid: Grid) -> tuple[npt.NDArray[np.float32], Grid]:
    ends = int(np.ceil(_BEYOND_MM / grid.spacing_mm[2]))
    padded = np.pad(hu, ((ends, ends), (0, 0), (0, 0)), mode="edge")
    x, y, z = grid.index_to_world((-ends, 0, 0)).tolist()
    return padded, replace(grid, shape=padded.shape, origin_mm=(x, y, z))
