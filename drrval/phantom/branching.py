"""Trees of vessels and bronchi that fill a region by splitting its volume again and again."""

from __future__ import annotations

import numba as nb
import numpy as np

from drrval.phantom.shapes import Vector

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
    towards its middle, and so on.

    Args:
        root: (3,) where the tree enters, mm.
        tips: (n, 3) end points, mm.
        tip_radius_mm: radius of the finest branches, mm.
        rng: of the uneven splits and bows.
    """
    pieces = np.empty((4 * len(tips), 8))
    return pieces[: _grow(np.asarray(root, dtype=float), tips.copy(), float(tip_radius_mm), rng, pieces)]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _grow(root, tips, tip_radius, rng, pieces):  # type: ignore[no-untyped-def]
    """Fill ``pieces`` and return their number; ``tips`` are sorted in place."""
    made, n = 0, len(tips)
    if n == 0:
        return made
    groups = [(0, n)]
    starts = np.empty((2 * n, 7))  # start, heading, radius of the parent
    starts[0, :3] = root
    starts[0, 3:6] = _unit(_mean(tips) - root)
    starts[0, 6] = tip_radius * n ** (1.0 / _EXPONENT)
    while len(groups) > 0:
        first, last = groups.pop()
        state = starts[len(groups)].copy()
        start, heading = state[:3], state[3:6]
        group = tips[first:last]
        count = last - first
        radius = tip_radius * count ** (1.0 / _EXPONENT)
        way = _mean(group) - start
        length = np.sqrt((way**2).sum())
        straight = _unit(way)
        if count == 1:
            end = start + way
        else:
            length *= _LAST_SHARE + (_FIRST_SHARE - _LAST_SHARE) * np.log(count) / np.log(n)
            end = start + length * _unit(straight + _INERTIA * heading)
        middle = (start + end) / 2.0
        for axis in range(3):
            middle[axis] += rng.normal(0.0, _BOW * length)
        begin = min(state[6], 1.25 * radius)
        between = (begin + radius) / 2.0
        for a, b, r, s in ((start, middle, begin, between), (middle, end, between, radius)):
            pieces[made, :3], pieces[made, 3:6], pieces[made, 6], pieces[made, 7] = a, b, r, s
            made += 1
        if count > 1:
            cut = first + _split(group, rng)
            for low, high in ((first, cut), (cut, last)):
                starts[len(groups), :3], starts[len(groups), 3:6] = end, _unit(end - middle)
                starts[len(groups), 6] = radius
                groups.append((low, high))
    return made


@nb.njit(cache=True, nogil=True, inline="always")
def _mean(points):  # type: ignore[no-untyped-def]
    total = np.zeros(3)
    for row in points:
        total += row
    return total / len(points)


@nb.njit(cache=True, nogil=True, inline="always")
def _unit(vector):  # type: ignore[no-untyped-def]
    return vector / (np.sqrt((vector**2).sum()) + 1e-9)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _split(group, rng):  # type: ignore[no-untyped-def]
    """Sort points along their longest direction and return where to cut: 22 to 78 percent of them lie before it."""
    middle = _mean(group)
    spread = np.zeros((3, 3))
    for row in group:
        away = row - middle
        spread += np.outer(away, away)
    longest = np.array([0.6, 0.5, 0.62])
    for _ in range(12):  # power iteration
        longest = _unit(spread @ longest + 1e-12)
    order = np.argsort((group - middle) @ longest, kind="mergesort")
    group[:] = group[order].copy()
    return min(max(round(len(group) * rng.uniform(0.22, 0.78)), 1), len(group) - 1)
