"""Read NIfTI, NRRD and MetaImage volumes."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drrval.intake.report import IntakeReport
from drrval.intake.stack import RawVolume

# suffix -> (name, ITK reader)
_FORMATS = {
    ".nii.gz": ("NIfTI", "NiftiImageIO"),
    ".nii": ("NIfTI", "NiftiImageIO"),
    ".nrrd": ("NRRD", "NrrdImageIO"),
    ".nhdr": ("NRRD", "NrrdImageIO"),
    ".mha": ("MetaImage", "MetaImageIO"),
    ".mhd": ("MetaImage", "MetaImageIO"),
}
SUFFIXES = tuple(_FORMATS)
# The three names that the MetaImage format has for its direction matrix.
_MATRIX_LINE = re.compile(rb"^(TransformMatrix|Rotation|Orientation)\s*=", re.MULTILINE)
# NIfTI-1 datatype codes of floating-point voxels
_NIFTI_FLOATS = {"16": "f4", "64": "f8"}


def volume_suffix(path: Path) -> str | None:
    """The volume-file suffix that the name ends in (``.nii.gz``, ``.mha``...), or None."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def read_volume_file(path: Path, report: IntakeReport) -> RawVolume:
    """Read one volume file in storage order.

    Raises:
        IntakeError: unreadable or truncated file, not three-dimensional, colour, or no orientation stated.
    """
    format_name, image_io = _FORMATS[str(volume_suffix(path))]
    report.facts.update(format=format_name, n_files=1)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        _unreadable(error, report)
    _check_dimensions(reader, report)
    _check_orientation_stated(path, reader, report)
    not_finite = None
    if format_name == "NIfTI":
        not_finite = _check_nifti_data(path, reader, report)
        _note_two_orientations(reader, report)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    reader.SetExtractSize([*reader.GetSize()[:3], *[0] * (reader.GetDimension() - 3)])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        _unreadable(error, report)
    values = sitk.GetArrayFromImage(image)
    if not_finite is not None:
        values[not_finite.reshape(values.shape)] = np.nan
    spacing = image.GetSpacing()
    return RawVolume(
        values=values,
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        origin_mm=np.array(image.GetOrigin()),
        direction=np.reshape(image.GetDirection(), (3, 3)),
    )


def _unreadable(error: RuntimeError, report: IntakeReport) -> None:
    reason = str(error).strip().splitlines()[-1]
    if "orthonormal" in reason:
        report.reject(
            "sheared_axes",
            "the axes that the header states are not at right angles, as of a CT with gantry tilt that was converted "
            "without correcting it. Give the DICOM series, or resample the file to a grid with right angles.",
        )
    report.reject("damaged_file", f"the file cannot be read ({reason}). Copy it again, or convert it again.")


def _check_dimensions(reader: sitk.ImageFileReader, report: IntakeReport) -> None:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1:
        report.reject(
            "dimensions", f"voxels have {reader.GetNumberOfComponents()} components; a CT has one value each."
        )
    if len(size) < 3 or any(n > 1 for n in size[3:]):
        report.reject(
            "dimensions",
            f"the image has {len(size)} dimensions ({' x '.join(map(str, size))}); one CT volume has 3. "
            "Save the wanted time point or phase as a file of its own.",
        )


def _check_orientation_stated(path: Path, reader: sitk.ImageFileReader, report: IntakeReport) -> None:
    """Reject files that do not say how the array lies in the patient; readers would assume something."""
    keys = set(reader.GetMetaDataKeys())
    if "qform_code" in keys:
        stated = any(reader.GetMetaData(key) != "0" for key in ("qform_code", "sform_code"))
        where = "qform_code and sform_code are both 0"
    elif volume_suffix(path) in (".nrrd", ".nhdr"):
        stated = "posterior" in _metadata(reader, "NRRD_space")  # ITK turns RAS and LAS files to LPS
        where = f"'space' is {_metadata(reader, 'NRRD_space') or 'missing'}, not an anatomical one"
    else:
        with path.open("rb") as stream:
            head = stream.read(4096)
        stated = _MATRIX_LINE.search(head) is not None
        where = "there is no TransformMatrix"
    if not stated:
        report.reject(
            "orientation_missing",
            f"the header does not state the patient's orientation ({where}). Convert the scan again from its "
            "DICOM series, or write the right orientation into the header.",
        )


def _check_nifti_data(path: Path, reader: sitk.ImageFileReader, report: IntakeReport) -> npt.NDArray[np.bool_] | None:
    """Look at the stored voxels themselves, because ITK hides two faults of a NIfTI file.

    It fills up a file that ends early without complaint, which is rejected here; and it turns NaN into 0 HU, which
    is water.

    Returns:
        bool, flat in storage order: which voxels are NaN or infinite; None for whole-number voxels.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        report.reject("damaged_file", f"the gzip data is damaged ({error}). Copy the file again.")
    voxels = int(np.prod(reader.GetSize(), dtype=np.int64))
    start = int(float(reader.GetMetaData("vox_offset")))
    needed = start + voxels * int(reader.GetMetaData("bitpix")) // 8
    if len(content) < needed:
        report.reject(
            "damaged_file",
            f"the file holds {len(content)} bytes, its header asks for {needed}: truncated. Copy it again.",
        )
    kind = _NIFTI_FLOATS.get(reader.GetMetaData("datatype"))
    if kind is None:
        return None
    # sizeof_hdr, the first field, is 348 (NIfTI-1) or 540 (NIfTI-2) in the byte order of the file.
    order = "<" if int.from_bytes(content[:4], "little") in (348, 540) else ">"
    return ~np.isfinite(np.frombuffer(content, order + kind, voxels, start))


def _note_two_orientations(reader: sitk.ImageFileReader, report: IntakeReport) -> None:
    """Say when a NIfTI file states two orientations (qform and sform) that differ, and which was used."""
    if "0" in (reader.GetMetaData("qform_code"), reader.GetMetaData("sform_code")):
        return
    rows = [[float(v) for v in _metadata(reader, f"srow_{axis}").split()] for axis in "xyz"]
    if any(len(row) != 4 for row in rows):
        return
    sform = np.diag([-1.0, -1.0, 1.0]) @ np.array(rows)  # NIfTI is RAS, ITK is LPS
    direction = np.reshape(reader.GetDirection(), (-1, reader.GetDimension()))[:3, :3]
    used = np.column_stack([direction * np.array(reader.GetSpacing()[:3]), reader.GetOrigin()[:3]])
    far_corner = np.array([*reader.GetSize()[:3], 1.0])
    if np.abs((sform - used) @ far_corner).max() > 1.0 or np.abs(sform - used)[:, 3].max() > 1.0:
        report.add("two_orientations", "note", "qform and sform differ by more than 1 mm; used the qform")


def _metadata(reader: sitk.ImageFileReader, key: str) -> str:
    return str(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else ""
