"""Small labelled chests, and sets made of them, for the tests of synthesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from drrval.disease import KINDS, disease_truth
from drrval.phantom.labels import LEFT, RIB_LEFT, RIB_RIGHT, RIGHT, Label
from drrval.simulation import VirtualScan
from drrval.synthesis import SynthesisSettings
from drrval.volume import CTVolume, Grid

SHAPE, SPACING = (60, 90, 100), 4.0
GGO, CONSOLIDATION = 1 + KINDS.index("ggo"), 1 + KINDS.index("consolidation")


def _ellipse(y: float, x: float, ry: float, rx: float) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return ((rows - y) / ry) ** 2 + ((columns - x) / rx) ** 2 <= 1


def chest(seed: int = 0, sick: tuple[str, ...] = ("right",), organs: bool = True) -> VirtualScan:
    """An elliptic body with two lungs, a heart, a liver dome, a spine and ribs; lesions in the lungs named."""
    rng = np.random.default_rng(seed)
    wide, deep = 40 + rng.integers(-3, 4), 28 + rng.integers(-2, 3)
    hu = np.full(SHAPE, -1000.0, np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    hu[:, _ellipse(40, 50, deep, wide)] = 40.0
    labels[:, _ellipse(40, 50, deep, wide)] = Label.MUSCLE
    lungs = np.zeros(SHAPE, np.uint8)
    for side, x, lobe in ((RIGHT, 31, Label.LOWER_LOBE_RIGHT), (LEFT, 69, Label.LOWER_LOBE_LEFT)):
        inside = _ellipse(40, x, 20, 15)
        hu[8:55, inside], labels[8:55, inside], lungs[8:55, inside] = -850.0, lobe, side
        dome = _ellipse(36, x, 14, 11)
        hu[:8, inside], labels[:8, inside] = 60.0, Label.LIVER
        for z in range(8, 20):  # the dome of the diaphragm rises into the lung
            hu[z, dome], labels[z, dome], lungs[z, dome] = 60.0, Label.LIVER, 0
    middle = _ellipse(40, 50, 18, 8)
    hu[8:55, middle], labels[8:55, middle], lungs[8:55, middle] = 30.0, Label.MEDIASTINAL_FAT, 0
    heart = _ellipse(36, 56, 12, 12)
    hu[12:32, heart], labels[12:32, heart], lungs[12:32, heart] = 45.0, Label.HEART, 0
    spine = _ellipse(58, 50, 6, 5)
    hu[:, spine], labels[:, spine], lungs[:, spine] = 500.0, Label.VERTEBRA, 0
    ring = _ellipse(40, 50, deep - 4, wide - 4) & ~_ellipse(40, 50, deep - 6, wide - 6)
    for number, z in enumerate(range(10, 54, 8), start=1):
        top = z + int(rng.integers(0, 3))
        for half, first in (
            (ring & (np.arange(SHAPE[2]) < 45), RIB_RIGHT),
            (ring & (np.arange(SHAPE[2]) > 55), RIB_LEFT),
        ):
            bone = half & ~(lungs[top] > 0)
            hu[top : top + 2, bone], labels[top : top + 2, bone] = 600.0 + 200.0 * rng.random(), first + number
    lesions = np.zeros(SHAPE, np.uint8)
    for name, x, side in (("right", 26, RIGHT), ("left", 76, LEFT)):
        if name in sick:
            for kind, y, z in ((GGO, 42, 36), (CONSOLIDATION, 46, 47)):
                spot = np.zeros(SHAPE, bool)
                spot[z - 4 : z + 4, y - 5 : y + 5, x - 4 : x + 4] = True
                lesions[spot & (lungs == side)] = kind
    hu[lesions == GGO], hu[lesions == CONSOLIDATION] = -500.0, 20.0
    grid = Grid(SHAPE, (SPACING,) * 3, (-200.0, -160.0, -120.0))
    ct = CTVolume(hu, grid, np.ones(SHAPE[1:], bool), f"chest {seed}")
    truth = disease_truth(lungs, lesions, grid.voxel_volume_cm3)
    return VirtualScan(ct, lungs, lesions, truth, organs=labels if organs else None)


def settings(**changes: Any) -> SynthesisSettings:
    """A small quiet set: 96 pixels, PA only, one tube, nothing laid over the image."""
    values: dict[str, Any] = {
        "name": "small",
        "seed": 7,
        "cohorts": [{"labelled": {"table": "scans.tsv"}}],
        "views": {"PA": 1.0},
        "views_per_scan": 2,
        "size": 96,
        "split": {"twin_correlation": 0.985},  # these chests are much alike
        "acquisition": {"beams": [{"views": ["PA", "AP", "LL"]}], "rotation_deg": [3, 3, 3]},
        "overlays": {"marker": 0, "collimation": 0, "jpeg": 0, "text": {}, "leads": {}, "tubes": {}},
    }
    return SynthesisSettings.model_validate(values | changes)


def write_scans(folder: Path, scans: dict[str, VirtualScan]) -> Path:
    """Write scans and ``scans.tsv`` for a cohort ``labelled``; returns the folder."""
    rows = ["subject\tpath\tlungs\tlesions\torgans"]
    for subject, scan in scans.items():
        names = {}
        maps = {
            "ct": scan.volume.hu.astype(np.int16),
            "lungs": scan.lungs,
            "lesions": scan.lesions,
            "organs": scan.organs,
        }
        for name, values in maps.items():
            if values is None:
                continue
            image = sitk.GetImageFromArray(values)
            image.SetSpacing(scan.volume.grid.spacing_mm)
            image.SetOrigin(scan.volume.grid.origin_mm)
            names[name] = f"{subject}_{name}_labels.nii.gz" if name != "ct" else f"{subject}.nii.gz"
            sitk.WriteImage(image, str(folder / names[name]))
        rows.append("\t".join([subject, *(names.get(n, "") for n in ("ct", "lungs", "lesions", "organs"))]))
    (folder / "scans.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
