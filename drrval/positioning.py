"""Where the chest stands in the beam, and what of it the panel or the CT leaves out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.body import Body
from drrval.geometry import Geometry
from drrval.volume import CTVolume, Grid

# flag -> what it says
VIEW_FLAGS = {
    "lungs_outside_field": "part of the lungs is imaged beyond the edge of the panel and is missing",
    "body_outside_field": "the chest is wider than the panel; its sides are missing",
    "ct_clips_body_laterally": "the CT cuts the chest wall at the sides, below the shoulders; what is cut is missing",
    "ct_clips_lungs_top": "the CT ends within the lungs at the top; what lies above is missing",
    "ct_clips_lungs_bottom": "the CT ends within the lungs at the bottom; what lies below is missing",
}

_CONTACT_MM = 10.0  # skin that meets the edge of the scanned field in one slice, at least
_BELOW_SHOULDERS = 2 / 3  # lower share of the chest: above it nearly every scan cuts shoulders and raised arms
_CLIPPED_SLICE_SHARE = 0.05
_CLIPPED_LUNG_CM2 = 8.0  # lung area in an end slice: more than the tip of an apex or of a costophrenic angle


def chest_centre(ct: CTVolume, body: Body) -> npt.NDArray[np.float64]:
    """Centre of the chest, LPS mm (x, y, z).

    The middle of the body side to side and front to back over the slices with lung, and half way up these slices. It
    hardly depends on disease, so serial scans are positioned alike.
    """
    chest = body.chest_slices()
    z, y, x = np.nonzero(body.filled[chest])
    middle = np.array([(v.min() + v.max()) / 2.0 for v in (z + chest.start, y, x)])
    return ct.grid.index_to_world(middle * np.asarray(body.stride))


def scanned_field(grid: Grid, geometry: Geometry, centre_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Pixels, bool ``[row, col]``, that look between the first and last slice at the depth of ``centre_mm``."""
    source = np.asarray(geometry.source_mm)
    depth = (np.asarray(centre_mm) - source) @ geometry.normal / geometry.sid_mm
    corners = geometry.pixel_position([0, 1, 0], [0, 0, 1])
    z = grid.world_to_index(source + depth * (corners - source))[:, 0]
    rows, columns = (np.arange(n) for n in geometry.shape)
    index = z[0] + (z[1] - z[0]) * rows[:, None] + (z[2] - z[0]) * columns
    return (index >= -0.5) & (index <= grid.shape[0] - 0.5)


def field_flags(ct: CTVolume, body: Body, geometry: Geometry) -> tuple[str, ...]:
    """What a view leaves out of the panel.

    ``lungs_outside_field``: aerated lung (without the outermost tips) is imaged beyond the panel's edge.
    ``body_outside_field``: the chest is wider than the panel (common in practice; shoulders and arms may be cut).
    """
    rows, columns = geometry.shape
    chest = np.zeros_like(body.filled)
    chest[body.chest_slices()] = True
    lungs = _imaged(body.lung_like & chest, ct, body, geometry)
    skin = _imaged(body.filled & chest, ct, body, geometry)[:, 1]
    flags = []
    if (lungs < -0.5).any() or (lungs > np.array([rows, columns]) - 0.5).any():
        flags.append("lungs_outside_field")
    if (skin < -0.5).any() or (skin > columns - 0.5).any():
        flags.append("body_outside_field")
    return tuple(flags)


def clipped_slice_share(ct: CTVolume, body: Body) -> float:
    """Share (0-1) of the slices of the chest below the shoulders whose skin meets the edge of the scanned field."""
    scanned = ct.scanned[:: body.stride[1], :: body.stride[2]]
    edge = scanned & ~ndimage.binary_erosion(scanned, structure=np.ones((3, 3), bool))
    chest = body.chest_slices()
    below_shoulders = slice(chest.start, chest.start + round(_BELOW_SHOULDERS * (chest.stop - chest.start)))
    contact = (body.filled[below_shoulders] & edge).sum(axis=(1, 2))
    return float(np.mean(contact * ct.grid.spacing_mm[1] * body.stride[1] >= _CONTACT_MM))


def clipping_flags(ct: CTVolume, body: Body) -> tuple[str, ...]:
    """What the CT itself leaves out.

    ``ct_clips_body_laterally``: below the shoulders the skin meets the edge of the reconstructed field in more than 5 %
    of the slices, so the DRR lacks soft tissue beside the lungs. ``ct_clips_lungs_top`` and
    ``ct_clips_lungs_bottom``: lung is cut by the last or first slice.
    """
    flags = []
    if clipped_slice_share(ct, body) > _CLIPPED_SLICE_SHARE:
        flags.append("ct_clips_body_laterally")
    area_cm2 = np.prod(ct.grid.spacing_mm[:2]) * np.prod(body.stride[1:]) / 100.0
    for name, end in (("bottom", 0), ("top", -1)):
        if body.lung_like[end].sum() * area_cm2 > _CLIPPED_LUNG_CM2:
            flags.append(f"ct_clips_lungs_{name}")
    return tuple(flags)


def _imaged(mask: npt.NDArray[np.bool_], ct: CTVolume, body: Body, geometry: Geometry) -> npt.NDArray[np.float64]:
    """Pixels (n, [row, column]) where the surface voxels of a coarse mask are imaged."""
    surface = mask & ~ndimage.binary_erosion(mask)
    index = body.coarse_to_index(np.argwhere(surface))
    return geometry.project_points(ct.grid.index_to_world(index))
