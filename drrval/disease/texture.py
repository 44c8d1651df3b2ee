"""Random fields that are fixed to a place in the lung, whatever grid they are sampled on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csr_array

Array = npt.NDArray[np.float32]
Axes = tuple[Array, Array, Array]  # positions of the samples along z, y, x, evenly spaced

_KNOTS = 24  # along each side of a field, which then repeats
_KNOT_STD = (151.0 / 315.0) ** 1.5  # of a cubic B-spline through white noise: (integral of its square)^(3/2)
# A secondary lobule is an irregular polyhedron of 1 to 2.5 cm (Hansell et al. 2008, 10.1148/radiol.2462070712).
_LOBULE_MM = 13.0


def smooth_noise(axes: Axes, scale: float, seed: tuple[int, ...]) -> Array:
    """Gaussian noise of mean 0 and standard deviation about 1 that varies over ``scale``.

    A cubic B-spline through random knots. Each sample is the mean over its own extent along each axis, so a coarse
    grid sees what a coarse scan would. The same seed gives the same field in space on any grid.

    Args:
        axes: positions along z, y, x, any unit.
        scale: distance of the knots, same unit.
        seed: of the field.

    Returns:
        float32 ``[z, y, x]``.
    """
    knots = np.random.default_rng(seed).standard_normal((_KNOTS,) * 3, dtype=np.float32)
    return _resample(knots / np.float32(_KNOT_STD), [_spline_weights(axis, scale) for axis in axes])


def lobules(axes: Axes, seed: tuple[int, ...], step_mm: float) -> tuple[Array, Array]:
    """Divide the lung into secondary lobules, as the cells nearest to jittered points.

    Args:
        axes: positions along z, y, x, mm.
        seed: of the division.
        step_mm: sampling of the borders, mm; linear in between.

    Returns:
        Distance to the nearest wall (mm), and a value of each lobule's own (mean 0, standard deviation 1, clipped to
        two); both float32 ``[z, y, x]``.
    """
    coarse = [np.arange(axis[0], axis[-1] + 2 * step_mm, max(step_mm, _step(axis))) for axis in axes]
    rng = np.random.default_rng(seed)
    jitter = rng.uniform(-0.5, 0.5, (_KNOTS,) * 3 + (3,))
    own = np.clip(rng.standard_normal((_KNOTS,) * 3), -2.0, 2.0)
    wall, value = _cells(coarse[0] / _LOBULE_MM, coarse[1] / _LOBULE_MM, coarse[2] / _LOBULE_MM, jitter, own)
    weights = [_linear_weights(axis, grid) for axis, grid in zip(axes, coarse, strict=True)]
    return _resample(wall * np.float32(_LOBULE_MM), weights), _resample(value, weights)


@njit(cache=True, nogil=True)
def _cells(z: Any, y: Any, x: Any, jitter: Any, own: Any) -> Any:
    """Distance of each sample to the nearest wall between the cells of jittered lattice points, and its cell's value.

    A wall is the plane half-way between the two nearest points. They lie among the 3 x 3 x 3 around the sample or,
    where the second is farther than the next ones can be near, among the 5 x 5 x 5. All lengths are in units of the
    lattice, which repeats.
    """
    n = jitter.shape[0]
    wall, value = np.empty((z.size, y.size, x.size), np.float32), np.empty((z.size, y.size, x.size), np.float32)
    for k, j, i in np.ndindex(wall.shape):
        kz, ky, kx = round(z[k]), round(y[j]), round(x[i])
        first, second, nearest, next_nearest = np.inf, np.inf, (0, 0, 0), (0, 0, 0)
        for reach in (1, 2):
            if reach == 2 and second <= 1.0:
                break
            side = 2 * reach + 1
            for cell in np.ndindex((side, side, side)):
                c = (kz + cell[0] - reach, ky + cell[1] - reach, kx + cell[2] - reach)
                if reach == 2 and max(abs(c[0] - kz), abs(c[1] - ky), abs(c[2] - kx)) < 2:
                    continue
                shift = jitter[c[0] % n, c[1] % n, c[2] % n]
                square = (c[0] + shift[0] - z[k]) ** 2 + (c[1] + shift[1] - y[j]) ** 2 + (c[2] + shift[2] - x[i]) ** 2
                if square < first:
                    second, next_nearest = first, nearest
                    first, nearest = square, c
                elif square < second:
                    second, next_nearest = square, c
        a, b = nearest, next_nearest
        one, other = jitter[a[0] % n, a[1] % n, a[2] % n], jitter[b[0] % n, b[1] % n, b[2] % n]
        apart = 0.0
        for axis in range(3):
            apart += (a[axis] + one[axis] - b[axis] - other[axis]) ** 2
        wall[k, j, i] = (second - first) / (2.0 * np.sqrt(apart))
        value[k, j, i] = own[a[0] % n, a[1] % n, a[2] % n]
    return wall, value


def _resample(field: Array, weights: list[csr_array]) -> Array:
    """Apply the weights ``[sample, knot]`` of each axis; sparse products are the same for any number of threads."""
    for matrix in weights:  # each turn brings the next axis to the front
        mixed = matrix @ field.reshape(field.shape[0], -1)
        field = mixed.reshape(matrix.shape[0], *field.shape[1:]).transpose(1, 2, 0)
    return np.ascontiguousarray(field)


def _step(axis: npt.NDArray[np.floating]) -> float:
    return float(axis[1] - axis[0]) if axis.size > 1 else 0.0


def _spline_weights(axis: Array, scale: float) -> csr_array:
    """Weights of a repeating cubic B-spline, averaged over each sample's extent."""
    step = _step(axis) / scale
    parts = int(np.clip(np.ceil(2.0 * step), 1, 16))
    inside = (np.arange(parts) + 0.5) / parts - 0.5
    position = (axis.astype(np.float64) / scale)[:, None] + inside * step
    knot = np.floor(position).astype(np.int64)
    t = position - knot
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=-1)
    return _sparse(weights / (6.0 * parts), (knot[..., None] + np.arange(-1, 3)) % _KNOTS, _KNOTS)


def _linear_weights(axis: Array, knots: npt.NDArray[np.floating]) -> csr_array:
    position = (axis - knots[0]) / _step(knots)
    low = np.clip(np.floor(position), 0, knots.size - 2).astype(np.int64)
    share = position - low
    return _sparse(np.stack([1.0 - share, share], axis=-1), low[:, None] + np.arange(2), knots.size)


def _sparse(weights: npt.NDArray[np.float64], columns: npt.NDArray[np.int64], knots: int) -> csr_array:
    """Matrix ``[sample, knot]`` from the weights of each sample; weights of one knot add up."""
    data = weights.astype(np.float32).ravel()
    starts = np.arange(len(weights) + 1) * (data.size // len(weights))
    return csr_array((data, columns.ravel(), starts), shape=(len(weights), knots))
