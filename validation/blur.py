"""What voxels and bilinear sampling must do to a shadow: the error that the discrete model cannot avoid.

A voxel holds the mean density of its volume, and the projector samples voxels bilinearly on planes. At a spatial
frequency k (a vector across the ray, rad/mm) the image of an object is therefore the exact one times

    T(k) = prod_i sinc(k_i h_i / 2 pi) * prod_{i != d} sinc^2(k_i h_i / 2 pi),    sinc(x) = sin(pi x) / (pi x)

with k_i the component along voxel axis i, h_i the spacing and d the driving axis: a box's transfer function along every
axis and a tent's along the two in the plane (R. N. Bracewell, The Fourier Transform and Its Applications, tables of
transforms). What the sampling folds back from beyond the voxel grid's Nyquist frequency comes on top; it is left out
here. By Parseval's theorem the relative RMS error is the RMS of 1 - T, weighted with the spectrum of the shadow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drrval.geometry import Geometry
from drrval.volume import Grid
from validation.shapes import Array, Ellipsoid, GaussianBlob

Transfer = Callable[[Array], Array]  # values (...) at products k_i h_i / 2 pi (..., [x, y, z]), driving axis last


def voxel_and_tent(cycles: Array) -> Array:
    """The projector's transfer function (see above) at cycles per voxel (..., [in plane, in plane, driving])."""
    return np.asarray(np.sinc(cycles).prod(-1) * np.sinc(cycles[..., :2]).prod(-1) ** 2)


def voxel_only(cycles: Array) -> Array:
    """Transfer function of the mean over each voxel."""
    return np.asarray(np.sinc(cycles).prod(-1))


def band_limit(cycles: Array) -> Array:
    """An ideal low-pass: every frequency below the voxel grid's Nyquist frequency kept, all others lost."""
    return (np.abs(cycles) < 0.5).all(-1).astype(float)


def ellipsoid_error(ellipsoid: Ellipsoid, grid: Grid, geometry: Geometry, transfer: Transfer = voxel_and_tent) -> float:
    """Relative RMS error of an ellipsoid's shadow that a transfer function causes.

    The spectrum of a unit ball at radius q is 4 pi j1(q) / q, whose mean square falls as q^-4 (the square-root edge
    of its shadow): hence an error of first order in the voxel size. Rays are taken as parallel.
    """
    across, _ = _around_the_ray(ellipsoid.centre_mm, geometry)
    axes = across @ ellipsoid.turn * ellipsoid.semi_axes_mm
    root = np.linalg.cholesky(axes @ axes.T)  # shadow = root @ unit disc
    q = np.geomspace(0.1, 1e5, 1000)
    unit = _circle() @ np.linalg.inv(root)  # directions of k at q = 1
    lost = _lost(unit @ across, q, grid, ellipsoid.centre_mm, geometry, transfer)
    # error^2 = integral (1-T)^2 / (2 q^4) d2q  /  integral (j1/q)^2 d2q, the latter = pi / 2
    return float(np.sqrt(2.0 * np.trapezoid(lost / q**2, np.log(q))))


def blob_error(blob: GaussianBlob, grid: Grid, geometry: Geometry, transfer: Transfer = voxel_and_tent) -> float:
    """Relative RMS error of a Gaussian blob's shadow that a transfer function causes: second order in voxel size."""
    across, _ = _around_the_ray(blob.centre_mm, geometry)
    q = np.linspace(1e-3, 6.0, 400)  # in units of 1 / sigma
    lost = _lost(_circle() @ across / blob.sigma_mm, q, grid, blob.centre_mm, geometry, transfer)
    weight = q * np.exp(-(q**2))
    return float(np.sqrt(np.trapezoid(lost * weight, q) / np.trapezoid(weight, q)))


def _circle() -> Array:
    """Unit vectors (n, 2) over half a turn; T is even."""
    angle = (np.arange(90) + 0.5) / 90 * np.pi
    return np.column_stack([np.cos(angle), np.sin(angle)])


def _around_the_ray(centre_mm: tuple[float, float, float], geometry: Geometry) -> tuple[Array, Array]:
    """Two unit vectors (2, 3) across the ray through a point, and the ray's own (3,)."""
    ray = np.asarray(centre_mm) - np.asarray(geometry.source_mm)
    ray /= np.linalg.norm(ray)
    first = np.cross(ray, geometry.row_axis)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(ray, first)]), ray


def _lost(
    directions: Array,
    q: Array,
    grid: Grid,
    centre_mm: tuple[float, float, float],
    geometry: Geometry,
    transfer: Transfer,
) -> Array:
    """Mean over all directions of (1 - T)^2 at each radius q; ``directions`` (n, 3) is k in rad/mm at q = 1."""
    _, ray = _around_the_ray(centre_mm, geometry)
    driving = int(np.argmax(np.abs(ray @ grid.direction)))
    order = [*(axis for axis in range(3) if axis != driving), driving]
    cycles = directions @ grid.direction * grid.spacing_mm / (2.0 * np.pi)
    return np.array([np.mean((1.0 - transfer(radius * cycles[:, order])) ** 2) for radius in q])
