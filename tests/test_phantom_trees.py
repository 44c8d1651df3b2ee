"""Vessels and bronchi: trees that reach their tips and thin out on the way, and voxels that keep thin rods' mass."""

import numpy as np
import pytest

from drrval.phantom import Anatomy
from drrval.phantom.branching import grow_tree
from drrval.phantom.breath import Breath
from drrval.phantom.canvas import Canvas
from drrval.phantom.lungs_trees import trees
from drrval.phantom.shapes import Capsule

TIP_MM = 0.4


@pytest.fixture(scope="module")
def tips() -> np.ndarray:
    return np.random.default_rng(0).uniform(-50, 50, (400, 3)) + np.array([80.0, 0.0, 0.0])


def test_a_tree_reaches_every_tip(tips):
    pieces = grow_tree(np.zeros(3), tips, TIP_MM, np.random.default_rng(1))
    ends = pieces[:, 3:6]
    assert (np.linalg.norm(tips[:, None] - ends[None], axis=2).min(axis=1) < 1e-6).all()


def test_a_tree_hangs_together_and_thins_by_the_power_law(tips):
    pieces = grow_tree(np.zeros(3), tips, TIP_MM, np.random.default_rng(1))
    starts, ends = pieces[:, :3], pieces[:, 3:6]
    gaps = np.linalg.norm(starts[1:, None] - ends[None], axis=2).min(axis=1)
    assert gaps.max() < 1e-9
    assert pieces[:, 7].min() == pytest.approx(TIP_MM)
    assert pieces[:, 6:].max() == pytest.approx(TIP_MM * 400 ** (1 / 2.8))
    assert (pieces[:, 6] >= pieces[:, 7] - 1e-9).all()


def test_no_tips_no_tree():
    assert grow_tree(np.zeros(3), np.empty((0, 3)), TIP_MM, np.random.default_rng(1)).shape == (0, 8)


def test_segmental_vessels_have_the_calibre_of_adults_and_the_finest_are_about_a_millimetre_wide():
    found = trees(Anatomy(), Breath.of(Anatomy()))
    for kind in ("arteries", "veins"):
        radii = np.array([c.radii for c in found[kind]])
        assert 0.3 < radii.min() < 0.55
        assert 3.0 < radii.max() < 9.0
    lumen = np.array([c.radii for c in found["bronchi"]])
    assert 0.5 < lumen.min() < 1.0
    assert len(found["arteries"]) > len(found["veins"]) > 20 * len(found["bronchi"]) ** 0.5


def test_trees_move_with_the_breath():
    deep = trees(Anatomy(), Breath.of(Anatomy()))["arteries"]
    shallow = trees(Anatomy(), Breath.of(Anatomy(), 0.8))["arteries"]
    rise = np.array([b.end[2] - a.end[2] for a, b in zip(deep, shallow, strict=True)])
    assert rise.min() >= 0
    assert rise.max() > 20


@pytest.mark.parametrize("radius", [0.2, 0.5, 1.0, 3.0])
def test_a_rod_keeps_its_mass_when_it_is_thinner_than_a_voxel(radius):
    canvas = Canvas((-12, -12, -30), (12, 12, 30), 1.5)
    rod = Capsule((0.3, -0.2, -60.0), (0.3, -0.2, 60.0), (radius, radius))
    part = canvas.fill([rod], canvas.box((-99.0,) * 3, (99.0,) * 3))
    area = part[20].sum() * 1.5**2
    assert area == pytest.approx(np.pi * radius**2, rel=0.35)
    assert part.max() <= 1.0
