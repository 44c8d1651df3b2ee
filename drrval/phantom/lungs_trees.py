"""Arteries, veins and bronchi inside the lungs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from drrval.phantom.anatomy import Anatomy, reference, tissue_hu
from drrval.phantom.branching import grow_tree
from drrval.phantom.breath import Breath
from drrval.phantom.canvas import Canvas, Field
from drrval.phantom.lungs import lobe_numbers, lung_field
from drrval.phantom.shapes import Capsule, Vector

# Tips per cm3 of lung and their radius: vessels about 1 mm wide that end a few mm below the pleura.
_DENSITY = {"arteries": 1.5, "veins": 1.2}
_TIP_RADIUS_MM = {"arteries": 0.36, "veins": 0.38}
_DEPTH_MM = 3.0
# Bronchi run beside the arteries. Their lumen is about 0.7 times as wide (Kim SJ et al. J Comput
# Assist Tomogr 1995;19:365); CT shows them down to about 2 mm (Webb & Higgins, Thoracic Imaging, 3rd ed.).
_LUMEN = 0.66
_LEAST_ARTERY_MM = 1.2  # radius of the finest artery that a bronchus is drawn beside
_WALL = (0.3, 0.14)  # thickness of a bronchial wall: mm, and fraction of the radius of the lumen
_PART_MM = 14.0  # from the hilum bronchus and artery come together over this distance
_MODEL_SPACING_MM = 4.0


def trees(anatomy: Anatomy, breath: Breath) -> dict[str, list[Capsule]]:
    """Pieces of all trees, by kind (``arteries``, ``veins``, ``bronchi``; for these the lumen), in the patient's frame.

    They are grown in the lungs at full inspiration and move with the breath, so that a patient keeps them from scan to
    scan, whatever the voxel spacing.
    """
    deep = Breath.of(anatomy)
    return {kind: _breathed(pieces, deep, breath) for kind, pieces in _grown(anatomy).items()}


@lru_cache(maxsize=4)
def _grown(anatomy: Anatomy) -> dict[str, Vector]:
    """Pieces (n, 8) of all trees at full inspiration."""
    rng = np.random.default_rng([anatomy.seed, 0xB7])
    deep = Breath.of(anatomy)
    roots = {kind: deep.points(anatomy.points(points)) for kind, points in reference()["lungs"]["roots"].items()}
    grown = {
        kind: [
            grow_tree(root, points, _TIP_RADIUS_MM[kind], rng)
            for root, points in zip(roots[kind], per_lobe, strict=True)
        ]
        for kind, per_lobe in _tips(anatomy, deep, rng).items()
    }
    pairs = zip(grown["arteries"], roots["arteries"], roots["bronchi"], strict=True)
    grown["bronchi"] = [_beside(pieces, root, bronchus) for pieces, root, bronchus in pairs]
    return {kind: np.concatenate(parts) for kind, parts in grown.items()}


def _beside(arteries: Vector, root: Vector, bronchus: Vector) -> Vector:
    """Bronchi (lumen) beside the larger arteries of a lobe, as rows (n, 8) like theirs."""
    wide = arteries[arteries[:, 7] > _LEAST_ARTERY_MM]
    apart = bronchus - root
    aside = apart / np.linalg.norm(apart)
    out = wide.copy()
    for k, r in ((0, 6), (3, 7)):
        centre, radius = wide[:, k : k + 3], wide[:, r, None]
        share = np.exp(-np.linalg.norm(centre - root, axis=1, keepdims=True) / _PART_MM)
        touching = radius * (1.0 + _LUMEN * (1.0 + _WALL[1])) + _WALL[0]
        out[:, k : k + 3] = centre + aside * (touching + share * np.maximum(np.linalg.norm(apart) - touching, 0.0))
        out[:, r] = _LUMEN * wide[:, r]
    return out


def _breathed(pieces: Vector, deep: Breath, breath: Breath) -> list[Capsule]:
    start, end = (breath.points(deep.back(pieces[:, k : k + 3])) for k in (0, 3))
    return [Capsule(a, b, (float(r[0]), float(r[1]))) for a, b, r in zip(start, end, pieces[:, 6:], strict=True)]


def _tips(anatomy: Anatomy, breath: Breath, rng: np.random.Generator) -> dict[str, list[Vector]]:
    """End points (n, 3) of the branches, by kind and lobe, mm; evenly spread, off the lungs' surface."""
    low = anatomy.points([-150.0, -125.0, -175.0])
    canvas = Canvas(low, anatomy.points([150.0, 110.0, 160.0]), _MODEL_SPACING_MM)
    lung, _, _ = lung_field(canvas, anatomy, breath)
    lobes, fissure = lobe_numbers(canvas, lung, anatomy, breath)
    depth = np.minimum(-lung.mm, fissure)
    origin = canvas.grid.index_to_world([s.start for s in lung.box])
    out = {}
    for kind, density in _DENSITY.items():
        allowed = np.flatnonzero((depth > _DEPTH_MM).ravel())
        count = round(density * np.count_nonzero(lobes) * _MODEL_SPACING_MM**3 / 1000.0)
        chosen = rng.choice(allowed, count, replace=False)
        index = np.stack(np.unravel_index(chosen, lobes.shape), axis=-1) + rng.uniform(-0.5, 0.5, (count, 3))
        points = origin + index[:, ::-1] * _MODEL_SPACING_MM
        number = lobes.ravel()[chosen]
        out[kind] = [points[number == lobe] for lobe in range(1, 6)]
    return out


def paint_trees(canvas: Canvas, lung: Field, anatomy: Anatomy, breath: Breath) -> None:
    """Paint vessels and bronchi into the lungs; their voxels keep the label of the lobe."""
    hu = tissue_hu()
    inside = lung.mm < 0.5 * canvas.edge_mm
    view = canvas.hu[lung.box]
    found = trees(anatomy, breath)
    for kind in ("arteries", "veins"):
        _blend(view, canvas.fill(found[kind], lung.box), inside, hu["blood"])
    walls = [Capsule(c.start, c.end, _walled(c.radii)) for c in found["bronchi"]]
    _blend(view, canvas.fill(walls, lung.box), inside, hu["bronchial_wall"])
    _blend(view, canvas.fill(found["bronchi"], lung.box), inside, hu["airway"])


def _walled(radii: tuple[float, float]) -> tuple[float, float]:
    begin, end = (r + _WALL[0] + _WALL[1] * r for r in radii)
    return begin, end


def _blend(
    view: npt.NDArray[np.float32], part: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], hu: float
) -> None:
    part *= inside
    view += part * (np.float32(hu) - view)
