"""Lungs and lesions as a DICOM segmentation (PS3.3 A.51) of the series that they were found in.

The segments lie on the planes and pixels of the source images, whatever way intake turned the volume for scoring. Needs
the package ``highdicom`` (extra ``seg``).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ct_models.contract import LEFT, RIGHT, CTScorer
from drrval import __version__
from drrval.ct_scoring.source import Labels, SourceImage, labels_on
from drrval.errors import IntakeError
from drrval.volume import Grid

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

MISSING = "highdicom is not installed, so no DICOM segmentations are written. Install drrval with the extra 'seg'."
SEGMENTS = ("Right lung", "Left lung", "Lesion")
SERIES_NUMBER = 9001

_ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_LUNG = Code("39607008", "SCT", "Lung")
_LESION = Code("52988006", "SCT", "Lesion")
_SIDES = (Code("24028007", "SCT", "Right"), Code("7771000", "SCT", "Left"))
# Families of algorithms, DICOM context group 7162.
_NETWORK = Code("123110", "DCM", "Artificial Intelligence")
_CLASSICAL = Code("123104", "DCM", "Morphological Operations")
_COLOURS = ((86, 200, 233), (0, 114, 178), (255, 106, 0))
# Elements that a patient's and a study's module must hold, even if empty (type 2), which real headers leave out.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName", "StudyID", "PositionReferenceIndicator",
)  # fmt: skip


@dataclass(frozen=True)
class Algorithm:
    """What found the segments.

    Attributes:
        name, version: of the scorer; its version is that of the package that it comes from.
        source: that package.
        network: whether a neural network takes part (otherwise thresholds and morphology).
        weights_sha256: SHA-256 of its weights, by name.
    """

    name: str
    version: str
    source: str
    network: bool
    weights_sha256: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scorer: CTScorer, network: bool) -> Algorithm:
        """Name, package and version of a scorer; a module that no package holds has the version ``unknown``."""
        module = type(scorer).__module__.partition(".")[0]
        packages = packages_distributions().get(module, [])
        return cls(
            scorer.name,
            version(packages[0]) if packages else "unknown",
            packages[0] if packages else module,
            network,
            getattr(scorer, "weights_sha256", {}),
        )


def highdicom_version() -> str | None:
    """Version of highdicom, or None where it is not installed."""
    if find_spec("highdicom") is None:
        return None
    try:
        return version("highdicom")
    except PackageNotFoundError:
        return None


def write_segmentation(
    path: Path, images: Sequence[SourceImage], labels: Labels, grid: Grid, algorithm: Algorithm
) -> None:
    """Write a segmentation of three segments: right lung, left lung (both with their lesions), lesion.

    Args:
        path: file to write.
        images: of the series, in order along their normal.
        labels: ``[z, y, x]``: 1, 2 healthy right and left lung; 3, 4 lesion in them.
        grid: where the labels lie.
        algorithm: what found them.

    Raises:
        IntakeError: the headers of the images lack what a segmentation must copy.
    """
    frames = _frames(images, labels, grid)
    if not frames.any():
        raise IntakeError("no label lies on any source image, so there is nothing to write.")
    content = hashlib.sha256(np.packbits(frames).tobytes()).hexdigest()
    series = str(images[0].dataset.get("SeriesInstanceUID", ""))
    sources = [series, algorithm.name, algorithm.version, content]
    uids = [generate_uid(entropy_srcs=[*sources, level]) for level in ("series", "instance")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom warns of odd values in the headers that it copies
        try:
            made = _segmentation(images, frames, algorithm, uids)
            made.save_as(path)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntakeError(
                f"the headers of the series do not allow a DICOM segmentation ({type(error).__name__}: {error}). "
                "Export the series again from the archive."
            ) from error


def _frames(images: Sequence[SourceImage], labels: Labels, grid: Grid) -> npt.NDArray[np.uint8]:
    """The segments on the source images, uint8 0 or 1, ``[frame, row, column, segment]``."""
    planes = labels_on(labels, grid, (image.grid for image in images))
    if images[0].header.frame is None:
        found = np.concatenate(list(planes))
    else:  # one multi-frame file: every frame of it, in its order, the unused ones empty
        dataset = images[0].dataset
        found = np.zeros((int(dataset.NumberOfFrames), *images[0].header.shape), np.uint8)
        for image, plane in zip(images, planes, strict=True):
            found[image.header.frame] = plane[0]
    side = np.where(found > LEFT, found - LEFT, found)
    return np.stack([side == RIGHT, side == LEFT, found > LEFT], axis=-1).astype(np.uint8)


def _segmentation(
    images: Sequence[SourceImage], frames: npt.NDArray[np.uint8], algorithm: Algorithm, uids: list[Any]
) -> Segmentation:
    from highdicom.seg import Segmentation, SegmentationTypeValues

    datasets = [image.dataset for image in images] if images[0].header.frame is None else [images[0].dataset]
    return Segmentation(
        source_images=[_completed(dataset, _spacing_mm(images)) for dataset in datasets],
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=_descriptions(algorithm),
        series_instance_uid=uids[0],
        series_number=SERIES_NUMBER,
        sop_instance_uid=uids[1],
        instance_number=1,
        manufacturer="drrval",
        manufacturer_model_name="drrval score-ct",
        software_versions=__version__,
        device_serial_number=__version__,
        content_label="LUNGS_LESIONS",
        content_description="Lungs and lesions",
        series_description=f"Lungs and lesions ({algorithm.name})"[:64],
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )


def _descriptions(algorithm: Algorithm) -> list[SegmentDescription]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    found_by = AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=_NETWORK if algorithm.network else _CLASSICAL,
        version=algorithm.version,
        source=algorithm.source,
        parameters=dict(algorithm.weights_sha256) or None,
    )
    kinds = ((_ANATOMY, _LUNG), (_ANATOMY, _LUNG), (_ABNORMAL, _LESION))
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=category,
            segmented_property_type=what,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=found_by,
            anatomic_regions=[_LUNG] if what == _LESION else None,
            display_color=CIELabColor.from_rgb(*colour),
        )
        for number, (label, (category, what), colour) in enumerate(zip(SEGMENTS, kinds, _COLOURS, strict=True), start=1)
    ]
    for description, side in zip(descriptions, _SIDES, strict=False):
        what = description.SegmentedPropertyTypeCodeSequence[0]
        what.SegmentedPropertyTypeModifierCodeSequence = DicomSequence([_coded(side)])
    return descriptions


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _completed(dataset: Dataset, spacing_mm: float) -> Dataset:
    """The header with every element that a segmentation copies, and that a CT may leave out or empty."""
    complete = Dataset(dataset)
    complete.file_meta = dataset.file_meta
    for name in _MAY_BE_EMPTY:
        if name not in complete:
            setattr(complete, name, "")
    if complete.get("SliceThickness") in (None, ""):
        complete.SliceThickness = spacing_mm
    return complete


def _spacing_mm(images: Sequence[SourceImage]) -> float:
    """Median distance of the images along their normal, mm."""
    first = images[0].grid
    heights = [(np.array(image.grid.origin_mm) - first.origin_mm) @ first.direction[:, 2] for image in images]
    return float(np.median(np.diff(heights)))
