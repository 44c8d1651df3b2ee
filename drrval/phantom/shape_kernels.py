"""Loops over voxels that measure distances to shapes; every slice is worked out by one thread, in the same order."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True, inline="always")
def span(axis, low, high):  # type: ignore[no-untyped-def]
    """First and past-the-last index of the points of an even axis between two values."""
    n = len(axis)
    if n == 1:
        return (0, 1) if low <= axis[0] <= high else (0, 0)
    step = (axis[n - 1] - axis[0]) / (n - 1)
    begin = int(np.ceil(max((low - axis[0]) / step, 0.0)))
    end = int(np.floor(min((high - axis[0]) / step, n - 1.0))) + 1
    return begin, end


@nb.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def ellipsoid_distance(x, y, z, centre, turn, radii, exponent, out):  # type: ignore[no-untyped-def]
    """First-order signed distance ``(k - 1) / |grad k|`` to a superellipsoid, ``out`` ``[z, y, x]``, mm."""
    for k in nb.prange(len(z)):
        qz = z[k] - centre[2]
        for j in range(len(y)):
            qy = y[j] - centre[1]
            for i in range(len(x)):
                qx = x[i] - centre[0]
                total = 1e-12
                slope = 1e-12 / min(radii[0], radii[1], radii[2]) ** 2
                for a in range(3):
                    u = abs(qx * turn[0, a] + qy * turn[1, a] + qz * turn[2, a]) / radii[a]
                    power = u if exponent == 2.0 else u ** (exponent - 1.0)
                    total += power * u
                    slope += (power / radii[a]) ** 2
                size = np.sqrt(total) if exponent == 2.0 else total ** (1.0 / exponent)
                out[k, j, i] = (size - 1.0) * total / (size * np.sqrt(slope))


@nb.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def loft_distance(x, y, z, to_patient, sections, first, step, exponent, out):  # type: ignore[no-untyped-def]
    """First-order signed distance to a loft; ``sections`` rows: half width, x, y of the middle, half depth, slope."""
    last = len(sections) - 1.001
    for k in nb.prange(len(z)):
        for j in range(len(y)):
            for i in range(len(x)):
                px = to_patient[0, 0] * x[i] + to_patient[0, 1] * y[j] + to_patient[0, 2] * z[k] + to_patient[0, 3]
                py = to_patient[1, 0] * x[i] + to_patient[1, 1] * y[j] + to_patient[1, 2] * z[k] + to_patient[1, 3]
                pz = to_patient[2, 0] * x[i] + to_patient[2, 1] * y[j] + to_patient[2, 2] * z[k] + to_patient[2, 3]
                at = min(max((pz - first) / step, 0.0), last)
                row = int(at)
                t = at - row
                wide = sections[row, 0] + t * (sections[row + 1, 0] - sections[row, 0])
                middle_x = sections[row, 1] + t * (sections[row + 1, 1] - sections[row, 1])
                middle_y = sections[row, 2] + t * (sections[row + 1, 2] - sections[row, 2])
                deep = sections[row, 3] + t * (sections[row + 1, 3] - sections[row, 3])
                slant = sections[row, 4] + t * (sections[row + 1, 4] - sections[row, 4])
                u, v = abs(px - middle_x) / wide, abs(py - middle_y) / deep
                if exponent == 2.0:
                    pu, pv = u, v
                else:
                    pu, pv = u ** (exponent - 1.0), v ** (exponent - 1.0)
                total = pu * u + pv * v + 1e-9
                size = np.sqrt(total) if exponent == 2.0 else total ** (1.0 / exponent)
                slope = np.sqrt((pu / wide) ** 2 + (pv / deep) ** 2 + 1e-12)
                out[k, j, i] = (size - 1.0) * total / (size * slope * slant)


@nb.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def height_distance(x, y, z, to_patient, heights, first, step, out):  # type: ignore[no-untyped-def]
    """Signed distance to a surface z = h(x, y), negative below it; ``heights`` ``[y, x]``, mm."""
    ny, nx = heights.shape
    for k in nb.prange(len(z)):
        for j in range(len(y)):
            for i in range(len(x)):
                px = to_patient[0, 0] * x[i] + to_patient[0, 1] * y[j] + to_patient[0, 2] * z[k] + to_patient[0, 3]
                py = to_patient[1, 0] * x[i] + to_patient[1, 1] * y[j] + to_patient[1, 2] * z[k] + to_patient[1, 3]
                pz = to_patient[2, 0] * x[i] + to_patient[2, 1] * y[j] + to_patient[2, 2] * z[k] + to_patient[2, 3]
                fx = min(max((px - first[0]) / step, 0.0), nx - 1.001)
                fy = min(max((py - first[1]) / step, 0.0), ny - 1.001)
                a, b = int(fx), int(fy)
                s, t = fx - a, fy - b
                h00, h01, h10, h11 = heights[b, a], heights[b, a + 1], heights[b + 1, a], heights[b + 1, a + 1]
                h = (h00 * (1 - s) + h01 * s) * (1 - t) + (h10 * (1 - s) + h11 * s) * t
                gx = ((h01 - h00) * (1 - t) + (h11 - h10) * t) / step
                gy = ((h10 - h00) * (1 - s) + (h11 - h01) * s) / step
                out[k, j, i] = (pz - h) / np.sqrt(1.0 + gx * gx + gy * gy)


@nb.njit(cache=True, nogil=True, inline="always")
def _to_rod(qx, qy, qz, rod):  # type: ignore[no-untyped-def]
    """Distance to the axis of a rod and its radius there; ``rod``: start, axis, radii at its ends."""
    length = rod[3] * rod[3] + rod[4] * rod[4] + rod[5] * rod[5] + 1e-9
    t = min(max((qx * rod[3] + qy * rod[4] + qz * rod[5]) / length, 0.0), 1.0)
    ax, ay, az = qx - t * rod[3], qy - t * rod[4], qz - t * rod[5]
    return np.sqrt(ax * ax + ay * ay + az * az), rod[6] + t * (rod[7] - rod[6])


@nb.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def join_rods(x, y, z, rods, reach, blend, out):  # type: ignore[no-untyped-def]
    """Join round, tapered rods (n, 8) into a signed distance ``out`` ``[z, y, x]``, with a fillet of ``blend`` mm."""
    for k in nb.prange(len(z)):
        for n in range(len(rods)):
            rod = rods[n]
            grow = max(rod[6], rod[7]) + reach
            if z[k] < min(rod[2], rod[2] + rod[5]) - grow or z[k] > max(rod[2], rod[2] + rod[5]) + grow:
                continue
            j0, j1 = span(y, min(rod[1], rod[1] + rod[4]) - grow, max(rod[1], rod[1] + rod[4]) + grow)
            i0, i1 = span(x, min(rod[0], rod[0] + rod[3]) - grow, max(rod[0], rod[0] + rod[3]) + grow)
            for j in range(j0, j1):
                for i in range(i0, i1):
                    away, radius = _to_rod(x[i] - rod[0], y[j] - rod[1], z[k] - rod[2], rod)
                    new, old = away - radius, out[k, j, i]
                    if blend > 0.0:
                        h = min(max(0.5 + (new - old) / (2.0 * blend), 0.0), 1.0)
                        new += (old - new) * h - blend * h * (1.0 - h)
                    if new < old:
                        out[k, j, i] = new


@nb.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def fill_rods(x, y, z, rods, edge, out):  # type: ignore[no-untyped-def]
    """Occupied fraction 0..1 of voxels by thin rods, also where they are thinner than a voxel.

    A rod below half a voxel in radius is drawn one voxel wide and as much fainter, so that its cross-section times
    its density stays right on average.
    """
    for k in nb.prange(len(z)):
        for n in range(len(rods)):
            rod = rods[n]
            grow = max(rod[6], rod[7], edge / 2) + edge / 2
            if z[k] < min(rod[2], rod[2] + rod[5]) - grow or z[k] > max(rod[2], rod[2] + rod[5]) + grow:
                continue
            j0, j1 = span(y, min(rod[1], rod[1] + rod[4]) - grow, max(rod[1], rod[1] + rod[4]) + grow)
            i0, i1 = span(x, min(rod[0], rod[0] + rod[3]) - grow, max(rod[0], rod[0] + rod[3]) + grow)
            for j in range(j0, j1):
                for i in range(i0, i1):
                    away, radius = _to_rod(x[i] - rod[0], y[j] - rod[1], z[k] - rod[2], rod)
                    drawn = max(radius, edge / 2)
                    part = min(max(0.5 - (away - drawn) / edge, 0.0), 1.0)
                    part *= min(1.0, 3.0 * (radius / edge) ** 2)
                    if part > out[k, j, i]:
                        out[k, j, i] = part


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _across(field, k, j, i):  # type: ignore[no-untyped-def]
    """How much a field changes across a voxel along its gradient: the sum of its steps along the three axes."""
    nz, ny, nx = field.shape
    k0, k1 = max(k - 1, 0), min(k + 1, nz - 1)
    j0, j1 = max(j - 1, 0), min(j + 1, ny - 1)
    i0, i1 = max(i - 1, 0), min(i + 1, nx - 1)
    total = abs(field[k1, j, i] - field[k0, j, i]) / max(k1 - k0, 1)
    total += abs(field[k, j1, i] - field[k, j0, i]) / max(j1 - j0, 1)
    return total + abs(field[k, j, i1] - field[k, j, i0]) / max(i1 - i0, 1)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _paint_slice(k, hu, labels, field, values, edge, widest, label):  # type: ignore[no-untyped-def]
    many = values.shape[0] > 1 or values.shape[1] > 1 or values.shape[2] > 1
    limit = edge / 2 if edge > 0.0 else widest
    for j in range(hu.shape[1]):
        for i in range(hu.shape[2]):
            d = field[k, j, i]
            if d >= limit:
                continue
            part = 1.0
            if d > -limit:
                width = edge if edge > 0.0 else _across(field, k, j, i) + 1e-6
                part = min(max(0.5 - d / width, 0.0), 1.0)
            value = values[k, j, i] if many else values[0, 0, 0]
            hu[k, j, i] += np.float32(part) * (value - hu[k, j, i])
            if label > 0 and d < 0.0:
                labels[k, j, i] = label


@nb.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def paint_field(hu, labels, field, values, edge, widest, label):  # type: ignore[no-untyped-def]
    """Blend ``values`` (one, or one per voxel) into ``hu`` where ``field`` is negative, and label these voxels.

    Args:
        hu, labels: views ``[z, y, x]`` on the canvas, changed in place.
        field: signed distance, mm, same shape.
        values: Hounsfield units, shape (1, 1, 1) or as ``hu``.
        edge: width of the soft edge, mm; 0 for one voxel along the normal of the surface.
        widest: half the diagonal of a voxel, mm: no edge of one voxel reaches farther.
        label: 0 leaves ``labels`` as they are.
    """
    for k in nb.prange(hu.shape[0]):
        _paint_slice(k, hu, labels, field, values, edge, widest, label)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def paint_small_field(hu, labels, field, values, edge, widest, label):  # type: ignore[no-untyped-def]
    """As :func:`paint_field`, in one thread: starting threads takes longer than a small box."""
    for k in range(hu.shape[0]):
        _paint_slice(k, hu, labels, field, values, edge, widest, label)
