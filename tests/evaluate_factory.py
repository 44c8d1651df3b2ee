"""Pictures, scans and scorers of the evaluation tests: the answers are written into the grey values."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ct_models.contract import CTInput, CTScore
from cxr_models.contract import CXRContract, CXRInput, CXRScore, UnsuitableImageError
from drrval.cli import main
from drrval.study.store import write_volume
from drrval.volume import Grid

SIZE = 100
LUNG, LESION = 100, 200  # grey values of lung and of lesion in it
LUNG_HU, LESION_HU = -850.0, -300.0


class GreyScorer:
    """Reads its answers from the first two pixels: probability of pneumonia in percent, and 10 x severity."""

    name = "grey"
    contract = CXRContract()
    detection_threshold = 0.5
    weights_sha256 = "cafe"

    def score(self, radiograph: CXRInput) -> CXRScore:
        image = radiograph.image
        if image[0, 2] == 255:
            raise ValueError("this picture upsets the scorer")
        if image[0, 4] == LESION:
            raise UnsuitableImageError("The picture is upside down: turn it.")
        lesion, lung = image == LESION, (image == LUNG) | (image == LESION)
        right, left = np.hsplit(lung, 2)
        parts = [(lesion, lung), *zip(np.hsplit(lesion, 2), (right, left), strict=True)]
        ratios = [100.0 * a.sum() / b.sum() if b.any() else float("nan") for a, b in parts]
        severity = float(image[0, 1]) / 10
        return CXRScore(
            *ratios,
            p_pneumonia=float(image[0, 0]) / 100,
            score=float(np.round(severity)),
            severity=severity,
            lung_mask=lung,
            lesion_mask=lesion,
            flags=("odd_picture", "lungs_uncertain") if image[0, 3] == LESION else (),
        )


class ReadingGreyScorer(GreyScorer):
    """Also shows its localisation map and the side of each lung."""

    localisation_threshold = 0.5

    def read(self, radiograph: CXRInput) -> Any:
        lung = np.isin(radiograph.image, (LUNG, LESION))
        half = np.arange(radiograph.image.shape[1]) < radiograph.image.shape[1] // 2
        lungs = SimpleNamespace(right=lung & half, left=lung & ~half)
        localisation = (radiograph.image == LESION).astype(np.float32) * 0.8
        return SimpleNamespace(probability=0.5, localisation=localisation, lungs=lungs)


class HuScorer:
    """Lungs and lesions by their HU; a slice with a lesion has probability 0.8, the others 0.3."""

    name = "hu"
    slice_threshold = 0.5

    def __init__(self, swap: bool = False) -> None:
        self.swap = swap

    def score(self, ct: CTInput) -> CTScore:
        lesion = ct.hu == LESION_HU
        side = np.where(np.arange(ct.hu.shape[2]) < ct.hu.shape[2] // 2, 1, 2)
        lungs = np.where((ct.hu == LUNG_HU) | lesion, 3 - side if self.swap else side, 0).astype(np.uint8)
        ratios = [100.0 * lesion[part].mean() for part in (lungs > 0, lungs == 1, lungs == 2)]
        probability = np.where(lesion.any(axis=(1, 2)), 0.8, 0.3).astype(np.float32)
        return CTScore(lungs, lesion, *ratios, lung_cm3=1.0, lesion_cm3=1.0, slice_probability=probability)


def swapping() -> HuScorer:
    return HuScorer(swap=True)


def stored(folder: Path) -> GreyScorer:
    """A scorer of weights in a folder."""
    scorer = GreyScorer()
    scorer.weights_sha256 = folder.name
    return scorer


def picture(path: Path, percent: int = 0, severity: float = 0.0, **boxes: tuple[int, int, int, int]) -> Path:
    """A PNG with the answers; ``lung...`` and ``lesion...`` boxes are (top, bottom, left, right)."""
    image = np.full((SIZE, SIZE), 30, np.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        image[top:bottom, left:right] = LESION if name.startswith("lesion") else LUNG
    image[0, 0], image[0, 1], image[-1, -1] = percent, round(10 * severity), 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def mask(path: Path, *boxes: tuple[int, int, int, int], labels: Sequence[int] = (255, 255)) -> Path:
    """A mask PNG of boxes (top, bottom, left, right) with one grey value each."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    for (top, bottom, left, right), label in zip(boxes, labels, strict=False):
        image[top:bottom, left:right] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def scan(path: Path, n_lesion_right: int = 0, n_lesion_left: int = 0) -> npt.NDArray[np.uint8]:
    """A small CT with 20 x 20 x 10 voxels in each lung, the first ones from the feet diseased; returns its lungs."""
    hu = np.full((40, 50, 60), -1000.0, np.float32)
    hu[:, 5:45, 5:55] = 40.0
    hu[:, 34:42, 26:34] = 700.0
    lungs = np.zeros(hu.shape, np.uint8)
    for label, left, n_lesion in ((1, 10, n_lesion_right), (2, 40, n_lesion_left)):
        region = np.s_[10:30, 12:32, left : left + 10]
        lungs[region] = label
        values = np.full(hu[region].size, LUNG_HU, np.float32)
        values[:n_lesion] = LESION_HU
        hu[region] = values.reshape(hu[region].shape)
    write_volume(path, hu, GRID)
    return lungs


GRID = Grid((40, 50, 60), (5.0, 5.0, 5.0), (-147.5, -122.5, -97.5))


def write_csv(path: Path, header: str, rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def run(task: str, table: Path, *options: str, scorer: str = "evaluate_factory:GreyScorer") -> tuple[int, Path]:
    """Exit code and output folder of ``drrval evaluate`` with few resamples."""
    out = table.parent / "out"
    given = [] if "--scorer" in options else ["--scorer", scorer]
    command = ["evaluate", task, str(table), "--out", str(out), "--resamples", "200", "--no-progress", *given, *options]
    return main(command), out


def draw_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not laid out and written, which takes most of a run's time."""

    def touch(_: Figure, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_name(f"{stem.name}.png").touch()

    monkeypatch.setattr("drrval.evaluation.run.save_figure", touch)


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found


def estimates(out: Path, group: str) -> dict[str, float]:
    """Estimates of one group of the only scorer."""
    (result,) = metrics(out)["results"]
    return {name: number["estimate"] for name, number in result["numbers"][group].items()}
