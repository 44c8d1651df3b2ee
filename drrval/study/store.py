"""Files of a study: written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image

from drrval.volume import Grid

_TEMPORARY = ".unfinished-"


@contextmanager
def atomic_folder(folder: Path, work: Path) -> Iterator[Path]:
    """A temporary folder below ``work`` that takes the place of ``folder`` when the block ends without an error."""
    work.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=work))
    try:
        yield temporary
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    Path(temporary).chmod(0o644)
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (NaN is refused) atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_volume(path: Path, array: npt.NDArray[Any], grid: Grid) -> None:
    """Write ``[z, y, x]`` values on their grid (NIfTI, NRRD, MHA by suffix)."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction.ravel().tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_picture(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write grey or RGB pixels as PNG."""
    Image.fromarray(pixels).save(path)


def clear_unfinished(work: Path) -> None:
    """Remove what a killed run left behind."""
    for folder in work.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(folder, ignore_errors=True)
