"""Scattered radiation at the panel: a fast estimate, fitted to the Monte-Carlo reference.

Scatter arises where the beam meets tissue: the source term of a pixel is its primary signal P times a power of its mass
per area w (g/cm2). It is spread over the panel by broad Gaussians, and what reaches a pixel is weakened by the mass
before it. Bone, which absorbs about as much scatter as it makes, counts in P only:

    S = sum_k a_k exp(-w / L_k) * (gaussian(s_k g) applied to P w^(b_k))

with g the distance from the body to the panel. This is the superposition of scatter kernels that depend on thickness
(Ohnesorge, Flohr & Klingenbeck-Regn 1999, doi:10.1007/s003300050710; Sun & Star-Lack 2010,
doi:10.1088/0031-9155/55/22/007), with the amplitudes found by non-negative least squares. Scattered photons leave the
body in all directions, not along the diverging beam, so their image is smaller than the primary's by the magnification.
``scatter_fit.yaml`` holds the coefficients; ``python -m validation.fit_scatter`` makes it.
An anti-scatter grid divides the scatter by its selectivity, fitted to the reference in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy import ndimage

from drrval.geometry import Geometry
from drrval.materials import MATERIALS
from drrval.physics.attenuation import mass_attenuation
from drrval.physics.spectrum import tube_spectrum
from drrval.settings import ScatterSettings, SpectrumSettings

COARSE_MM = 6.72  # scatter is smooth over tens of millimetres
_TYPICAL_BODY_MM = 170.0
_PANEL_BINS = 64
_AROUND_MM = 15.0  # photons reach a pixel from all sides: what stands before it is seen blurred


def scatter_signal(
    area_density: npt.NDArray[np.float32],
    primary: npt.NDArray[np.floating[Any]],
    field: npt.NDArray[np.bool_],
    geometry: Geometry,
    *,
    scatter: ScatterSettings,
    spectrum: SpectrumSettings,
) -> npt.NDArray[np.float64]:
    """Scatter in units of the unattenuated primary signal at the panel (behind the grid, if any), ``[row, col]``.

    The tube's beam is taken to end at the panel's edges. Where the scanned field ends before, the patient goes on as at
    its edge, because the edge is one of the scan and not of the patient.

    Args:
        area_density: g/cm2, ``[material, row, col]``.
        primary: transmitted primary signal over the unattenuated one, ``[row, col]``, 0-1.
        field: the collimated field, ``[row, col]``.
        geometry: the view (pixel pitch, distances, anti-scatter grid).
        scatter: the estimate and the grid.
        spectrum: the tube.
    """
    if scatter.model == "none" or not field.any():
        return np.zeros(primary.shape)
    block = max(1, round(COARSE_MM / geometry.pixel_mm))
    rows, columns = (_block_means(n, block) for n in primary.shape)
    share = rows @ field.astype(np.float32) @ columns.T
    images = (primary, scattering_mass(area_density))
    coarse = [rows @ (image * field).astype(np.float32) @ columns.T for image in images]
    nearest = ndimage.distance_transform_edt(share == 0, return_distances=False, return_indices=True)
    beneath, mass = ((image / np.maximum(share, 1e-6))[tuple(nearest)] for image in coarse)
    distances = Distances(block * geometry.pixel_mm, geometry.sid_mm, geometry.isocentre_to_detector_mm)
    spread = open_scatter(beneath, mass, distances)
    if geometry.anti_scatter_grid:
        spread = _behind_grid(spread, mass, distances, scatter, spectrum)
    up, across = (_interpolation(n, block) for n in primary.shape)
    return np.asarray(up @ spread @ across.T)


def dense_scatter(geometry: Geometry, *, scatter: ScatterSettings, spectrum: SpectrumSettings) -> float:
    """Scatter behind the dense parts of a typical chest, in units of the unattenuated primary signal.

    The chest is a block model that fills the panel: two lungs beside a mediastinum of a fifth of the width, above an
    abdomen of a third of the height. A quarter (lungs) and three quarters (dense parts) of the way between the
    thicknesses that the view shows as black and white. It depends on the view and the beam, not on any image.
    """
    if scatter.model == "none":
        return 0.0
    return _block_chest(geometry, scatter, spectrum)


@dataclass(frozen=True)
class Distances:
    """Pixel pitch of the coarse panel, source to panel (SID) and middle of the body to panel, all in mm."""

    pitch_mm: float
    sid_mm: float
    body_mm: float


def open_scatter(
    primary: npt.NDArray[np.floating[Any]], mass: npt.NDArray[np.floating[Any]], distances: Distances
) -> npt.NDArray[np.float64]:
    """Scatter without a grid on a coarse panel, in units of the unattenuated primary signal, ``[row, col]``.

    Args:
        primary: transmitted primary signal, ``[row, col]``.
        mass: mass per area without bone, g/cm2, ``[row, col]``.
        distances: of the view.
    """
    fit = coefficients()
    amplitudes = np.array([term["amplitude"] for term in fit["terms"]])
    terms = scatter_terms(primary, mass, distances, fit)
    return distance_factor(distances.body_mm, fit) * np.tensordot(amplitudes, terms, axes=1)


def scattering_mass(area_density: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
    """Mass per area without bone, g/cm2, ``[row, col]``, of area densities ``[material, row, col]``."""
    return np.asarray(sum(area_density[i] for i, name in enumerate(MATERIALS) if name != "bone"))


def scatter_terms(
    primary: npt.NDArray[np.floating[Any]],
    mass: npt.NDArray[np.floating[Any]],
    distances: Distances,
    fit: dict[str, Any],
) -> npt.NDArray[np.float64]:
    """Each term of the estimate at amplitude 1, ``[term, row, col]``; arguments as for :func:`open_scatter`."""
    magnification = distances.sid_mm / (distances.sid_mm - distances.body_mm)
    spread: dict[tuple[float, float], npt.NDArray[np.float64]] = {}
    before = mass_before(mass, distances.pitch_mm)
    images = []
    for term in fit["terms"]:
        key = (term["power"], term["width"])
        if key not in spread:
            source = _demagnified(primary * (mass / fit["unit_g_cm2"]) ** term["power"], magnification)
            sigma = term["width"] * (distances.body_mm - fit["exit_depth_mm"]) / distances.pitch_mm
            spread[key] = ndimage.gaussian_filter(source, max(sigma, 0.0), mode="constant")
        images.append(spread[key] * np.exp(-before * term["absorption_cm2_g"]))
    return np.stack(images)


def mass_before(mass: npt.NDArray[np.floating[Any]], pitch_mm: float) -> npt.NDArray[np.float64]:
    """Mass per area that scattered photons have passed before they reach each pixel: that of its surroundings."""
    return np.asarray(ndimage.gaussian_filter(np.asarray(mass, dtype=float), _AROUND_MM / pitch_mm, mode="nearest"))


def distance_factor(body_mm: float, fit: dict[str, Any]) -> float:
    """What the distance of the body from the panel does to all terms alike."""
    return float((body_mm / _TYPICAL_BODY_MM) ** fit["distance_exponent"])


@cache
def coefficients() -> dict[str, Any]:
    """The fitted coefficients, from ``scatter_fit.yaml``."""
    fit: dict[str, Any] = yaml.safe_load(
        files("drrval.physics").joinpath("scatter_fit.yaml").read_text(encoding="utf-8")
    )
    return fit


def grid_selectivity(
    mass: npt.NDArray[np.floating[Any]], body_mm: float, ratio: float, kvp: float
) -> npt.NDArray[np.float64]:
    """Primary over scatter transmission of the reference grid, shape of ``mass``.

    It grows with the mass before the pixel, behind which photons have scattered more often and arrive more obliquely,
    and falls with the distance of the body, from which oblique photons miss the panel.

    Args:
        mass: mass per area without bone, g/cm2.
        body_mm: distance of the body's middle from the panel, mm.
        ratio: of the grid.
        kvp: tube voltage, kV.
    """
    table = coefficients()["grid"]
    ratios = table["ratios"]
    typical = np.interp(kvp, table["kvp"], [np.interp(ratio, ratios, row) for row in table["selectivity"]])
    per_mass, per_distance = (np.interp(ratio, ratios, table[key]) for key in ("per_g_cm2", "distance_exponent"))
    excess = np.clip(mass, 0.0, table["max_g_cm2"]) - table["typical_g_cm2"]
    return np.asarray(typical * np.exp(per_mass * excess) * (body_mm / _TYPICAL_BODY_MM) ** per_distance)


def _behind_grid(
    spread: npt.NDArray[np.float64],
    mass: npt.NDArray[np.floating[Any]],
    distances: Distances,
    scatter: ScatterSettings,
    spectrum: SpectrumSettings,
) -> npt.NDArray[np.float64]:
    """The scatter ``[row, col]`` behind the grid, per transmission of the primary signal."""
    if scatter.grid_selectivity is not None:
        return spread / scatter.grid_selectivity
    before = mass_before(mass, distances.pitch_mm)
    selectivity = grid_selectivity(before, distances.body_mm, scatter.grid_ratio, spectrum.kvp)
    return spread / np.maximum(selectivity, 1.0)


@lru_cache(maxsize=64)
def _block_chest(geometry: Geometry, scatter: ScatterSettings, spectrum: SpectrumSettings) -> float:
    black, white = geometry.display_g_cm2
    lung, dense = 0.75 * black + 0.25 * white, 0.25 * black + 0.75 * white
    row, column = (np.arange(_PANEL_BINS) + 0.5) / _PANEL_BINS, (np.arange(_PANEL_BINS) + 0.5) / _PANEL_BINS
    solid = (np.abs(column - 0.5) < 0.1) | (row[:, None] > 2.0 / 3.0)
    mass = np.where(solid, dense, lung)
    energies, fluence = tube_spectrum(spectrum)
    weights = energies * fluence / (energies @ fluence)
    primary = [weights @ np.exp(-mass_attenuation("soft_tissue", energies) * w) for w in (lung, dense)]
    pitch_mm = max(geometry.shape) * geometry.pixel_mm / _PANEL_BINS
    distances = Distances(pitch_mm, geometry.sid_mm, geometry.isocentre_to_detector_mm)
    image = open_scatter(np.where(solid, primary[1], primary[0]), mass, distances)
    if geometry.anti_scatter_grid:
        image = _behind_grid(image, mass, distances, scatter, spectrum)
    return float(image[solid].mean())


def _demagnified(image: npt.NDArray[np.floating[Any]], magnification: float) -> npt.NDArray[np.float64]:
    """The image shrunk about the panel's centre, its sum kept."""
    centre = (np.array(image.shape) - 1.0) / 2.0
    matrix = np.full(2, magnification)
    shrunk = ndimage.affine_transform(
        np.asarray(image, dtype=float), matrix, offset=centre - matrix * centre, order=1, mode="grid-constant"
    )
    return np.asarray(magnification**2 * shrunk)


@lru_cache(maxsize=16)
def _block_means(n: int, block: int) -> npt.NDArray[np.float32]:
    """Matrix ``[coarse, n]`` that averages runs of ``block`` pixels (the last run may be shorter)."""
    owner = np.arange(n) // block
    sums = (owner == np.arange(owner[-1] + 1)[:, None]).astype(np.float32)
    return sums / sums.sum(axis=1, keepdims=True)


@lru_cache(maxsize=16)
def _interpolation(n: int, block: int) -> npt.NDArray[np.float64]:
    """Matrix ``[n, coarse]`` that interpolates linearly between the middles of the runs of :func:`_block_means`."""
    middles = _block_means(n, block) @ np.arange(n, dtype=float)
    weights = [np.interp(np.arange(n), middles, unit) for unit in np.eye(len(middles))]
    return np.stack(weights, axis=1)
