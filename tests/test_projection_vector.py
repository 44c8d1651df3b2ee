"""The vector steps of the separable kernel against plain NumPy."""

import numpy as np
import pytest
from numba import njit

from drrval.projection import separable
from drrval.projection.vector import LANES, PERMUTES, WIDEST_STEP, transpose

STEPS = [0.13, 0.5, 0.99 * WIDEST_STEP, -0.31, -0.99 * WIDEST_STEP]


def columns(step: float, size: int) -> np.ndarray:
    start = 3.2 if step > 0 else size - 4.2
    return np.clip(np.floor(start + step * np.arange(64)), 0, size - 2).astype(np.uint32)


def assert_reads(pick, blend, row, cells, narrow):
    """Check both loops on one row of voxels: neighbours as they are, and blended by weights."""
    weights = np.random.default_rng(1).random((2, cells.size)).astype(np.float32)
    sides, out = np.zeros((2, 2, cells.size), np.float32), np.zeros(cells.size, np.float32)
    pick(row, cells, narrow, sides[0, 0], sides[1, 0])
    np.testing.assert_array_equal(sides[0, 0], row[cells])
    np.testing.assert_array_equal(sides[1, 0], row[cells + 1])
    blend(row, cells, *weights, narrow, *sides, out)
    np.testing.assert_allclose(out, weights[0] * row[cells] + weights[1] * row[cells + 1], rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not PERMUTES, reason="this processor has no AVX2: the plain loops are in use")
@pytest.mark.parametrize("step", STEPS)
def test_eight_columns_at_once_are_the_same_as_one_by_one(step):
    size = 60
    row = np.concatenate([np.random.default_rng(0).normal(size=size), np.zeros(LANES)]).astype(np.float32)
    assert_reads(separable._pick_by_lanes, separable._blend_by_lanes, row, columns(step, size), True)


@pytest.mark.parametrize("step", [*STEPS, 1.7])
def test_the_loops_of_other_processors_are_the_same(step):
    row = np.random.default_rng(0).normal(size=160).astype(np.float32)
    assert_reads(separable._pick_plainly, separable._blend_plainly, row, columns(step, row.size), False)


@njit
def _transpose(values, out):
    transpose(values, 1, 2, 3, out, 5)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_transpose_reads_eight_by_eight_voxels(dtype):
    values = np.random.default_rng(2).integers(0, 250, (3, 11, 12)).astype(dtype)
    if dtype == "int16":
        values -= 500
    out = np.zeros((8, 20), np.float32)
    _transpose(values, out)
    np.testing.assert_array_equal(out[:, 5:13], values[1, 2:10, 3:11].T)
    assert not out[:, :5].any()
    assert not out[:, 13:].any()
