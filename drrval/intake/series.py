"""Which images of a folder form the scan: groups of one series, orientation and matrix, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drrval.intake.headers import FolderHeaders, SliceHeader
from drrval.intake.report import IntakeReport

# Image axes that differ by less than this (about 0.06 degrees) count as the same orientation.
_SAME_DIRECTION = 1e-3
# A stack is axial when its normal lies within 45 degrees of the head-feet axis.
_AXIAL_COSINE = np.cos(np.pi / 4)


@dataclass(frozen=True)
class ImageGroup:
    """Images of one series that share orientation, matrix and pixel spacing.

    Attributes:
        slices: their headers, in file order.
    """

    slices: tuple[SliceHeader, ...]

    @property
    def first(self) -> SliceHeader:
        """Header of the first image, which speaks for what all images share."""
        return self.slices[0]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """LPS unit normal of the images."""
        if self.first.orientation is None:
            raise ValueError("images without orientation have no normal")
        return np.cross(*self.first.orientation)

    @property
    def plane(self) -> str:
        """``axial``, ``sagittal`` or ``coronal``: the plane that the images lie nearest to."""
        if abs(self.normal[2]) >= _AXIAL_COSINE:
            return "axial"
        return "sagittal" if abs(self.normal[0]) >= abs(self.normal[1]) else "coronal"

    def describe(self) -> str:
        """Short text for messages."""
        plane = self.plane if self.first.orientation is not None else "unknown plane"
        modality = self.first.modality or "no-modality"
        return f"{len(self.slices)} {modality} images, {plane}, {self.first.series_uid}"


def reject_damaged(headers: FolderHeaders, report: IntakeReport) -> None:
    """Reject when a DICOM file is damaged: a broken header cannot say which series it belonged to."""
    if headers.damaged:
        report.reject(
            "damaged_file",
            f"{name_files(headers.damaged)} cannot be read as a DICOM image (truncated, empty or overwritten). Copy "
            "the file again from the archive, or move it out of the folder if it is no part of the scan.",
        )


def note_strays(headers: FolderHeaders, report: IntakeReport) -> None:
    """Say which files were ignored because they hold no DICOM image."""
    if headers.strays:
        report.add("stray_files", "note", f"ignored, not a DICOM image: {name_files(headers.strays)}")


def drop_localizers(slices: Sequence[SliceHeader], report: IntakeReport) -> list[SliceHeader]:
    """Leave out localizer (scout) images, known by ImageType, and say so."""
    kept = [s for s in slices if "LOCALIZER" not in s.image_type]
    if slices and not kept:
        report.reject("localizer", f"all {len(slices)} images are localizers. Export the CT slices themselves.")
    if len(kept) < len(slices):
        report.add("localizer", "note", f"left out {len(slices) - len(kept)} localizer image(s)")
    return kept


def group_images(slices: Sequence[SliceHeader]) -> list[ImageGroup]:
    """Group images that can form one stack: same series, orientation, matrix and pixel spacing."""
    groups: list[list[SliceHeader]] = []
    for image in slices:
        for group in groups:
            if _same_stack(group[0], image):
                group.append(image)
                break
        else:
            groups.append([image])
    return [ImageGroup(tuple(group)) for group in groups]


def choose_group(groups: Sequence[ImageGroup], series_uid: str | None, report: IntakeReport) -> ImageGroup:
    """Choose the scan among the groups: CT first, then axial, then most slices; say what was left out.

    Ties go to the lower series number, then to the lower UID, so the choice does not depend on file names.

    Raises:
        IntakeError: unknown ``series_uid``, or no group states where its images lie.
    """
    asked = [g for g in groups if series_uid in (None, g.first.series_uid)]
    if not asked:
        listed = "; ".join(g.describe() for g in groups)
        report.reject("series_uid", f"no series {series_uid} here. Expected one of: {listed}.")
    placed = [g for g in asked if g.first.has_geometry]
    if not placed:
        report.reject(
            "geometry_header",
            "no image states ImagePositionPatient, ImageOrientationPatient (two unit vectors at right angles) "
            "and PixelSpacing, so the slices cannot be placed. Export the original CT series.",
        )
    chosen = min(placed, key=_preference)
    others = [g for g in groups if g is not chosen]
    strangers = [g for g in others if not _same_examination(g.first, chosen.first)]
    if strangers and series_uid is None:
        report.reject(
            "examination",
            "the folder holds images of different patients or examinations: "
            f"{'; '.join(g.describe() for g in (chosen, *strangers))}. "
            "Give each its own folder, or name one with series_uid.",
        )
    if others:
        why = "asked for" if series_uid else "order of choice: CT, axial, most slices"
        left_out = "; ".join(g.describe() for g in others)
        report.add("series_choice", "note", f"took {chosen.describe()} ({why}); left out: {left_out}")
    return chosen


def check_modality(group: ImageGroup, report: IntakeReport) -> None:
    """Reject images that are not CT or are not greyscale as CT is."""
    modality, photometric = group.first.modality, group.first.photometric
    if modality != "CT":
        report.reject("modality", f"Modality is {modality or 'missing'}; only CT can be used. Give a CT series.")
    if photometric != "MONOCHROME2":
        report.reject(
            "photometric",
            f"PhotometricInterpretation is {photometric}; CT slices are MONOCHROME2. Export the original.",
        )


def note_orientation(group: ImageGroup, report: IntakeReport) -> None:
    """Say when the slices are not axial, and when the patient did not lie supine and head first."""
    if group.plane != "axial":
        report.add("orientation", "note", f"{group.plane} slices, turned to axial order without resampling")
    position = group.first.facts.get("patient_position")
    if position not in (None, "HFS"):
        report.add(
            "patient_position",
            "note",
            f"{position}; axes follow ImageOrientationPatient and come out canonical",
        )


def name_files(files: Sequence[Path], limit: int = 5) -> str:
    """File names for a message, at most ``limit`` of them."""
    names = ", ".join(f.name for f in files[:limit])
    return names if len(files) <= limit else f"{names} and {len(files) - limit} more"


def _same_examination(a: SliceHeader, b: SliceHeader) -> bool:
    return all(a.examination.get(tag, "") == b.examination.get(tag, "") for tag in ("PatientID", "StudyInstanceUID"))


def _same_stack(a: SliceHeader, b: SliceHeader) -> bool:
    if (a.series_uid, a.shape, a.has_geometry) != (b.series_uid, b.shape, b.has_geometry):
        return False
    if a.orientation is None or b.orientation is None or a.pixel_mm is None or b.pixel_mm is None:
        return True
    return np.allclose(a.orientation, b.orientation, rtol=0, atol=_SAME_DIRECTION) and np.allclose(
        a.pixel_mm, b.pixel_mm, rtol=1e-3
    )


def _preference(group: ImageGroup) -> tuple[bool, bool, int, int, str]:
    first = group.first
    return (
        first.modality != "CT",
        group.plane != "axial",
        -len(group.slices),
        first.series_number,
        first.series_uid,
    )
