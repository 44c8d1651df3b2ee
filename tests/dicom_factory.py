"""Small synthetic chest CTs and DICOM files for the intake tests. World coordinates are LPS millimetres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from drrval.volume import CTVolume

AXIAL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
CORONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
SAGITTAL = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])

SHAPE = (40, 44)  # rows, columns
PIXEL = (5.0, 5.0)  # between columns, between rows
SPACING = 5.0
N_SLICES = 28


def phantom_hu(points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """HU at LPS points (..., 3): a body with two unequal lungs, a spine at the back and a heart on the left.

    No two of the 48 axis permutations and flips look alike. It spans about 200 x 160 x 120 mm around the origin.
    """
    x, y, z = np.moveaxis(np.asarray(points_mm, dtype=float), -1, 0)
    hu = np.full(x.shape, -1000.0)
    hu[(x / 100) ** 2 + (y / 75) ** 2 < 1] = 40
    hu[((x + 45) / 36) ** 2 + (y / 50) ** 2 + ((z - 5) / 62) ** 2 < 1] = -850
    hu[((x - 45) / 36) ** 2 + (y / 50) ** 2 + ((z - 15) / 48) ** 2 < 1] = -840
    hu[((x - 20) / 32) ** 2 + ((y + 25) / 26) ** 2 + ((z + 15) / 30) ** 2 < 1] = 60
    hu[(x / 14) ** 2 + ((y - 55) / 14) ** 2 < 1] = 700
    return hu


def plane_points(
    position: npt.ArrayLike,
    orientation: npt.NDArray[np.float64] = AXIAL,
    shape: tuple[int, int] = SHAPE,
    pixel_mm: tuple[float, float] = PIXEL,
) -> npt.NDArray[np.float64]:
    """LPS points [row, column, 3] of the pixels of one slice."""
    row, column = np.meshgrid(*map(np.arange, shape), indexing="ij")
    across, down = orientation
    return np.asarray(position) + column[..., None] * pixel_mm[0] * across + row[..., None] * pixel_mm[1] * down


def axial_positions(n: int = N_SLICES, spacing: float = SPACING) -> npt.NDArray[np.float64]:
    """Positions (n, 3) of a centred axial stack, feet to head."""
    corner = [-(SHAPE[1] - 1) / 2 * PIXEL[0], -(SHAPE[0] - 1) / 2 * PIXEL[1]]
    return np.array([[*corner, (k - (n - 1) / 2) * spacing] for k in range(n)])


def write_slice(
    path: Path,
    hu: npt.NDArray[Any],
    position: npt.ArrayLike,
    *,
    orientation: npt.NDArray[np.float64] = AXIAL,
    pixel_mm: tuple[float, float] = PIXEL,
    slope: float | None = 1,
    intercept: float | None = -1024,
    signed: bool = False,
    codec: str = "",
    **tags: Any,
) -> Dataset:
    """Write one CT slice; ``codec`` is "", "JPEG" (lossless), "JPEG2000" or "RLE"; a tag set to None is left out."""
    stored = np.rint((hu - (intercept or 0)) / (1 if slope is None else slope))
    pixels = np.ascontiguousarray(stored.astype(np.int16 if signed else np.uint16))
    dataset = _header(pixels, position, orientation, pixel_mm)
    if slope is not None:
        dataset.RescaleSlope = slope
    if intercept is not None:
        dataset.RescaleIntercept = intercept
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    _set_pixels(dataset, pixels, codec, path)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def write_series(
    folder: Path,
    positions: npt.ArrayLike | None = None,
    *,
    order: Sequence[int] | None = None,
    prefix: str = "slice",
    skip: Iterable[int] = (),
    **settings: Any,
) -> list[Path]:
    """Write the phantom as a series; ``order`` gives each slice's place in file names and instance numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    places = axial_positions() if positions is None else np.asarray(positions)
    orientation = settings.get("orientation", AXIAL)
    shape = settings.pop("shape", SHAPE)
    paths = []
    for k, position in enumerate(places):
        if k in set(skip):
            continue
        number = k if order is None else order[k]
        path = folder / f"{prefix}{number:03d}.dcm"
        points = plane_points(position, orientation, shape, settings.get("pixel_mm", PIXEL))
        write_slice(path, phantom_hu(points), position, **{"InstanceNumber": number + 1, **settings})
        paths.append(path)
    return paths


def edit(path: Path, **tags: Any) -> None:
    """Change header values of a written file; None deletes."""
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def assert_is_phantom(volume: CTVolume, share: float = 0.0) -> None:
    """The voxel at each world position holds the phantom's value there; up to ``share`` may differ (resampling)."""
    index = np.stack(np.indices(volume.grid.shape), axis=-1)
    expected = phantom_hu(volume.grid.index_to_world(index))
    assert np.mean(np.abs(volume.hu - expected) > 0.01) <= share


def _header(
    pixels: npt.NDArray[Any],
    position: npt.ArrayLike,
    orientation: npt.NDArray[np.float64],
    pixel_mm: tuple[float, float],
) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality = "CT"
    dataset.PatientID, dataset.PatientName, dataset.PatientPosition = "P1", "Not^Reported", "HFS"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3", "1.2.3.4", 2
    dataset.StudyDate, dataset.KVP = "20200102", 120
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(pixels.dtype == np.int16)
    dataset.PixelSpacing = [pixel_mm[1], pixel_mm[0]]
    dataset.ImagePositionPatient = [round(float(v), 6) for v in np.asarray(position)]
    dataset.ImageOrientationPatient = [round(float(v), 8) for v in orientation.ravel()]
    return dataset


def _set_pixels(dataset: Dataset, pixels: npt.NDArray[Any], codec: str, path: Path) -> None:
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if codec == "RLE":
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    elif codec:
        scratch = path.with_suffix(".tmp.dcm")
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(scratch))
        writer.SetUseCompression(True)
        writer.SetCompressor(codec)
        writer.Execute(sitk.GetImageFromArray(pixels))
        encoded = pydicom.dcmread(scratch)
        scratch.unlink()
        dataset.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
        dataset.PixelData = encoded.PixelData
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
