"""The rendered radiograph and everything needed to display it again or to explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drrval.display import displayed, quantised
from drrval.geometry import Geometry
from drrval.settings import DisplaySettings


@dataclass(frozen=True)
class Radiograph:
    """A digitally reconstructed radiograph (DRR).

    Attributes:
        signal: float32 ``[row, col]``, receptor signal over that of the unattenuated beam.
        area_density: float32 ``[material, row, col]``, g/cm2 of air, soft tissue and bone along each ray.
        field: bool ``[row, col]``, the collimated field: where the beam passes the scanned range.
        geometry: the view.
        display: how the signal is shown.
        seed: the integer that the noise was drawn from.
        flags: what the view or the CT leaves out; see :mod:`drrval.positioning`.
        source: name of the CT.
        examination: patient and study that it belongs to in DICOM; see :func:`drrval.identity.examination_of`.
    """

    signal: npt.NDArray[np.float32]
    area_density: npt.NDArray[np.float32]
    field: npt.NDArray[np.bool_]
    geometry: Geometry
    display: DisplaySettings
    seed: int
    flags: tuple[str, ...]
    source: str
    examination: Mapping[str, str]

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """Displayed image, uint8 ``[row, col]``: bone bright, the patient's right on the left (PA, AP), head up."""
        return self.shown(8).astype(np.uint8, copy=False)

    def shown(self, bits: int = 8) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Displayed image of 8 or 16 bits, ``[row, col]``."""
        return quantised(displayed(self.signal, self.field, self.display, self.geometry.pixel_mm), bits)

    def save(self, path: str | Path) -> Path:
        """Write the displayed image; the suffix chooses the format (see :mod:`drrval.export`).

        Raises:
            DrrvalError: unknown suffix.
        """
        from drrval.export import save_radiograph

        return save_radiograph(self, Path(path))
