"""DICOM headers: which files are images, and what each image says about itself. No pixels are read."""

from __future__ import annotations

import datetime
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from drrval.identity import EXAMINATION_TAGS

_CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
}
_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_FACT_TAGS = {
    "study_date": "StudyDate",
    "patient_position": "PatientPosition",
    "kvp": "KVP",
    "kernel": "ConvolutionKernel",
    "gantry_tilt_deg": "GantryDetectorTilt",
}
_TAGS = [
    "SOPClassUID",
    "Modality",
    "ImageType",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PhotometricInterpretation",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *EXAMINATION_TAGS,
    *(tag for tag in _FACT_TAGS.values() if tag not in EXAMINATION_TAGS),
]


@dataclass(frozen=True)
class SliceHeader:
    """What one image (a file, or one frame of a multi-frame file) says about itself.

    Attributes:
        path: the file.
        frame: index in a multi-frame file, or None.
        series_uid, series_number, modality, photometric: as in the header; number 0 if absent.
        image_type: values of ImageType in upper case.
        shape: (rows, columns).
        position: LPS mm of the centre of the first pixel, or None.
        orientation: (2, 3) LPS unit vectors of increasing column and of increasing row, or None.
        pixel_mm: (along x, along y), that is (between columns, between rows), mm, or None.
        slope, intercept: rescale values, None where absent.
        padding: stored pixel value used as padding, or None.
        examination: its values of :data:`drrval.identity.EXAMINATION_TAGS`, empty where absent; never reported.
        facts: plain values for the report.
    """

    path: Path
    frame: int | None
    series_uid: str
    series_number: int
    modality: str
    photometric: str
    image_type: tuple[str, ...]
    shape: tuple[int, int]
    position: npt.NDArray[np.float64] | None
    orientation: npt.NDArray[np.float64] | None
    pixel_mm: tuple[float, float] | None
    slope: float | None
    intercept: float | None
    padding: int | None
    examination: Mapping[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def has_geometry(self) -> bool:
        """Whether position, orientation and pixel spacing are all stated."""
        return self.position is not None and self.orientation is not None and self.pixel_mm is not None


@dataclass
class FolderHeaders:
    """The files of a folder, sorted by what they are.

    Attributes:
        images: one entry per image.
        damaged: DICOM files that end early or lack what every CT image has.
        strays: files that are not DICOM images at all.
    """

    images: list[SliceHeader] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)


def visible_files(folder: Path) -> list[Path]:
    """Files directly in ``folder``, sorted by name, without hidden ones."""
    return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))


def is_dicom(path: Path) -> bool:
    """Whether the file starts as DICOM does: ``DICM`` after the preamble, or group 0002/0008 without one."""
    with path.open("rb") as stream:
        head = stream.read(132)
    return head[128:132] == b"DICM" or (head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00")


def is_dicom_image(path: Path) -> bool:
    """Whether the file is a DICOM file with an image in it."""
    if not is_dicom(path):
        return False
    with _quiet_headers():
        dataset = _read_dataset(path, ["Rows", "SeriesInstanceUID"])
        return dataset is not None and "Rows" in dataset and "SeriesInstanceUID" in dataset


def read_headers(files: Sequence[Path]) -> FolderHeaders:
    """Read the headers of ``files``; a bad file raises nothing but goes to ``damaged`` or ``strays``."""
    result = FolderHeaders()
    with _quiet_headers():
        for path in files:
            try:
                _sort_file(path, result)
            except Exception:  # an element of an impossible type, such as a list of UIDs
                result.damaged.append(path)
    return result


def _sort_file(path: Path, result: FolderHeaders) -> None:
    if not is_dicom(path):
        # An empty or overwritten slice still carries its name: losing it in silence would leave a gap.
        named_dicom = path.suffix.lower() in (".dcm", ".dicom", ".ima")
        (result.damaged if named_dicom else result.strays).append(path)
        return
    dataset = _read_dataset(path, _TAGS)
    if dataset is None or _is_cut_off(dataset):
        result.damaged.append(path)
    elif not _value(dataset, "Rows"):
        result.strays.append(path)
    else:
        result.images.extend(_slices(path, dataset))


@contextmanager
def _quiet_headers() -> Iterator[None]:
    """Keep pydicom from warning about odd values, which real headers are full of; each value used is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_dataset(path: Path, tags: list[str]) -> Dataset | None:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags), force=True)
    except Exception:  # pydicom raises what it meets in damaged bytes; whatever it is, the file cannot be read
        return None


def _is_cut_off(dataset: Dataset) -> bool:
    """Whether a DICOM file ends before the elements that every CT image has."""
    if _value(dataset.file_meta, "MediaStorageSOPClassUID") == _DICOMDIR_CLASS:
        return False
    # BitsAllocated comes after every geometry element: a file cut off before it may have lost its spacing.
    needed = ("SeriesInstanceUID", "Rows", "Columns", "BitsAllocated")
    if all(_value(dataset, tag) for tag in needed):
        return False
    return _value(dataset, "SOPClassUID") in _CT_CLASSES or not _value(dataset, "SeriesInstanceUID")


def _value(dataset: Dataset, tag: str) -> Any:
    """Value of a header element, or None where it is absent, empty or malformed."""
    try:
        value = dataset.get(tag)
    except Exception:  # as in _read_dataset: a malformed element counts as absent
        return None
    return None if value is None or value == "" else value


def _slices(path: Path, dataset: Dataset) -> list[SliceHeader]:
    n_frames = int(_value(dataset, "NumberOfFrames") or 1)
    if n_frames == 1 and "PerFrameFunctionalGroupsSequence" not in dataset:
        return [_slice(path, None, dataset, dataset, dataset, dataset, dataset)]
    return [
        _slice(
            path,
            frame,
            dataset,
            _group(dataset, frame, "PlanePositionSequence"),
            _group(dataset, frame, "PlaneOrientationSequence"),
            _group(dataset, frame, "PixelMeasuresSequence"),
            _group(dataset, frame, "PixelValueTransformationSequence"),
        )
        for frame in range(n_frames)
    ]


def _group(dataset: Dataset, frame: int, name: str) -> Dataset:
    """Functional group ``name`` of a frame: its own, else the shared, else empty (DICOM PS3.3 C.7.6.16)."""
    per_frame = _value(dataset, "PerFrameFunctionalGroupsSequence") or []
    shared = _value(dataset, "SharedFunctionalGroupsSequence") or []
    for holder in [*per_frame[frame : frame + 1], *shared[:1]]:
        if _value(holder, name):
            return holder[name].value[0]
    return Dataset()


def _slice(
    path: Path,
    frame: int | None,
    image: Dataset,
    position: Dataset,
    orientation: Dataset,
    measures: Dataset,
    rescale: Dataset,
) -> SliceHeader:
    spacing = _floats(measures, "PixelSpacing", 2)
    cosines = _floats(orientation, "ImageOrientationPatient", 6)
    corner = _floats(position, "ImagePositionPatient", 3)
    slope, intercept = _floats(rescale, "RescaleSlope", 1), _floats(rescale, "RescaleIntercept", 1)
    number = _floats(image, "SeriesNumber", 1)
    image_type = _value(image, "ImageType") or ()
    return SliceHeader(
        path=path,
        frame=frame,
        series_uid=str(image.SeriesInstanceUID),
        series_number=int(number[0]) if number else 0,
        modality=str(_value(image, "Modality") or ""),
        photometric=str(_value(image, "PhotometricInterpretation") or "MONOCHROME2"),
        image_type=tuple(str(v).upper() for v in ([image_type] if isinstance(image_type, str) else image_type)),
        shape=(int(image.Rows), int(image.Columns)),
        position=None if corner is None else np.array(corner),
        orientation=None if cosines is None else _unit_rows(np.reshape(cosines, (2, 3))),
        pixel_mm=(spacing[1], spacing[0]) if spacing and min(spacing) > 0 else None,
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        padding=_padding(image),
        examination={tag: str(_value(image, tag) or "") for tag in EXAMINATION_TAGS},
        facts=_facts(image),
    )


def _floats(dataset: Dataset, tag: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers of a header element, or None where there are none."""
    value = _value(dataset, tag)
    if value is None:
        return None
    try:
        numbers = tuple(float(v) for v in ([value] if count == 1 else value))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _unit_rows(cosines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Rows scaled to unit length; None unless they are two directions at right angles (within 0.6 degrees)."""
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(cosines[0] @ cosines[1]) > 0.01:
        return None
    x = cosines[0] / lengths[0]
    y = cosines[1] - (cosines[1] @ x) * x
    return np.stack([x, y / np.linalg.norm(y)])


def _padding(image: Dataset) -> int | None:
    """PixelPaddingValue as stored in the pixels: some writers give it with the wrong sign convention."""
    number = _floats(image, "PixelPaddingValue", 1)
    if number is None:
        return None
    bits = int(_value(image, "BitsAllocated") or 16)
    value = int(number[0]) % (1 << bits)
    signed = int(_value(image, "PixelRepresentation") or 0) == 1
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def _facts(image: Dataset) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, tag in _FACT_TAGS.items():
        if name in ("kvp", "gantry_tilt_deg"):
            number = _floats(image, tag, 1)
            facts[name] = number[0] if number else None
        else:
            value = _value(image, tag)
            facts[name] = str(value) if value else None
    facts["study_date"] = _iso_date(facts["study_date"])
    return facts


def _iso_date(value: str | None) -> str | None:
    """``20200305`` (DICOM DA) as ``2020-03-05``; None for anything that is not a date."""
    try:
        return datetime.datetime.strptime(value or "", "%Y%m%d").date().isoformat()
    except ValueError:
        return None
