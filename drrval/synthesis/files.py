"""Files of one image: pictures, masks and maps, and how to read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image as Picture

from drrval.errors import DrrvalError
from drrval.study.store import PNG_EFFORT
from drrval.synthesis.image import LabelledRadiograph
from drrval.synthesis.masks import MASK_NAMES
from drrval.synthesis.settings import SynthesisSettings

THICKNESS_CM, DENSITY_G_CM2 = 0.001, 0.0005  # what one grey level of a map means
_SUFFIX = {"png8": ".png", "png16": "_16bit.png", "nifti": ".nii.gz"}


def write_image(folder: Path, stem: str, made: LabelledRadiograph, settings: SynthesisSettings) -> dict[str, str]:
    """Write an image in every format asked for, its masks, and the lesion maps.

    Returns:
        File names by ``image`` (the first format), ``labels``, ``thickness`` and ``density``.
    """
    names = {"image": stem + _SUFFIX[settings.formats[0]], "labels": f"{stem}_labels.png"}
    for kind in settings.formats:
        path = folder / (stem + _SUFFIX[kind])
        if kind == "nifti":
            image = sitk.GetImageFromArray(made.image[None])
            image.SetSpacing((made.geometry.pixel_mm, made.geometry.pixel_mm, 1.0))
            sitk.WriteImage(image, str(path))
        else:
            _write_png(path, made.image8 if kind == "png8" else made.image)
    bits = np.zeros(made.image.shape, np.uint16)
    for number, name in enumerate(MASK_NAMES):
        bits |= made.labels.masks[name].astype(np.uint16) << number
    _write_png(folder / names["labels"], bits)
    if settings.lesion_maps:
        maps = (
            ("thickness", made.labels.thickness_cm, THICKNESS_CM),
            ("density", made.labels.rise_g_cm2, DENSITY_G_CM2),
        )
        for name, values, unit in maps:
            names[name] = f"{stem}_{name}.png"
            _write_png(folder / names[name], np.rint(np.clip(values / unit, 0, 65535)).astype(np.uint16))
    return names


def read_masks(path: str | Path) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of an image from its ``_labels.png``: bool ``[row, col]`` by name (``drrval.synthesis.MASK_NAMES``).

    Raises:
        DrrvalError: the file is no 16-bit PNG.
    """
    bits = _read_png16(Path(path))
    return {name: (bits >> number & 1).astype(bool) for number, name in enumerate(MASK_NAMES)}


def read_map(path: str | Path) -> npt.NDArray[np.float32]:
    """Lesion thickness (cm) from a ``_thickness.png``, or added area density (g/cm2) from a ``_density.png``.

    Raises:
        DrrvalError: the file is neither.
    """
    for name, unit in (("thickness", THICKNESS_CM), ("density", DENSITY_G_CM2)):
        if Path(path).name.endswith(f"_{name}.png"):
            return (_read_png16(Path(path)) * unit).astype(np.float32)
    raise DrrvalError(f"{path} is no lesion map. Give a file that ends in _thickness.png or _density.png.")


def _write_png(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    Picture.fromarray(pixels).save(path, compress_level=PNG_EFFORT)


def _read_png16(path: Path) -> npt.NDArray[np.int64]:
    with Picture.open(path) as picture:
        if not picture.mode.startswith("I"):
            raise DrrvalError(
                f"{path} has mode {picture.mode!r}. Expected a 16-bit PNG as drrval synthesize writes it."
            )
        return np.asarray(picture, dtype=np.int64)
