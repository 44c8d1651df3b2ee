"""Run the transport for one view and collect its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.errors import DrrvalError, GeometryError
from drrval.geometry import Geometry
from drrval.physics.montecarlo.anti_scatter_grid import AntiScatterGrid, grid_tables
from drrval.physics.montecarlo.cross_sections import MAX_ENERGY_KEV, InteractionTables, interaction_tables
from drrval.physics.montecarlo.scene import Scene
from drrval.physics.montecarlo.transport import DEPOSITED, MULTIPLE, PRIMARY, THROUGH_GRIDS, follow

_BATCHES = 64


@dataclass(frozen=True)
class Simulation:
    """Images of one view, in units of the unattenuated primary signal of each pixel (without grid).

    Attributes:
        batches: float64 ``[batch, channel, row, col]``: primary, single scatter, multiple scatter, then primary and
            scatter behind each anti-scatter grid. The batches are independent and estimate the same images.
        photons: number of photons emitted towards the panel.
        energy: keV per emitted photon: ``emitted``, ``on_panel``, ``escaped`` and ``deposited`` (a tuple, one value
            per material).
        deposited_error: standard error of the deposited energies, keV per emitted photon, one value per material.
    """

    batches: npt.NDArray[np.float64]
    photons: int
    energy: dict[str, float | tuple[float, ...]]
    deposited_error: tuple[float, ...]

    @property
    def primary(self) -> npt.NDArray[np.float64]:
        """Primary signal, ``[row, col]``."""
        return self.mean(PRIMARY)

    @property
    def scatter(self) -> npt.NDArray[np.float64]:
        """Scattered signal of all orders, ``[row, col]``."""
        return self.mean(*range(PRIMARY + 1, MULTIPLE + 1))

    def mean(self, *channels: int) -> npt.NDArray[np.float64]:
        """Sum of some channels, ``[row, col]``."""
        return np.asarray(self.batches[:, list(channels)].sum(axis=1).mean(axis=0))

    def standard_error(self, *channels: int) -> npt.NDArray[np.float64]:
        """Standard error of :meth:`mean`, from the spread of the batches, ``[row, col]``."""
        sums = self.batches[:, list(channels)].sum(axis=1)
        return np.asarray(sums.std(axis=0, ddof=1) / np.sqrt(len(sums)))

    def behind_grid(self, index: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Primary and scattered signal behind one of the grids, both ``[row, col]``."""
        return self.mean(THROUGH_GRIDS + 2 * index), self.mean(THROUGH_GRIDS + 2 * index + 1)


def simulate(
    scene: Scene,
    geometry: Geometry,
    beam: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    photons: int,
    seed: int = 0,
    response: str = "energy-integrating",
    grids: Sequence[AntiScatterGrid] = (),
) -> Simulation:
    """Follow photons from the tube through the patient to an ideal panel that absorbs all that reaches it.

    The cone is collimated to the panel. The result depends on the arguments only, not on the number of threads.

    Args:
        scene: the patient.
        geometry: the view; ``geometry.shape`` are the bins of the images (about 64 x 64: scatter is smooth).
        beam: photon energies in keV and relative fluence, as from :func:`drrval.physics.spectrum.tube_spectrum`.
        photons: how many to emit, rounded up to a multiple of 64.
        seed: of all random numbers.
        response: ``energy-integrating`` (photons weigh as their energy) or ``photon-counting``.
        grids: anti-scatter grids whose effect is scored besides the open panel.

    Raises:
        DrrvalError: unknown response, no photons, or energies outside 1-150 keV.
        GeometryError: a source inside the volume.
    """
    if response not in ("energy-integrating", "photon-counting"):
        raise DrrvalError(f"Unknown response {response!r}. Expected one of: energy-integrating, photon-counting.")
    energies, fluence = (np.asarray(v, dtype=float) for v in beam)
    if photons < 1 or energies.min() < 1 or energies.max() > MAX_ENERGY_KEV - 0.5:
        raise DrrvalError(
            f"{photons} photons of {energies.min():g}-{energies.max():g} keV cannot be followed. "
            "Give at least one photon, of 1-150 keV."
        )
    tables = interaction_tables(scene.materials)
    sizes, attenuation = grid_tables(grids)
    per_batch = -(-photons // _BATCHES)
    images = np.zeros((_BATCHES, THROUGH_GRIDS + 2 * len(grids), *geometry.shape))
    energy = np.zeros((_BATCHES, DEPOSITED + len(scene.materials)))
    follow(
        per_batch,
        seed,
        _voxels(scene),
        _panel(scene, geometry),
        (energies, np.cumsum(fluence) / np.sum(fluence)),
        (tables.partial, _majorant(scene, tables), tables.form_factor_cdf, tables.binding),
        (sizes, attenuation),
        response == "photon-counting",
        images,
        energy,
    )
    per_photon = 1.0 if response == "photon-counting" else float(energies @ fluence / fluence.sum())
    images /= per_batch * per_photon * _open_field(geometry)
    return _collected(images, energy, per_batch)


def _collected(images: npt.NDArray[np.float64], energy: npt.NDArray[np.float64], per_batch: int) -> Simulation:
    per_photon = energy / per_batch
    emitted, on_panel, escaped, *deposited = (float(v) for v in per_photon.mean(axis=0))
    error = per_photon[:, DEPOSITED:].std(axis=0, ddof=1) / np.sqrt(_BATCHES)
    totals: dict[str, float | tuple[float, ...]] = {
        "emitted": emitted,
        "on_panel": on_panel,
        "escaped": escaped,
        "deposited": tuple(deposited),
    }
    return Simulation(images, per_batch * _BATCHES, totals, tuple(float(v) for v in error))


def _voxels(scene: Scene) -> tuple[npt.NDArray[np.generic], ...]:
    size = np.asarray(scene.grid.spacing_mm) / 10.0
    return scene.labels, scene.density, 1.0 / size, size * np.array(scene.grid.shape[::-1])


def _panel(scene: Scene, geometry: Geometry) -> tuple[object, ...]:
    """Source and panel in centimetres along the volume's axes (x, y, z), from the outer corner of its first voxel."""
    grid = scene.grid
    corner = grid.index_to_world((-0.5, -0.5, -0.5))

    def moved(point: tuple[float, float, float]) -> npt.NDArray[np.float64]:
        return np.asarray((np.asarray(point) - corner) @ grid.direction / 10.0)

    source = moved(geometry.source_mm)
    box = np.asarray(grid.spacing_mm) / 10.0 * np.array(grid.shape[::-1])
    if ((source > 0) & (source < box)).all():
        raise GeometryError(
            f"The source at {tuple(round(v, 1) for v in geometry.source_mm)} mm lies inside the volume. Raise sid_mm, "
            "or move the isocentre to the middle of the volume."
        )
    column_axis, row_axis, normal = (
        np.asarray(np.asarray(axis) @ grid.direction)
        for axis in (geometry.column_axis, geometry.row_axis, geometry.normal)
    )
    rows, columns = geometry.shape
    size = np.array([columns, rows]) * geometry.pixel_mm / 10.0
    return source, moved(geometry.detector_centre_mm), column_axis, row_axis, normal, size, geometry.sid_mm / 10.0


def _majorant(scene: Scene, tables: InteractionTables) -> npt.NDArray[np.float64]:
    """Largest linear attenuation coefficient of any voxel at each energy, 1/cm, ``[energy]``."""
    densest = [scene.density[scene.labels == m].max(initial=0.0) for m in range(len(scene.materials))]
    attenuation = np.array(densest)[:, None] * tables.partial.sum(axis=2)
    return np.asarray(attenuation.max(axis=0) * (1.0 + 1e-6))


def _open_field(geometry: Geometry) -> npt.NDArray[np.float64]:
    """Share of the emitted photons that each pixel receives without patient, ``[row, col]``."""
    rows, columns = np.indices(geometry.shape)
    length = np.linalg.norm(geometry.pixel_position(rows, columns) - np.asarray(geometry.source_mm), axis=-1)
    solid_angle = length**-3.0
    return np.asarray(solid_angle / solid_angle.sum())
