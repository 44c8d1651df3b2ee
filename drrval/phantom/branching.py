"""Trees of vessels and bronchi that fill a region by splitting its volume again and again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.phantom.shapes import Vector

Counts = npt.NDArray[np.int64]

# Calibre over the number of tips that a branch serves: at a branching the radii obey r^n = r1^n + r2^n. n is about
# 2.7 to 3 in human pulmonary arteries (Murray, PNAS 1926, 10.1073/pnas.12.3.207; Huang et al. J Appl Physiol
# 1996;81:2123, 10.1152/jappl.1996.81.5.2123).
_EXPONENT = 2.8
# A branch goes this part of the way to the middle of the region that it serves before it divides: the first ones divide
# at once, at the hilum, so that segmental branches spread from there.
_FIRST_SHARE, _LAST_SHARE = 0.1, 0.62
_INERTIA = 0.3  # how much a branch keeps the direction of its parent
_BOW = 0.035  # bow of a branch, as a fraction of its length


def grow_tree(root: Vector, tips: Vector, tip_radius_mm: float, rng: np.random.Generator) -> Vector:
    """A tree from a root to every tip, as rows (n, 8) of straight pieces: start, end, radii at both.

    The tips are split in two along their longest direction, at an uneven place; each part is served by a bowed branch
    towards its middle, and so on. All branches of one order are made at once.

    Args:
        root: (3,) where the tree enters, mm.
        tips: (n, 3) end points, mm.
        tip_radius_mm: radius of the finest branches, mm.
        rng: of the uneven splits and bows.
    """
    if not len(tips):
        return np.empty((0, 8))
    n_tips = len(tips)
    count = np.array([n_tips])  # tips of each branch; those of one branch follow one another
    start, before = np.array([root], dtype=float), tip_radius_mm * count ** (1.0 / _EXPONENT)
    heading = _unit(tips.mean(axis=0) - start)
    pieces = []
    while len(count):
        middle = np.add.reduceat(tips, np.cumsum(count) - count) / count[:, None]
        radius = tip_radius_mm * count ** (1.0 / _EXPONENT)
        forks = count > 1
        way = middle - start
        length = np.linalg.norm(way, axis=1)
        length[forks] *= _LAST_SHARE + (_FIRST_SHARE - _LAST_SHARE) * np.log(count[forks]) / np.log(n_tips)
        end = np.where(forks[:, None], start + length[:, None] * _unit(_unit(way) + _INERTIA * heading), middle)
        elbow = (start + end) / 2.0 + _BOW * length[:, None] * rng.standard_normal(start.shape)
        begin = np.minimum(before, 1.25 * radius)
        between = (begin + radius) / 2.0
        pieces += [np.column_stack([start, elbow, begin, between]), np.column_stack([elbow, end, between, radius])]
        tips = tips[np.repeat(forks, count)]
        tips, count = _split(tips, middle[forks], count[forks], rng)
        start, heading, before = (np.repeat(v[forks], 2, axis=0) for v in (end, _unit(end - elbow), radius))
    return np.concatenate(pieces)


def _unit(vectors: Vector) -> Vector:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def _split(tips: Vector, middle: Vector, count: Counts, rng: np.random.Generator) -> tuple[Vector, Counts]:
    """Sort each branch's tips along their longest direction and cut where 22 to 78 percent of them lie before.

    Returns:
        The sorted tips, and how many each of the twice as many branches has.
    """
    if not len(count):
        return tips, count
    owner = np.repeat(np.arange(len(count)), count)
    away = tips - middle[owner]
    spread = np.add.reduceat(away[:, :, None] * away[:, None, :], np.cumsum(count) - count)
    longest = np.array([0.6, 0.5, 0.62])
    for _ in range(12):  # power iteration
        longest = _unit((spread @ longest[..., None])[..., 0] + 1e-12)
    along = (away * longest[owner]).sum(axis=1)
    cut = np.clip(np.rint(count * rng.uniform(0.22, 0.78, len(count))).astype(int), 1, count - 1)
    return tips[np.lexsort((along, owner))], np.column_stack([cut, count - cut]).ravel()
