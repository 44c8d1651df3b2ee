"""Pictures of virtual chests: procedural ones, and real ones with pneumonia put into them beside real radiographs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from skimage.io import imread

from drrval.disease import Pattern, disease_truth, draw_lesions, fit_extent, insert_disease
from drrval.geometry import view_geometry
from drrval.intake import read_ct
from drrval.phantom import PROTOCOLS, Accessories, acquire, make_thorax, random_anatomy
from drrval.rendering import position, render
from drrval.settings import DisplaySettings
from drrval.simulation.real_ct import RealScan, find_lungs
from drrval.volume import CTVolume, Grid
from validation.markdown import table

Labels = npt.NDArray[np.uint8]

SPACING_MM = (1.0, 1.0, 1.5)
DISPLAY = DisplaySettings(detail_gain=2.0)
PIXELS, PIXEL_MM = 560, 0.768  # of the panel: 43 cm


@dataclass(frozen=True)
class Case:
    """One procedural chest of the gallery: seed of anatomy and disease, view, and the disease's share of the lungs."""

    seed: int
    view: str = "PA"
    pattern: Pattern | None = None
    extent_percent: float = 0.0


CASES = (
    *(Case(seed) for seed in (1, 2, 4)),
    Case(5, "AP"),
    *(Case(seed, "PA", "covid", extent) for seed, extent in ((6, 4.0), (7, 12.0), (8, 30.0))),
    Case(9, "AP", "covid", 20.0),
    Case(10, "LL"),
    Case(11, "PA"),
    Case(12, "PA", "lobar", 12.0),
    Case(13, "PA", "broncho", 8.0),
)
# Disease for the real chests: one after another, as many as there are scans.
EXTENTS: tuple[tuple[Pattern, float], ...] = (("covid", 5.0), ("covid", 15.0), ("covid", 30.0), ("lobar", 12.0))
SCANS = (
    *("normal_001", "covid_P001", "cap_001", "lidc_0314.nii.gz"),
    *(f"lowres_0{i}.nii.gz" for i in (1, 2, 3, 4)),
)


@dataclass(frozen=True)
class Shown:
    """An image with its caption."""

    image: npt.NDArray[np.uint8]
    caption: str


def report(folder: Path) -> str:
    """Draw ``gallery.png`` and, with development data, ``gallery_real.png`` into ``folder``; return the Markdown."""
    chests = [procedural(case) for case in CASES]
    draw(folder / "gallery.png", [shown for shown, _ in chests])
    heads = [
        "seed",
        "view",
        "sex, age",
        "disease",
        "lung, l",
        "disease, cm3",
        "disease, % of right + left lung",
        "right",
        "left",
    ]
    text = ["![Procedural chests](images/virtual/gallery.png)", table(heads, [row for _, row in chests])]
    root = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if (root / "ct").is_dir() and (root / "cxr").is_dir():
        draw(folder / "gallery_real.png", real(root))
        text.append(
            "`images/virtual/gallery_real.png` shows real chests without and with pneumonia put into them, and real "
            "radiographs; it is made with this page and not in the repository, because it shows patients."
        )
    return "\n\n".join(text)


def procedural(case: Case) -> tuple[Shown, list[str]]:
    """The radiograph of a procedural chest, and its row of the table."""
    anatomy = random_anatomy(case.seed)
    thorax = make_thorax(anatomy, spacing_mm=SPACING_MM, accessories=Accessories(table=True))
    hu, lesions = diseased(thorax.hu, thorax.grid, thorax.lungs, case, thorax.lobes)
    truth = disease_truth(thorax.lungs, lesions, thorax.grid.voxel_volume_cm3)
    volume = acquire(hu, thorax.grid, PROTOCOLS["standard"], case.seed)
    who = f"{'F' if anatomy.female else 'M'} {anatomy.age:.0f}"
    what = f"{case.pattern} {truth['ratio_percent']:.1f} %" if case.pattern else "healthy"
    row = [
        *(str(case.seed), case.view, who, case.pattern or "none"),
        f"{truth['lung_cm3'] / 1000:.1f}",
        f"{truth['lesion_cm3']:.0f}",
        *(f"{truth[f'ratio_{side}percent']:.1f}" for side in ("", "right_", "left_")),
    ]
    return Shown(radiograph(volume, case.view), f"{case.seed}: {case.view}, {who}, {what}"), row


def diseased(
    hu: npt.NDArray[np.float32], grid: Grid, lungs: Labels, case: Case, lobes: Labels | None = None
) -> tuple[npt.NDArray[np.float32], Labels]:
    """Hounsfield units and lesion map with the disease of a case."""
    if case.pattern is None:
        return hu, np.zeros_like(lungs)
    drawn = draw_lesions(case.pattern, case.seed, case.extent_percent)
    inserted = insert_disease(
        hu, grid, lungs, fit_extent(drawn, grid, lungs, case.extent_percent, lobes=lobes), lobes=lobes
    )
    return inserted.hu, inserted.lesions


def radiograph(volume: CTVolume, view: str) -> npt.NDArray[np.uint8]:
    """The displayed radiograph, cropped to the collimated field."""
    patient = position(volume)
    geometry = view_geometry(view, isocentre_mm=patient.centre_mm, rows=PIXELS, columns=PIXELS, pixel_mm=PIXEL_MM)
    drr = render(patient, geometry=geometry, display=DISPLAY)
    return drr.image[np.ix_(drr.field.any(axis=1), drr.field.any(axis=0))]


def real(root: Path) -> list[Shown]:
    """Real chests without and with disease, then real radiographs."""
    without, ill = [], []
    for number, name in enumerate(SCANS):
        path = root / "ct" / name
        ct = read_ct(path)
        pattern, extent = EXTENTS[number % len(EXTENTS)]
        hu, lesions = diseased(
            ct.hu, ct.grid, lungs := find_lungs(ct, RealScan(name, path)), Case(number, "PA", pattern, extent)
        )
        ratio = disease_truth(lungs, lesions, ct.grid.voxel_volume_cm3)["ratio_percent"]
        without.append(Shown(radiograph(ct, "PA"), f"{name.split('.')[0]}, as it is"))
        ill.append(Shown(radiograph(replace(ct, hu=hu), "PA"), f"with {pattern} {ratio:.1f} % put in"))
    return [*without, *ill, *real_radiographs(root / "cxr")]


def real_radiographs(root: Path) -> list[Shown]:
    """Four normal radiographs and four with opacities of NIH ChestX-ray14, adults, PA."""
    listed = pd.read_csv(root / "nih.csv")
    listed = listed[(listed["Patient Age"] >= 18) & (listed["View Position"] == "PA")]
    shown = []
    for kind in ("Normal", "Lung Opacity"):
        files = listed[listed["rsna_class"] == kind]["file"].tolist()
        for index in np.linspace(0, len(files) - 1, 6).astype(int)[1:5]:
            grey = imread(root / "nih" / files[index], as_gray=True)
            grey = np.rint(grey if grey.dtype == np.uint8 else 255 * grey).astype(np.uint8)
            shown.append(Shown(grey, f"radiograph: {kind}, {files[index].split('.')[0]}"))
    return shown


def draw(path: Path, images: list[Shown]) -> None:
    """A sheet of images, four in a row."""
    rows = -(-len(images) // 4)
    figure = Figure(figsize=(10, 2.62 * rows), layout="constrained")
    for place, shown in zip(figure.subplots(rows, 4).ravel(), images, strict=False):
        place.imshow(shown.image, cmap="gray", vmin=0, vmax=255)
        place.set_title(shown.caption, fontsize=7)
    for place in figure.axes:
        place.set_axis_off()
    options: dict[str, Any] = {"pil_kwargs": {"optimize": True}}
    figure.savefig(path, dpi=120, **options)
