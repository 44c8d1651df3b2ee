"""The lungs: their outline, lobes and fissures, and the density of the parenchyma."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates

from drrval.phantom.anatomy import Anatomy, reference, tissue_hu
from drrval.phantom.breath import Breath
from drrval.phantom.canvas import Canvas, Field
from drrval.phantom.diaphragm import diaphragm
from drrval.phantom.labels import LOBES
from drrval.phantom.mediastinum import mediastinal_outline
from drrval.phantom.shapes import Array, HeightMap

_PLEURA_MM = 1.0  # soft tissue between lung and mediastinal organs
_FISSURE_MM = 0.35  # two layers of visceral pleura
# The back of the lung is up to 100 HU denser than the front, less in inspiration (Robinson and Kreel, J Comput Assist
# Tomogr 1979;3:740; Millar and Denison, Thorax 1989, 10.1136/thx.44.6.485).
_GRAVITY_HU_PER_MM = 0.28
_TEXTURE_HU = 14.0  # lobules differ in density
_TEXTURE_MM = 4.0
_STEP_MM = 4.0
_VESSEL_SHARE = 0.045  # mean density, relative to water, that the painted vessels and bronchi add to the lungs


def lung_field(canvas: Canvas, anatomy: Anatomy, breath: Breath) -> tuple[Field, Field, Field]:
    """Both lungs, the inside of the rib cage without the spine's muscles, and all below the diaphragm."""
    cage = canvas.distance([anatomy.loft("cage")])
    cavity = cage.without(canvas.distance([anatomy.loft("paraspinal")]))
    surface = diaphragm(anatomy, breath).moved(canvas.motion)
    below = Field(cavity.box, surface.distance(canvas.local_axes(cavity.box)))
    lung = cavity.without(below).without(mediastinal_outline(canvas, anatomy, breath).grown(_PLEURA_MM))
    return lung, cavity, below


@lru_cache(maxsize=8)
def fissures(anatomy: Anatomy, breath: Breath) -> dict[str, HeightMap]:
    """The oblique fissures of both lungs and the horizontal one of the right lung, as surfaces over x and y."""
    rng = np.random.default_rng([anatomy.seed, 0xF1])
    out = {}
    for name, side in (("oblique_right", -1.0), ("oblique_left", 1.0), ("horizontal", -1.0)):
        points = breath.points(anatomy.points(np.asarray(reference()["lungs"][name], dtype=float) * [side, 1.0, 1.0]))
        points[:, 2] += rng.normal(0.0, 7.0) + 0.06 * rng.normal() * points[:, 1]
        x = np.arange(-170.0, 170.0, _STEP_MM)
        y = np.arange(-150.0, 150.0, _STEP_MM)
        where = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        smooth = RBFInterpolator(points[:, :2], points[:, 2], kernel="thin_plate_spline", smoothing=50.0)
        waves = gaussian_filter(rng.standard_normal((len(y), len(x))), 5.0) * 5.0 * np.sqrt(4 * np.pi) * 2.0
        heights = smooth(where).reshape(len(y), len(x)) + waves
        out[name] = HeightMap(heights, (float(x[0]), float(y[0])), _STEP_MM)
    return out


def lobe_numbers(canvas: Canvas, lung: Field, anatomy: Anatomy, breath: Breath) -> tuple[npt.NDArray[np.uint8], Array]:
    """Lobe 1 to 5 of every voxel of the lungs' box (0 outside the lungs), and the distance to the nearest fissure."""
    axes = canvas.local_axes(lung.box)
    surfaces = fissures(anatomy, breath)
    side_x = canvas.patient_points(lung.box)[0]
    right = np.broadcast_to(side_x < 0, lung.mm.shape)
    below = {name: surface.moved(canvas.motion).distance(axes) for name, surface in surfaces.items()}
    oblique = np.where(right, below["oblique_right"], below["oblique_left"])
    horizontal = below["horizontal"]
    lobes = np.where(right, np.uint8(1), np.uint8(4))
    lobes[right & (horizontal < 0)] = 2
    lobes[right & (oblique < 0)] = 3
    lobes[~right & (oblique < 0)] = 5
    lobes[lung.mm >= 0] = 0
    near = np.abs(oblique)
    middle = right & (oblique >= 0)
    near[middle] = np.minimum(near, np.abs(horizontal))[middle]
    return lobes, near


def paint_lungs(
    canvas: Canvas, lung: Field, anatomy: Anatomy, breath: Breath, inspiration: float
) -> npt.NDArray[np.uint8]:
    """Paint parenchyma and fissures, label the lobes, and return the lobe numbers on the lungs' box.

    Args:
        canvas: to paint on.
        lung: both lungs.
        anatomy, breath: whose lungs.
        inspiration: fraction of the lung volume at full inspiration.
    """
    density = (1.0 + anatomy.lung_hu / 1000.0 - _VESSEL_SHARE) / inspiration
    x, y, z = canvas.patient_points(lung.box)
    base = np.float32(1000.0 * (density - 1.0)) + np.float32(_GRAVITY_HU_PER_MM / inspiration) * y
    values = (base + _texture(anatomy, (x, y, z), lung.mm.shape)).astype(np.float32)
    lobes, fissure = lobe_numbers(canvas, lung, anatomy, breath)
    edge = canvas.edge_mm
    part = np.clip(1.0 - fissure / np.float32(edge), 0.0, 1.0) * np.float32(min(_FISSURE_MM / edge, 1.0))
    values += part * (np.float32(tissue_hu()["fissure"]) - values)
    canvas.paint(lung, values)
    table = np.array([0, *LOBES], dtype=np.uint8)
    np.copyto(canvas.labels[lung.box], table[lobes], where=lobes > 0)
    return lobes


def _texture(anatomy: Anatomy, points: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """Small smooth differences in density, the same for every spacing, float32 ``[z, y, x]``, HU."""
    rng = np.random.default_rng([anatomy.seed, 0x7E])
    size = 64
    noise = gaussian_filter(rng.standard_normal((size, size, size), dtype=np.float32), 1.0, mode="wrap")
    noise *= np.float32(_TEXTURE_HU) / noise.std()
    step = np.float32(_TEXTURE_MM)
    out = np.empty(shape, dtype=np.float32)
    x, y, z = points
    for k in range(shape[0]):
        at = [np.broadcast_to(c[min(k, c.shape[0] - 1)] / step, shape[1:]) for c in (z, y, x)]
        map_coordinates(noise, at, order=1, mode="grid-wrap", output=out[k], prefilter=False)
    return out
