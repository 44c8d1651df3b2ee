"""Vessels and bronchi: trees that fill a lung by splitting its volume again and again."""

from __future__ import annotations

import numpy as np

from drrval.phantom.legacy.shapes import Capsule, Vector

_MURRAY = 3.0  # the cubes of the radii add up at a branching (Murray, PNAS 1926, 10.1073/pnas.12.3.207)


def grow_tree(root: Vector, tips: Vector, tip_radius_mm: float) -> list[Capsule]:
    """A tree from a root to every tip.

    The tips are split in two along their longest direction; each half is served by a branch towards its middle, and so
    on. A branch that serves n tips has the radius ``tip_radius_mm * n ** (1 / 3)``.

    Args:
        root: (3,) where the tree enters, mm.
        tips: (n, 3) end points, mm.
        tip_radius_mm: radius of the finest branches, mm.
    """
    branches: list[Capsule] = []
    waiting = [(np.asarray(root, dtype=float), tips, _radius(len(tips), tip_radius_mm))]
    while waiting:
        start, group, thick = waiting.pop()
        if len(group) == 0:
            continue
        radius = _radius(len(group), tip_radius_mm)
        middle = group.mean(axis=0)
        share = 0.1 if len(group) == len(tips) else 0.45  # the trunk divides at once, at the hilum
        end = middle if len(group) == 1 else start + share * (middle - start)
        branches.append(Capsule(start, end, (min(thick, 1.3 * radius), radius)))
        if len(group) > 1:
            away = group - middle
            longest = np.linalg.eigh(np.einsum("ni,nj->ij", away, away))[1][:, -1]
            order = np.argsort(np.einsum("ni,i->n", away, longest), kind="stable")
            half = len(group) // 2
            waiting += [(end, group[order[:half]], radius), (end, group[order[half:]], radius)]
    return branches


def _radius(count: int, tip_radius_mm: float) -> float:
    return float(tip_radius_mm * max(count, 1) ** (1.0 / _MURRAY))
