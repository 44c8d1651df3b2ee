"""Projection of a volume by DeepDRR 1.2.2: the same voxels, materials and view as drrval's own projectors."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drrval.deepdrr.camera import pinhole_camera
from drrval.deepdrr.interpreter import run_worker
from drrval.errors import DrrvalError
from drrval.geometry import Geometry
from drrval.materials import MATERIALS, decompose, hu_to_density
from drrval.settings import DetectorSettings, MaterialSettings, SpectrumSettings
from drrval.volume import Grid

# Tube voltage (kV) and filtration (mm Al) of DeepDRR's spectra; their anode angle is not stated.
SPECTRA = {(60.0, 3.5): "60KV_AL35", (90.0, 4.0): "90KV_AL40", (120.0, 4.3): "120KV_AL43"}
_STEP_MM = 0.1  # DeepDRR's default, along the ray
_SAMPLING_SHIFT = 1  # DeepDRR 1.2.2 reads the voxel one below, along each axis, the index it computes for a point
# Voxels of zero density before and after each axis, so that the outermost voxels fall off as in drrval's projectors.
_BEFORE, _AFTER = 1, 1 + _SAMPLING_SHIFT


@dataclass(frozen=True)
class DeepDRRImages:
    """What DeepDRR gives for a view, in drrval's orientation.

    Attributes:
        area_density: float32 ``[material, row, col]``, g/cm2, in the order of ``MATERIALS``.
        signal: float32 ``[row, col]``: energy that reaches the detector over that of the unattenuated beam; primary
            radiation only, no noise.
    """

    area_density: npt.NDArray[np.float32]
    signal: npt.NDArray[np.float32]


def project_deepdrr(
    hu: npt.NDArray[np.int16],
    grid: Grid,
    geometry: Geometry,
    materials: MaterialSettings,
    *,
    spectrum: SpectrumSettings,
    detector: DetectorSettings,
) -> DeepDRRImages:
    """Project a volume with DeepDRR, in the interpreter that ``DRRVAL_DEEPDRR_PYTHON`` names.

    Densities and material labels are drrval's. DeepDRR's public interface gives intensities, not area densities, so
    these come from three more projections: with one photon energy, each material in turn as bone and all else as air,
    the logarithm of the intensity is linear in the area density of that material.

    Args:
        hu: ``[z, y, x]``, Hounsfield units.
        grid: where the voxels of ``hu`` lie.
        geometry: the view.
        materials: thresholds of the decomposition.
        spectrum: must be one that DeepDRR has (:data:`SPECTRA`).
        detector: must be energy-integrating and absorb every photon; its noise and blur are not applied here.

    Raises:
        BackendError: DeepDRR is missing or failed.
        DrrvalError: settings that DeepDRR does not offer.
    """
    name = _spectrum_name(spectrum, detector)
    camera = pinhole_camera(geometry)
    density, labels = _padded(hu, materials)
    with tempfile.TemporaryDirectory(prefix="drrval-deepdrr-") as folder:
        request, response = Path(folder) / "request.npz", Path(folder) / "response.npz"
        np.savez(
            request,
            density=density,
            labels=labels,
            materials=np.array([material.replace("_", " ") for material in MATERIALS]),
            world_from_index=_world_from_index(grid),
            intrinsic=camera.intrinsic,
            extrinsic=camera.extrinsic,
            detector_shape=np.array(geometry.shape),
            sid_mm=geometry.sid_mm,
            step_mm=_STEP_MM,
            spectrum=name,
        )
        run_worker("project", str(request), str(response))
        with np.load(response) as images:
            area_density, signal = images["area_density"], images["signal"]
    return DeepDRRImages(camera.as_viewed(area_density), camera.as_viewed(signal))


def _spectrum_name(spectrum: SpectrumSettings, detector: DetectorSettings) -> str:
    name = SPECTRA.get((spectrum.kvp, spectrum.filtration_mm_al))
    if name is None or spectrum.anode_angle_deg != SpectrumSettings().anode_angle_deg:
        offered = ", ".join(f"{kvp:g} kV with {al:g} mm Al" for kvp, al in SPECTRA)
        raise DrrvalError(
            f"DeepDRR has no spectrum of {spectrum.kvp:g} kV with {spectrum.filtration_mm_al:g} mm Al and an anode "
            f"angle of {spectrum.anode_angle_deg:g} degrees. Choose one of: {offered}, with the default anode angle."
        )
    if detector.response != "energy-integrating" or detector.csi_mg_cm2 is not None:
        raise DrrvalError(
            "DeepDRR gives the energy that reaches a pixel, but the detector is set to be "
            f"{detector.response} with csi_mg_cm2={detector.csi_mg_cm2}. Set its response to energy-integrating and "
            "csi_mg_cm2 to None."
        )
    return name


def _padded(
    hu: npt.NDArray[np.int16], materials: MaterialSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Density (g/cm3) and material label of each voxel, ``[z, y, x]``, with the padding; slice by slice, for memory."""
    shape = tuple(_BEFORE + n + _AFTER for n in hu.shape)
    density, labels = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    inside = (slice(_BEFORE, -_AFTER),) * 2
    for k, plane in enumerate(hu, start=_BEFORE):
        density[k][inside] = hu_to_density(plane)
        labels[k][inside] = decompose(plane, materials)
    return density, labels


def _world_from_index(grid: Grid) -> npt.NDArray[np.float64]:
    """(4, 4) transform from the index (i, j, k) = (x, y, z) that DeepDRR computes with to LPS millimetres."""
    affine = np.eye(4)
    affine[:3, :3] = grid.direction * np.asarray(grid.spacing_mm)
    affine[:3, 3] = grid.index_to_world(np.full(3, -(_BEFORE + _SAMPLING_SHIFT)))
    return affine
