"""How often real radiographs are refused or flagged, and other images are not; and what is typical of lung fields.

``python -m validation.radiograph_checks DATA [--fit FILE] [--also NAME=FOLDER ...]``

``DATA`` holds folders of frontal radiographs (``nih``, ``covid``, ``openist``, ``figure1``), and lung masks in
``openist/lung_masks``. ``--fit`` writes what is typical of the lung network (``cxr_models/typical_lungs.yaml``), found
on four fifths of the images; do so whenever its weights change, then measure again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy import ndimage

from cxr_models.contract import UnsuitableImageError
from cxr_models.data.images import read_grey
from cxr_models.data.split import split_of
from cxr_models.lung_fields import LungFields
from cxr_models.pneumonia import WEIGHTS
from cxr_models.postprocessing import Array
from cxr_models.preprocessing import check_radiograph, to_unit
from cxr_models.typical_lungs import TypicalLungs, lung_features

SOURCES = ("nih", "covid", "openist", "figure1")
NETWORK, SIDE = "lsnet-light", 224
ALTERED: dict[str, Callable[[Array], Array]] = {
    "upside down": lambda image: image[::-1],
    "turned by 90 degrees": lambda image: np.rot90(image),
    "inverted": lambda image: 255.0 - image,
    "mirrored": lambda image: image[:, ::-1],
    "one half": lambda image: image[:, : image.shape[1] // 2],
    "lower 30 %": lambda image: image[int(0.7 * image.shape[0]) :],
    "upper 30 %": lambda image: image[: int(0.3 * image.shape[0])],
}


def verdict(fields: LungFields, image: Array) -> str:
    """``rejected``, ``flagged`` or ``passed``."""
    try:
        check_radiograph(image, "PA", ("PA",))
    except UnsuitableImageError:
        return "rejected"
    examination = fields(image).examination
    return "rejected" if examination.problem else "flagged" if examination.flags else "passed"


def fit(fields: LungFields, images: list[Path]) -> TypicalLungs:
    """Typical lungs of the images that are not of the test part."""
    rows = []
    for path in images:
        patient = path.stem.partition("_")[0] if path.parent.name == "nih" else path.stem
        if split_of(path.parent.name, patient) != "test":
            unit = to_unit(read_grey(path), SIDE)
            rows.append(lung_features(unit, fields.probability(unit)))
    return TypicalLungs.of(np.stack(rows), fields.sha256)


def noise() -> Iterator[Array]:
    """White and smoothed noise."""
    rng = np.random.default_rng(0)
    for sigma in (0.0, 1.0, 4.0, 12.0) * 10:
        values = ndimage.gaussian_filter(rng.standard_normal((400, 400)), sigma)
        yield (255.0 * (values - values.min()) / np.ptp(values)).astype(np.float32)


def report(name: str, verdicts: list[str]) -> None:
    """One line of the table."""
    n = len(verdicts)
    counts = [f"{sum(one == word for one in verdicts)} of {n}" for word in ("rejected", "flagged")]
    sys.stdout.write(f"| {name} | {' | '.join(counts)} |\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fit", type=Path)
    parser.add_argument("--also", action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fields = LungFields(WEIGHTS, NETWORK, torch.device("cpu"))
    real = {source: sorted((arguments.data / source).glob("*.jpg")) for source in SOURCES}
    if arguments.fit:
        typical = fit(fields, [path for paths in real.values() for path in paths])
        arguments.fit.write_text(yaml.safe_dump(typical.to_dict(), sort_keys=False), encoding="utf-8")
        return
    for source, paths in real.items():
        report(source, [verdict(fields, read_grey(path)) for path in paths])
    some = [path for paths in real.values() for path in paths[:: max(1, len(paths) // 50)]]
    for name, change in ALTERED.items():
        report(name, [verdict(fields, np.ascontiguousarray(change(read_grey(path)))) for path in some])
    report("noise", [verdict(fields, image) for image in noise()])
    others = {"lung masks": arguments.data / "openist" / "lung_masks"}
    others |= {name: Path(folder) for name, _, folder in (one.partition("=") for one in arguments.also)}
    for name, folder in others.items():
        report(name, [verdict(fields, read_grey(path)) for path in sorted(folder.rglob("*.[pj][np]g"))])


if __name__ == "__main__":
    main()
