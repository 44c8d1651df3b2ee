"""Rendered radiographs of real CTs beside real radiographs: grey values, contrasts and texture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from skimage.io import imread
from skimage.transform import resize

from ct_models.lungs import segment_lungs
from drrval.intake import read_ct
from drrval.projection import project_labels
from drrval.rendering import position, render
from validation.markdown import table
from validation.radiograph_regions import (
    FIELD_PIXELS,
    PATCH,
    REGIONS,
    RINGS,
    Array,
    Mask,
    Scaled,
    rib_contrast,
    scaled,
    texture_spectrum,
)

SCANS = (
    *("covid_P001", "cap_001", "normal_001", "lidc_0314.nii.gz"),
    *(f"lowres_0{i}.nii.gz" for i in (1, 2, 3, 4)),
)
VIEWS = ("PA", "AP")
REAL = ("openist, PA", "covid, PA", "covid, AP")
LEVELS_PER_MM = (0.1, 0.2, 0.4)
# Radiographs draw no lung where the diaphragm or the heart hides most of it: less lung than this is not masked.
SEEN_LUNG_CM = 4.0
MEASURES = {
    "lung, grey (0-255)": lambda i: i.level("lung"),
    "lung, 10 % quantile": lambda i: i.level("lung", 0.1),
    "lung, 90 % quantile": lambda i: i.level("lung", 0.9),
    "mediastinum, grey": lambda i: i.level("mediastinum"),
    "below the diaphragm, grey": lambda i: i.level("below the diaphragm"),
    "mediastinum - lung, grey": lambda i: i.level("mediastinum") - i.level("lung"),
    "below the diaphragm, lung = 0, mediastinum = 1": lambda i: float(
        np.median(i.relative[i.regions["below the diaphragm"]])
    ),
    "rib contrast, mediastinum - lung = 1": rib_contrast,
    "brightest 1 % of the image, grey": lambda i: float(np.quantile(i.grey, 0.99)),
    "darkest 1 % of the image, grey": lambda i: float(np.quantile(i.grey, 0.01)),
}


@dataclass(frozen=True)
class Rendered:
    """A rendered view.

    Attributes:
        scan: name of the CT.
        view: view position.
        image: displayed image cropped to the collimated field, uint8 ``[row, col]``.
        lungs: where the lungs are seen, ``[row, col]``.
        lung_mm: width of the lung field at the panel, mm.
    """

    scan: str
    view: str
    image: npt.NDArray[np.uint8]
    lungs: Mask
    lung_mm: float


def report(folder: Path) -> str:
    """Measure, draw ``realism.png`` and ``realism_images.png`` into ``folder`` and return the section's Markdown."""
    root = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "cxr").is_dir():
        return "Not measured: no development data here (set `DRRVAL_DATA`)."
    rendered = [view for scan in SCANS for view in rendered_views(root / "ct" / scan)]
    groups = {name: list(real_images(root / "cxr", name)) for name in REAL}
    groups |= {f"DRR, {v}": [scaled(r.image, r.lungs) for r in rendered if r.view == v] for v in VIEWS}
    spectra = {name: np.nanmedian([texture_spectrum(i) for i in images], axis=0) for name, images in groups.items()}
    frequencies = RINGS / PATCH * FIELD_PIXELS / np.median([r.lung_mm for r in rendered])
    draw_measures(folder / "realism.png", groups, spectra, frequencies)
    draw_images(folder / "realism_images.png", rendered, root / "cxr")
    return "\n\n".join(
        [
            _measures(groups),
            _texture(spectra, frequencies),
            "![Grey values and texture](images/validation/realism.png)",
            "`images/validation/realism_images.png` shows them side by side; it is made with this page and not in the "
            "repository, because it shows patients.",
        ]
    )


def rendered_views(path: Path) -> Iterator[Rendered]:
    """The frontal views of a CT with the default settings, and the projections of its lungs."""
    ct = read_ct(path)
    patient = position(ct)
    labels = segment_lungs(ct.hu, ct.grid.spacing_mm[::-1]).labels
    for view in VIEWS:
        drr = render(patient, view)
        seen = (project_labels(labels, ct.grid, drr.geometry, 2) > SEEN_LUNG_CM).any(axis=0) & drr.field
        box = np.ix_(drr.field.any(axis=1), drr.field.any(axis=0))
        columns = np.flatnonzero(seen.any(axis=0))
        width = float(columns[-1] - columns[0] + 1) * drr.geometry.pixel_mm
        yield Rendered(path.name.split(".")[0], view, drr.image[box], seen[box], width)


def real_images(root: Path, group: str) -> Iterator[Scaled]:
    """Real radiographs of adults with a lung mask: normal ones (openist), or those of covid-chestxray-dataset."""
    source, view = group.split(", ")
    rows = pd.read_csv(root / f"{source}.csv")
    if source == "covid":
        adult = ~(rows["age"] < 18)
        rows = rows[rows["lung_mask"].notna() & adult & rows["view"].fillna("").str.startswith(view)]
    for row in rows.itertuples():
        grey = imread(root / source / str(row.file), as_gray=True)
        grey = np.rint(grey if grey.dtype == np.uint8 else 255 * grey).astype(np.uint8)
        mask = imread(root / source / "lung_masks" / str(row.lung_mask), as_gray=True)
        yield scaled(grey, resize(mask > mask.max() / 2, grey.shape, order=0))


def _measures(groups: dict[str, list[Scaled]]) -> str:
    values = {name: {key: [of(i) for i in images] for key, of in MEASURES.items()} for name, images in groups.items()}
    rows = []
    for key in MEASURES:
        digits = 0 if "grey" in key or "quantile" in key else 3
        rows.append([key, *(_spread(values[name][key], digits) for name in groups)])
    counts = [f"{name} ({len(images)})" for name, images in groups.items()]
    return "Median over the images (10 to 90 % of them; number of images in brackets):\n\n" + table(["", *counts], rows)


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _texture(spectra: dict[str, Array], frequencies: Array) -> str:
    rows = []
    for name, power in spectra.items():
        slope = np.polyfit(np.log(frequencies), np.log(power), 1)[0]
        levels = np.exp(np.interp(np.log(LEVELS_PER_MM), np.log(frequencies), np.log(power)))
        rows.append([name, f"{slope:.1f}", *(f"{level:.1e}" for level in levels)])
    heads = ["median spectrum", "log-log slope", *(f"power at {f:g}/mm" for f in LEVELS_PER_MM)]
    return (
        f"Power of the lung's texture from {frequencies[0]:.2f} to {frequencies[-1]:.2f} cycles/mm at the panel (real "
        "images state no pixel size; their lung fields are taken to be as wide as the rendered ones):\n\n"
        + table(heads, rows)
    )


def draw_measures(path: Path, groups: dict[str, list[Scaled]], spectra: dict[str, Array], frequencies: Array) -> None:
    """Grey values of the regions (boxes: quartiles, whiskers: 10 to 90 % of the images), and the texture's spectra."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
        for k, (name, images) in enumerate(groups.items()):
            levels = [[v for i in images if np.isfinite(v := i.level(region))] for region in REGIONS]
            places = np.arange(len(REGIONS)) + (k - (len(groups) - 1) / 2) / (len(groups) + 2)
            style = {"color": f"C{k}"}
            left.boxplot(
                levels,
                positions=places,
                widths=0.1,
                whis=(10, 90),
                showfliers=False,
                boxprops=style,
                whiskerprops=style,
                capprops=style,
                medianprops=style,
            )
            right.loglog(frequencies, spectra[name], color=f"C{k}", label=name)
        left.set(xticks=range(len(REGIONS)), xticklabels=REGIONS, ylabel="grey value", ylim=(0, 255))
        right.set(xlabel="cycles/mm", ylabel="power in the lung (mediastinum - lung = 1)")
        right.legend()
        figure.savefig(path, dpi=150)


def draw_images(path: Path, rendered: list[Rendered], root: Path) -> None:
    """Rendered views of full-resolution scans above real radiographs, PA then AP, in their displayed grey values."""
    table_of = pd.read_csv(root / "nih.csv")
    known = table_of[(table_of["Patient Age"] >= 18) & table_of["rsna_class"].notna()]
    figure = Figure(figsize=(10, 10.6), layout="constrained")
    for view, axes in zip(VIEWS, figure.subplots(4, 4).reshape(2, 2, 4), strict=True):
        ours = [r for r in rendered if r.view == view][:4]
        healthy = "Normal" if view == "PA" else "Lung Opacity"
        files = known[(known["View Position"] == view) & (known["rsna_class"] == healthy)]["file"].tolist()
        theirs = [files[i] for i in np.linspace(0, len(files) - 1, 6).astype(int)[1:5]]
        for place, drr in zip(axes[0], ours, strict=True):
            place.imshow(drr.image, cmap="gray", vmin=0, vmax=255)
            place.set_title(f"DRR {view}, {drr.scan}", fontsize=8)
        for place, file in zip(axes[1], theirs, strict=True):
            place.imshow(imread(root / "nih" / file, as_gray=True), cmap="gray")
            place.set_title(f"NIH {view}, {file.split('.')[0]}", fontsize=8)
    for place in figure.axes:
        place.set_axis_off()
    figure.savefig(path, dpi=110)
