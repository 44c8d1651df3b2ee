"""The loop over voxels that lays skin, fat and muscle sheets on the outline of the body."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True, inline="always")
def read_field(field, fx, fy, fz):  # type: ignore[no-untyped-def]
    """Trilinear value of a field at fractional indices (clamped to the grid)."""
    nz, ny, nx = field.shape
    fx = min(max(fx, 0.0), nx - 1.001)
    fy = min(max(fy, 0.0), ny - 1.001)
    fz = min(max(fz, 0.0), nz - 1.001)
    i, j, k = int(fx), int(fy), int(fz)
    a, b, c = fx - i, fy - j, fz - k
    low = (field[k, j, i] * (1 - a) + field[k, j, i + 1] * a) * (1 - b) + (
        field[k, j + 1, i] * (1 - a) + field[k, j + 1, i + 1] * a
    ) * b
    high = (field[k + 1, j, i] * (1 - a) + field[k + 1, j, i + 1] * a) * (1 - b) + (
        field[k + 1, j + 1, i] * (1 - a) + field[k + 1, j + 1, i + 1] * a
    ) * b
    return low * (1 - c) + high * c


@nb.njit(cache=True, nogil=True, inline="always")
def overlap(depth, low, high, edge):  # type: ignore[no-untyped-def]
    """Part of a voxel at this depth that lies between two depths."""
    begin, end = max(depth - edge / 2, low), min(depth + edge / 2, high)
    return max(end - begin, 0.0) / edge


@nb.njit(cache=True, nogil=True, inline="always")
def _muscle_fraction(depth, sheets, row, column, ribs, edge, intercostal):  # type: ignore[no-untyped-def]
    """Muscle in a voxel at this depth outside the inner chest wall."""
    found = overlap(depth, ribs[0], ribs[1], edge) if intercostal else 0.0
    inner = ribs[2]
    for s in range(sheets.shape[0]):
        thick = sheets[s, row, column]
        if thick < 0.05:
            continue
        inner += ribs[3] * min(thick / 2.0, 1.0)
        if depth + edge / 2 < inner:
            break
        found += overlap(depth, inner, inner + thick, edge)
        inner += thick
    return min(found, 1.0)


@nb.njit(cache=True, nogil=True, parallel=True)
def lay_wall(hu, labels, to_patient, edge, skin, cage, origin, step, sheets, maps, ribs, tissue, codes):  # type: ignore[no-untyped-def]
    """Paint skin, fat and muscle sheets into ``hu`` and ``labels`` (both ``[z, y, x]``, changed in place).

    Args:
        to_patient: (3, 4) from voxel indices (x, y, z, 1) to the patient's frame, mm.
        edge: width of soft edges, mm.
        skin, cage: signed distances on the coarse grid (``origin``, ``step`` mm).
        sheets: ``[sheet, z, azimuth]`` mm, at ``maps`` = (first z, z step, azimuth step, y of the axis).
        ribs: inner and outer depth of the intercostal muscles, inner depth of the sheets, fat plane between sheets,
            thickness of the skin, height above which there are no ribs, least thickness of its label, mm.
        tissue: Hounsfield units of skin, fat and muscle.
        codes: labels of skin, fat and muscle.
    """
    nz, ny, nx = hu.shape
    for k in nb.prange(nz):
        for j in range(ny):
            for i in range(nx):
                x = to_patient[0, 0] * i + to_patient[0, 1] * j + to_patient[0, 2] * k + to_patient[0, 3]
                y = to_patient[1, 0] * i + to_patient[1, 1] * j + to_patient[1, 2] * k + to_patient[1, 3]
                z = to_patient[2, 0] * i + to_patient[2, 1] * j + to_patient[2, 2] * k + to_patient[2, 3]
                fx, fy, fz = (x - origin[0]) / step, (y - origin[1]) / step, (z - origin[2]) / step
                s = read_field(skin, fx, fy, fz)
                if s >= edge / 2:
                    continue
                depth = read_field(cage, fx, fy, fz)
                muscle = 0.0
                if depth < 0.0:
                    muscle = 1.0
                else:
                    azimuth = np.rad2deg(np.arctan2(abs(x), y - maps[3]))
                    column = min(int(azimuth / maps[2] + 0.5), sheets.shape[2] - 1)
                    row = min(max(int((z - maps[0]) / maps[1] + 0.5), 0), sheets.shape[1] - 1)
                    muscle = _muscle_fraction(depth, sheets, row, column, ribs, edge, z < ribs[5])
                inner = min(max(0.5 - (s + ribs[4]) / edge, 0.0), 1.0)
                muscle *= inner
                value = tissue[0] + inner * (tissue[1] - tissue[0])
                value += muscle * (tissue[2] - value)
                body = min(max(0.5 - s / edge, 0.0), 1.0)
                hu[k, j, i] += body * (value - hu[k, j, i])
                if s < 0.0:
                    if s > -max(ribs[4], ribs[6]):
                        labels[k, j, i] = codes[0]
                    else:
                        labels[k, j, i] = codes[2] if muscle > 0.5 else codes[1]
