"""Reading plain radiographs: PNG, JPEG, TIFF and DICOM, brought to 0-255 with bone bright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array

from drrval.errors import IntakeError
from drrval.evaluation.views import view_position
from drrval.intake.headers import is_dicom
from drrval.intake.volume_file import volume_suffix

Array = npt.NDArray[np.float32]

_TOP = 255.0
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_WHITE_IS_ZERO = 0  # of TIFF's PhotometricInterpretation, tag 262
_PHOTOMETRIC_TAG = 262
_NO_RADIOGRAPHS = ("CT", "MR", "PT", "NM", "US", "MG")
#: Far beyond every stored value: what a window makes of it is the end of its range.
_BEYOND = 1e9


@dataclass(frozen=True)
class PlainRadiograph:
    """A radiograph that was not rendered.

    Attributes:
        image: float32 ``[row, col]``, 0-255, bone bright.
        pixel_mm: pixel pitch, mm; NaN where the file does not say.
        view: DICOM view position, or empty where the file does not say.
        grey_values: how the file's values were brought to 0-255, in words.
    """

    image: Array
    pixel_mm: float
    view: str
    grey_values: str


def read_radiograph(path: Path) -> PlainRadiograph:
    """Read a radiograph.

    8-bit values are taken as they are, colour by its luminance. DICOM's modality LUT and its first VOI LUT or window
    are applied, and the range of that window becomes 0-255; ``MONOCHROME1`` is inverted. Deeper images without a
    window are stretched from their own lowest to their own highest value (padding left out).

    Args:
        path: PNG, JPEG or TIFF file, or a DICOM image of any suffix.

    Raises:
        IntakeError: missing, a folder, a volume, unreadable, empty, not one frame, of another modality, or mirrored.
    """
    _check_file(path)
    try:
        found = _read_dicom(path) if is_dicom(path) else _read_picture(path)
        _check_filled(found.image, path)
        return found
    except IntakeError:
        raise
    # Damaged files raise whatever a decoder stumbles over.
    except Exception as error:
        raise IntakeError(
            f"{path}: cannot be read as an image ({type(error).__name__}: {error}). Save it anew as PNG, JPEG, TIFF or "
            "DICOM, or leave it out."
        ) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise IntakeError(
            f"{path}: is a folder, and radiographs are single files. Name its images, such as {path / '*.png'}; a "
            f"folder of CT slices is scored by: drrval score-ct {path} --out FOLDER."
        )
    if not path.is_file():
        raise IntakeError(f"{path}: there is no such image. Check the path (paths in a table are relative to it).")
    if volume_suffix(path):
        raise IntakeError(
            f"{path}: is a volume and not a radiograph. A CT is scored by: drrval score-ct {path} --out FOLDER."
        )


def _check_filled(image: Array, path: Path) -> None:
    low, high = float(image.min()), float(image.max())
    if low == high:
        colour = {0.0: "black", _TOP: "white"}.get(low, f"of grey value {low:g}")
        raise IntakeError(
            f"{path}: the whole image is {colour}, so it shows nothing. Export it again: the window or the range of "
            "values was wrong, or the file is a placeholder."
        )


def _read_picture(path: Path) -> PlainRadiograph:
    with Image.open(path) as opened:
        if (n_frames := getattr(opened, "n_frames", 1)) > 1:
            raise IntakeError(f"{path}: holds {n_frames} pictures. Save the radiograph alone.")
        # Pillow inverts 8-bit TIFFs of this kind itself, deeper ones not.
        inverted = isinstance(opened, TiffImageFile) and opened.tag_v2.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO
        upright = ImageOps.exif_transpose(opened)
        if upright.mode in _EIGHT_BIT_MODES:
            return PlainRadiograph(np.asarray(upright.convert("L"), dtype=np.float32), np.nan, "", "8 bit")
        values = np.asarray(upright, dtype=np.float64)
    image, words = _stretched(values, np.zeros(values.shape, dtype=bool), path)
    return PlainRadiograph(_inverted(image) if inverted else image, np.nan, "", words)


def _read_dicom(path: Path) -> PlainRadiograph:
    header = pydicom.dcmread(path)
    _check_dicom(header, path)
    stored = pixel_array(header)
    spacing = header.get("ImagerPixelSpacing") or header.get("PixelSpacing") or [np.nan]
    written = str(header.get("ViewPosition") or "").strip()
    view = view_position(written) or written.upper()
    if stored.ndim == 3:
        grey = np.asarray(Image.fromarray(stored.astype(np.uint8)).convert("L"), dtype=np.float32)
        return PlainRadiograph(grey, float(spacing[0]), view, "8 bit colour")
    padding = _padding(stored, header)
    image, words = _displayed(apply_modality_lut(stored, header), padding, header, path)
    if header.PhotometricInterpretation == "MONOCHROME1":
        image, words = _inverted(image), f"{words}, MONOCHROME1 inverted"
    return PlainRadiograph(np.where(padding, np.float32(0.0), image), float(spacing[0]), view, words)


def _check_dicom(header: pydicom.Dataset, path: Path) -> None:
    modality = header.get("Modality", "")
    if modality in _NO_RADIOGRAPHS:
        scans = f" CTs are scored by: drrval score-ct {path.parent} --out FOLDER." if modality == "CT" else ""
        raise IntakeError(f"{path}: its modality is {modality}. Give a chest radiograph (CR, DX).{scans}")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise IntakeError(f"{path}: holds {header.NumberOfFrames} frames. Save the radiograph alone.")
    across, down = [*(str(part) for part in header.get("PatientOrientation") or ()), "", ""][:2]
    if across.startswith("R") or down.startswith("H"):
        raise IntakeError(
            f"{path}: PatientOrientation {across}\\{down} says that the image is mirrored or upside down. Save it with "
            "the patient's right on the left of the image and the head up (L\\F)."
        )


def _padding(stored: npt.NDArray[Any], header: pydicom.Dataset) -> npt.NDArray[np.bool_]:
    """Pixels that hold no image."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    ends = sorted((int(value), int(header.get("PixelPaddingRangeLimit", value))))
    return (stored >= ends[0]) & (stored <= ends[1])


def _displayed(
    values: npt.NDArray[Any], padding: npt.NDArray[np.bool_], header: pydicom.Dataset, path: Path
) -> tuple[Array, str]:
    """Values after the modality LUT, brought to 0-255."""
    ends: Sequence[float] = ()
    if table := header.get("VOILUTSequence"):
        values = np.rint(values).astype(np.int64)  # a table is looked up by whole numbers
        ends = 0.0, 2.0 ** table[0].LUTDescriptor[2] - 1
    elif "WindowCenter" in header and "WindowWidth" in header:
        with np.errstate(over="ignore"):  # the exponential of a sigmoid window
            ends = sorted(apply_windowing(np.array([-_BEYOND, _BEYOND]), header).tolist())
    if ends:
        with np.errstate(over="ignore"):
            shown = apply_voi_lut(values, header)
        return _scaled(shown, *ends), f"VOI LUT, {ends[0]:g} to {ends[1]:g}"
    if header.BitsStored <= 8 and "RescaleSlope" not in header and "ModalityLUTSequence" not in header:
        return values.astype(np.float32) * np.float32(_TOP / (2**header.BitsStored - 1)), f"{header.BitsStored} bit"
    return _stretched(values, padding, path)


def _stretched(values: npt.NDArray[Any], padding: npt.NDArray[np.bool_], path: Path) -> tuple[Array, str]:
    if values.ndim != 2 or not np.isfinite(values).all():
        raise IntakeError(f"{path}: has shape {values.shape} or values that are not finite. Give one grey image.")
    kept = values[~padding]
    low, high = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 0.0)
    if low == high:
        raise IntakeError(f"{path}: every pixel is {low:g}. Check how the image was saved.")
    return _scaled(values, low, high), f"stretched from {low:g} to {high:g}"


def _scaled(values: npt.NDArray[Any], low: float, high: float) -> Array:
    return np.clip((values.astype(np.float64) - low) * (_TOP / (high - low)), 0.0, _TOP).astype(np.float32)


def _inverted(image: Array) -> Array:
    return np.float32(_TOP) - image
