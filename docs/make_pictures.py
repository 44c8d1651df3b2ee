"""Make the pictures of the README: ``python docs/make_pictures.py CT``.

The README shows LIDC-IDRI-0314 (Armato et al. 2011, doi:10.1118/1.3528204; CC BY 3.0).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import drrval as dv
from drrval.rendering import position

HEIGHT = 460


def coronal(ct: dv.CTVolume, y_mm: float) -> Image.Image:
    """One coronal slice in a soft lung window (-1000 to 400 HU), head up, the patient's right on the left."""
    row = round((y_mm - ct.grid.origin_mm[1]) / ct.grid.spacing_mm[1])
    grey = np.clip((ct.hu[::-1, row] + 1000) / 1400 * 255, 0, 255).astype(np.uint8)
    width = HEIGHT * grey.shape[1] * ct.grid.spacing_mm[0] / (grey.shape[0] * ct.grid.spacing_mm[2])
    return Image.fromarray(grey).resize((round(width), HEIGHT), Image.Resampling.BICUBIC)


def main() -> None:
    """Write ``images/ct_and_drr.png``: a coronal slice, and the PA, AP and left lateral radiographs."""
    patient = position(dv.read_ct(sys.argv[1]))
    views = [Image.fromarray(dv.render(patient, view).image) for view in ("PA", "AP", "LL")]
    panels = [coronal(patient.ct, patient.centre_mm[1]), *(v.resize((HEIGHT, HEIGHT)) for v in views)]
    sheet = Image.new("L", (sum(p.width for p in panels) + 4 * (len(panels) - 1), HEIGHT), 255)
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + 4
    sheet.save(Path(__file__).parent / "images" / "ct_and_drr.png", optimize=True)


if __name__ == "__main__":
    main()
