"""The loop over voxels that lays a thin sheet of cloth around the skin."""

from __future__ import annotations

import numba as nb
import numpy as np

from drrval.phantom.body_wall_kernel import overlap, read_field


@nb.njit(cache=True, nogil=True, inline="always")
def _lift(azimuth, z, radius, folds, lift):  # type: ignore[no-untyped-def]
    """Distance of the cloth from the skin: it stands up along each fold, mm."""
    height = lift
    for f in range(len(folds)):
        turn = azimuth - folds[f, 0] - folds[f, 1] * z
        turn -= 360.0 * np.floor(turn / 360.0 + 0.5)
        across = np.deg2rad(turn) * radius / folds[f, 2]
        height += folds[f, 3] * np.exp(-0.5 * across * across)
    return height


@nb.njit(cache=True, nogil=True, parallel=True)
def lay_cloth(hu, labels, to_patient, edge, skin, origin, step, axis_y, folds, cloth, label):  # type: ignore[no-untyped-def]
    """Fill the air within a sheet around the skin, in place.

    Args:
        hu, labels: ``[z, y, x]``; labelled voxels of the patient keep both.
        to_patient: (3, 4) from voxel indices to the patient's frame, mm.
        edge: width of soft edges, mm.
        skin: signed distance on the coarse grid (``origin``, ``step`` mm).
        axis_y: y of the axis of azimuths.
        folds: (n, 4) azimuth, slant (degrees per mm), width and height (mm) of each fold.
        cloth: thickness, distance from the skin, Hounsfield units, collar height (mm).
        label: of the cloth.
    """
    nz, ny, nx = hu.shape
    farthest = cloth[0] + cloth[1] + folds[:, 3].sum() + edge
    for k in nb.prange(nz):
        for j in range(ny):
            for i in range(nx):
                if labels[k, j, i] != 0:
                    continue
                x = to_patient[0, 0] * i + to_patient[0, 1] * j + to_patient[0, 2] * k + to_patient[0, 3]
                y = to_patient[1, 0] * i + to_patient[1, 1] * j + to_patient[1, 2] * k + to_patient[1, 3]
                z = to_patient[2, 0] * i + to_patient[2, 1] * j + to_patient[2, 2] * k + to_patient[2, 3]
                if z > cloth[3]:
                    continue
                s = read_field(skin, (x - origin[0]) / step, (y - origin[1]) / step, (z - origin[2]) / step)
                if s > farthest:
                    continue
                dy = y - axis_y
                lift = _lift(np.rad2deg(np.arctan2(x, dy)), z, np.sqrt(x * x + dy * dy), folds, cloth[1])
                filled = overlap(s, lift, lift + cloth[0], edge)
                if filled <= 0.0:
                    continue
                air = min(max(-hu[k, j, i] / 1000.0, 0.0), 1.0)
                hu[k, j, i] += filled * air * (cloth[2] + 1000.0)
                if filled > 0.25:
                    labels[k, j, i] = label
