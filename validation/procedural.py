"""Can radiographs of procedural chests be told from radiographs of real ones?"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import ndimage
from skimage.transform import resize

from benchmarks.environments import MeasurementError
from drrval.simulation import Recipe, SimulateSettings, simulate_cohort
from drrval.study.executor import run_all
from validation.chest_images import (
    FIELD_MM,
    PIXEL_MM,
    SHARPNESS_MM,
    VARIANTS,
    VIEWS,
    ChestImage,
    real_chest_images,
    virtual_chest_images,
)
from validation.markdown import table
from validation.two_groups import (
    Classifier,
    Group,
    Told,
    effect_size,
    logistic_regression,
    nearest_neighbour,
    pooled,
    separation,
    tell_apart,
)

Array = npt.NDArray[np.float64]
Images = dict[str, list[ChestImage]]  # by scan

REAL = (
    *("covid_P001", "cap_001", "normal_001", "lidc_0314.nii.gz"),
    *(f"lowres_0{i}.nii.gz" for i in (1, 2, 3, 4)),
)
# Half of them ill, as the real ones are; no other findings, tubes or leads, which the real ones lack.
COHORT = SimulateSettings.model_validate(
    {
        "patients": 64,
        "timepoints": 1,
        "seed": 64,
        "spacing_mm": 2.5,
        "severity": {"none": 0.5, "mild": 0.2, "moderate": 0.2, "severe": 0.1},
        "confounders": dict.fromkeys(("effusion", "atelectasis", "nodules", "emphysema", "tubes", "leads"), 0.0),
    }
)
CLASSIFIERS: dict[str, Classifier] = {"nearest neighbour": nearest_neighbour, "logistic": logistic_regression}
SMALL = 32  # side of the downsampled image
BINS = np.linspace(-2.5, 2.5, 33)  # of the normalised grey values
FEWEST, MOST = 2, 24  # rings of the power spectrum, cycles over the field's height
SEED = 11  # of the positions and exposures of the real scans
JOBS = 2


def report(folder: Path) -> str:
    """Measure, draw ``procedural.png`` into ``folder`` and return the section's Markdown.

    Raises:
        MeasurementError: no development data.
    """
    root = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ct"
    if not root.is_dir():
        raise MeasurementError("No development data here (set DRRVAL_DATA).")
    real = {name.split(".")[0]: real_chest_images(root / name, SEED) for name in sorted(REAL)}
    recipes: list[Recipe] = list(simulate_cohort(COHORT))
    made = {r.scan_id: images for r, images in run_all(virtual_chest_images, recipes, JOBS, _died)}
    return written(folder, real, {recipe.scan_id: made[recipe.scan_id] for recipe in recipes})


def written(folder: Path, real: Images, procedural: Images) -> str:
    """The section's Markdown and figure from the images of each scan."""
    uncovered = sum(not image.covered for images in (real, procedural) for of in images.values() for image in of)
    draw(folder / "procedural.png", real, procedural)
    text = [
        f"{len(real)} real and {len(procedural)} procedural chests, {VARIANTS} images of each in each view; field "
        f"{FIELD_MM[0]:g} x {FIELD_MM[1]:g} mm on the panel, pixels of {PIXEL_MM:g} mm, blurred with a Gaussian of "
        f"{SHARPNESS_MM:g} mm FWHM; {uncovered} images do not cover the field.",
        accuracies(real, procedural),
        controls(real, procedural),
        what_differs(real, procedural),
        "![What differs](images/virtual/procedural.png)",
    ]
    return "\n\n".join(text)


def _died(recipe: Recipe) -> list[ChestImage]:
    raise RuntimeError(f"The process that made {recipe.scan_id} was killed. Measure with fewer jobs.")


def normalised(image: Array) -> Array:
    """Mean 0 and standard deviation 1 over the field, which undoes exposure and linear displays."""
    return np.asarray((image - image.mean()) / image.std())


def small_image(image: Array) -> Array:
    """The image at 32 x 32 pixels."""
    return np.asarray(resize(normalised(image), (SMALL, SMALL), anti_aliasing=True)).ravel()


def histogram(image: Array) -> Array:
    """Share of the pixels in each class of normalised grey values."""
    values = np.clip(normalised(image), BINS[0], BINS[-1])
    return np.asarray(np.histogram(values, BINS)[0] / values.size)


def spectrum(image: Array) -> Array:
    """Logarithm of the mean power in rings of equal frequency, Hann window."""
    size = min(image.shape)
    top, left = ((n - size) // 2 for n in image.shape)
    square = normalised(image)[top : top + size, left : left + size]
    taper = np.hanning(size + 2)[1:-1]
    power = np.abs(np.fft.fft2((square - square.mean()) * taper[:, None] * taper)) ** 2
    ring = np.rint(size * np.hypot(*np.meshgrid(*[np.fft.fftfreq(size)] * 2))).astype(int)
    return np.asarray(np.log(ndimage.mean(power, ring, np.arange(FEWEST, MOST))))


def joined(image: Array) -> Array:
    """All three, one after another."""
    return np.concatenate([small_image(image), histogram(image), spectrum(image)])


FEATURES: dict[str, Callable[[Array], Array]] = {
    "image, 32 x 32": small_image,
    "histogram": histogram,
    "spectrum": spectrum,
    "all three": joined,
}


def features(images: Images, view: str, of: Callable[[Array], Array], matched: bool = True) -> dict[str, Array]:
    """Features ``[image, feature]`` of each scan's images of a view."""
    return {
        scan: np.stack([of(i.matched if matched else i.whole) for i in some if i.view == view])
        for scan, some in images.items()
    }


def against_procedural(real: Group, procedural: Group, classify: Classifier) -> Told:
    """Real scans against as many procedural ones at a time, until all of these have had their turn."""
    names = list(procedural)
    sets = [names[k : k + len(real)] for k in range(0, len(names) - len(real) + 1, len(real))]
    return pooled([tell_apart(real, {n: procedural[n] for n in some}, classify) for some in sets])


def halves(scans: Group, other: Group, classify: Classifier) -> tuple[list[float], list[float]]:
    """Balanced accuracy of every half of the scans against the other half, and against as many others.

    The first has the mean 0.5 by symmetry: exchanging the two scans that are left out leaves the training set as it is
    and turns every right answer into a wrong one. Its spread shows what so few scans give by chance.
    """
    names, others = list(scans), list(other)
    size = len(names) // 2
    within, between = [], []
    for number, chosen in enumerate(combinations(names, size)):
        half = {n: scans[n] for n in chosen}
        start = number * size % (len(others) - size + 1)
        between.append(tell_apart(half, {n: other[n] for n in others[start : start + size]}, classify))
        if names[0] in chosen:
            within.append(tell_apart(half, {n: x for n, x in scans.items() if n not in half}, classify))
    return [t.balanced_accuracy for t in within], [t.balanced_accuracy for t in between]


def controls(real: Images, procedural: Images) -> str:
    """What the same test finds between real scans, between procedural ones, and with fewer scans."""
    rows = []
    for view in VIEWS:
        a, b = features(real, view, joined), features(procedural, view, joined)
        names, size = list(b), len(a)
        sets = [{n: b[n] for n in names[k : k + size]} for k in range(0, len(names) - size + 1, size)]
        coarse = {n: x for n, x in a.items() if n.startswith("lowres")}
        fine = {n: x for n, x in a.items() if n not in coarse}
        whole = features(real, view, joined, matched=False)
        found = []
        for classify in CLASSIFIERS.values():
            within, between = halves(a, b, classify)
            null = [tell_apart(x, y, classify).balanced_accuracy for x, y in pairwise(sets)]
            found.append(
                [
                    _range(null),
                    _range(within),
                    _range(between),
                    _percent(tell_apart(fine, coarse, classify)),
                    _percent(tell_apart({n: whole[n] for n in fine}, {n: whole[n] for n in coarse}, classify)),
                ]
            )
        what = (
            f"procedural or other procedural, {size} against {size}, {len(sets) - 1} times: mean (range)",
            "real or other real, 4 against 4, all 35 ways: mean (range)",
            "real or procedural, 4 against 4, 70 times: mean (range)",
            "real: full resolution or coarse, 4 against 4 (95 % interval)",
            "the same, whole panel, not matched",
        )
        rows += [[view, name, *values] for name, *values in zip(what, *found, strict=True)]
    return "Controls, all three kinds of features, balanced accuracy, %:\n\n" + table(["view", "", *CLASSIFIERS], rows)


def _range(values: list[float]) -> str:
    return f"{100 * np.mean(values):.0f} ({100 * min(values):.0f} to {100 * max(values):.0f})"


def accuracies(real: Images, procedural: Images) -> str:
    """Balanced accuracy of each classifier on each set of features, with its interval."""
    rows = []
    for view in VIEWS:
        for name, of in FEATURES.items():
            a, b = features(real, view, of), features(procedural, view, of)
            told = [against_procedural(a, b, classify) for classify in CLASSIFIERS.values()]
            rows.append([view, name, *map(_percent, told)])
        wholes = [features(images, view, joined, matched=False) for images in (real, procedural)]
        told = [against_procedural(wholes[0], wholes[1], classify) for classify in CLASSIFIERS.values()]
        rows.append([view, "all three, whole panel, not matched", *map(_percent, told)])
    return "Balanced accuracy on scans that were not trained on, % (95 % interval); 50 is chance:\n\n" + table(
        ["view", "features", *CLASSIFIERS], rows
    )


def _percent(told: Told) -> str:
    low, high = told.interval()
    return f"{100 * told.balanced_accuracy:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def what_differs(real: Images, procedural: Images) -> str:
    """How well the best single feature of each kind separates the two, and where it lies."""
    rows = []
    for view in VIEWS:
        for name, of in list(FEATURES.items())[:3]:
            a, b = features(real, view, of), features(procedural, view, of)
            area, effect = separation(a, b), effect_size(a, b)
            best = int(area.argmax())
            rows.append(
                [view, name, _place(name, best), f"{area[best]:.2f}", f"{effect[best]:+.1f}", f"{np.median(area):.2f}"]
            )
    heads = ["view", "features", "best one", "its AUC", "procedural - real, SD", "median AUC of all"]
    return (
        "Which features give procedural images away (each feature alone, means over each scan's images):\n\n"
        + table(heads, rows)
    )


def _place(name: str, index: int) -> str:
    """Where a feature lies."""
    if name == "histogram":
        return f"grey {BINS[index]:+.1f} to {BINS[index + 1]:+.1f} SD"
    if name == "spectrum":
        return f"{(FEWEST + index) / min(FIELD_MM):.3f} cycles/mm"
    row, column = divmod(index, SMALL)
    return f"{100 * (row + 0.5) / SMALL:.0f} % down, {100 * (column + 0.5) / SMALL:.0f} % across"


def draw(path: Path, real: Images, procedural: Images) -> None:
    """Per view: effect size at each place of the image, and spectra and histograms of both groups."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    for view, axes in zip(VIEWS, figure.subplots(len(VIEWS), 3), strict=True):
        groups = {"real": real, "procedural": procedural}
        small = [features(images, view, small_image) for images in groups.values()]
        shown = axes[0].imshow(effect_size(*small).reshape(SMALL, SMALL), cmap="RdBu_r", vmin=-3, vmax=3)
        axes[0].set(title=f"{view}: procedural - real, SD", xticks=[], yticks=[])
        figure.colorbar(shown, ax=axes[0])
        for place, of, x, label in (
            (axes[1], spectrum, np.arange(FEWEST, MOST) / min(FIELD_MM), "cycles/mm"),
            (axes[2], histogram, (BINS[1:] + BINS[:-1]) / 2, "grey value, SD from the mean"),
        ):
            for k, (name, images) in enumerate(groups.items()):
                values = np.stack([v.mean(axis=0) for v in features(images, view, of).values()])
                low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
                place.plot(x, middle, color=f"C{k}", label=name)
                place.fill_between(x, low, high, color=f"C{k}", alpha=0.2)
            place.set(xlabel=label)
            place.legend()
        axes[1].set(ylabel="log power")
        axes[2].set(ylabel="share of the pixels")
    figure.savefig(path, dpi=100)
