"""A view as the pinhole camera that DeepDRR takes: ``pixel ~ intrinsic [R | t] world``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.geometry import Geometry

_PIXEL_CENTRE = 0.5  # DeepDRR's image coordinates are 0 at the edge of the first pixel, 0.5 at its centre


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera whose axes are x right, y down, z from the source to the panel: always right-handed.

    A radiograph shown as if one faced the patient is seen against the beam in PA and left lateral views, so its
    columns and rows make a left-handed frame with the beam. Such a view is projected with its columns reversed.

    Attributes:
        intrinsic: (3, 3) matrix, pixels: focal length and foot of the source on the panel.
        extrinsic: (4, 4) rigid transform, LPS mm to camera mm.
        mirrored: whether column ``j`` of the view is column ``columns - 1 - j`` of the camera's image.
    """

    intrinsic: npt.NDArray[np.float64]
    extrinsic: npt.NDArray[np.float64]
    mirrored: bool

    def as_viewed(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Images of this camera, ``[..., row, col]``, with the columns in the order of the view."""
        return np.ascontiguousarray(images[..., ::-1] if self.mirrored else images)


def pinhole_camera(geometry: Geometry) -> PinholeCamera:
    """The camera of a view; the foot of the source need not be the centre of the panel."""
    right, down, beam = np.asarray(geometry.column_axis), np.asarray(geometry.row_axis), geometry.normal
    mirrored = bool(np.cross(right, down) @ beam < 0)
    if mirrored:
        right = -right
    source = np.asarray(geometry.source_mm)
    to_centre = np.asarray(geometry.detector_centre_mm) - source
    rows, columns = geometry.shape
    focal = geometry.sid_mm / geometry.pixel_mm
    foot = [
        (n - 1) / 2.0 + _PIXEL_CENTRE - to_centre @ axis / geometry.pixel_mm
        for n, axis in ((columns, right), (rows, down))
    ]
    rotation = np.stack([right, down, beam])
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = rotation
    extrinsic[:3, 3] = -rotation @ source
    intrinsic = np.array([[focal, 0.0, foot[0]], [0.0, focal, foot[1]], [0.0, 0.0, 1.0]])
    return PinholeCamera(intrinsic, extrinsic, mirrored)
