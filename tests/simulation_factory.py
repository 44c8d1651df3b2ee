"""A small real CT, as far as the tests of virtual cohorts are concerned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import box_thorax

from drrval.study.store import write_volume

NO_FINDINGS = dict.fromkeys(("effusion", "atelectasis", "nodules", "emphysema", "tubes", "leads"), 0)


def write_real_scan(folder: Path, name: str = "ct") -> Path:
    """Write a noisy CT of a box thorax, and its lung mask as ``NAME_lungs.nii.gz`` beside it."""
    ct = box_thorax()
    noise = np.random.default_rng(1).normal(0, 12, ct.hu.shape)
    path = folder / f"{name}.nii.gz"
    write_volume(path, np.rint(np.maximum(ct.hu + noise, -1024)).astype(np.int16), ct.grid)
    z, y, x = np.indices(ct.hu.shape)
    inside = (ct.hu < -800) & (z >= 5) & (z < 55) & (y >= 18) & (y < 64) & (x >= 12) & (x < 90)
    lungs = np.where(inside, np.where(x < 50, 1, 2), 0).astype(np.uint8)
    write_volume(folder / f"{name}_lungs.nii.gz", lungs, ct.grid)
    return path
