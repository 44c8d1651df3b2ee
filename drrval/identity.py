"""Whose scan a CT is: the DICOM patient and study that an image made from it belongs to."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import UID, generate_uid

from drrval.volume import CTVolume

# Patient and study attributes that all images of a study have in common (DICOM PS3.3 C.7.1.1, C.7.2.1).
EXAMINATION_TAGS = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
_EVERY = 4  # voxels along each axis are enough to tell CTs apart, and take no time
_LONGEST_NAME = 64  # characters of a DICOM name
_NO_NAME = re.compile(r"[\\^=\x00-\x1f\x7f]+")  # characters with a meaning of their own in a DICOM name


def examination_of(ct: CTVolume) -> dict[str, str]:
    """Patient and study of a CT, for DICOM files made from it.

    They are those of the CT's own DICOM headers. A CT without them (a NIfTI file, say) gets a PatientID and a
    StudyInstanceUID that follow from its voxels and its grid, not from its path, so that two scans are never taken for
    one, and its file's name as PatientName. Values that break a rule of DICOM count as absent.

    Returns:
        value of each of :data:`EXAMINATION_TAGS`; empty where nothing is known.
    """
    found = {tag: value for tag, value in ct.examination.items() if _is_valid(tag, value)}
    if all(found.get(tag) for tag in ("PatientID", "StudyInstanceUID")):
        return {tag: found.get(tag, "") for tag in EXAMINATION_TAGS}
    content = _digest(ct)
    made = {
        "PatientID": f"DRRVAL-{content[:16].upper()}",
        "PatientName": _NO_NAME.sub(" ", PurePath(ct.name).name.split(".")[0]).strip()[:_LONGEST_NAME],
        "StudyInstanceUID": str(generate_uid(entropy_srcs=["study", content])),
    }
    return {tag: found.get(tag) or made.get(tag, "") for tag in EXAMINATION_TAGS}


def _is_valid(tag: str, value: str) -> bool:
    if tag == "StudyInstanceUID":
        return UID(value).is_valid
    number = tag_for_keyword(tag)
    if number is None:
        return False
    try:
        DataElement(number, dictionary_VR(number), value, validation_mode=config.RAISE)
    except ValueError:
        return False
    return True


def _digest(ct: CTVolume) -> str:
    """SHA-256 of the grid and of every fourth voxel along each axis, hexadecimal."""
    grid = ct.grid
    place = np.round([*grid.shape, *grid.spacing_mm, *grid.origin_mm, *np.ravel(grid.direction)], 4) + 0.0  # no -0
    digest = hashlib.sha256(place.tobytes())
    digest.update(np.ascontiguousarray(ct.hu[::_EVERY, ::_EVERY, ::_EVERY], dtype="<f4").tobytes())
    return digest.hexdigest()
