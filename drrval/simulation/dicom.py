"""Writing a CT as a DICOM series."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from drrval import __version__
from drrval.volume import CTVolume

_INTERCEPT = -1024


@dataclass(frozen=True)
class SeriesLabels:
    """Whose series it is.

    Attributes:
        patient: patient identifier.
        session: label of the scan within the patient.
        date: of the scan.
        origin: what tells this scan from others with the same labels; the UIDs follow from it.
        slice_mm: slice thickness, mm; by default the distance of the slices.
        kvp: tube voltage, kV.
    """

    patient: str
    session: str
    date: datetime.date
    origin: str
    slice_mm: float | None = None
    kvp: float = 120.0

    def uid(self, *levels: str) -> UID:
        """UID of a level below the patient, such as a study; the same labels give the same UID."""
        return generate_uid(entropy_srcs=[self.origin, self.patient, *levels])


def write_series(folder: Path, ct: CTVolume, labels: SeriesLabels) -> list[Path]:
    """Write one file per axial slice, feet first, as CT Image Storage (DICOM PS3.3 A.3).

    Hounsfield units are rounded to whole numbers and stored as unsigned 16 bit with intercept -1024. Nothing in the
    files depends on time or chance.

    Args:
        folder: made if missing.
        ct: its HU must not exceed 64511.
        labels: patient, study and date.

    Returns:
        The paths, ``0001.dcm`` and on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = (np.rint(ct.hu) - _INTERCEPT).astype(np.uint16)
    positions = ct.grid.index_to_world(np.stack([np.arange(len(stored)), *np.zeros((2, len(stored)))], axis=1))
    paths = []
    for number, (pixels, position) in enumerate(zip(stored, positions, strict=True), start=1):
        dataset = _header(ct, labels)
        dataset.InstanceNumber = number
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = labels.uid(labels.session, str(number))
        dataset.ImagePositionPatient = _decimals(position)
        dataset.SliceLocation = _decimals(position[2:])[0]
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        paths.append(folder / f"{number:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _header(ct: CTVolume, labels: SeriesLabels) -> Dataset:
    """All elements that the slices of the series share."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    dataset.SyntheticData = "YES"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = f"{labels.date:%Y%m%d}"
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = "drrval"
    dataset.SoftwareVersions = __version__
    dataset.StudyDescription = "Virtual chest CT"
    dataset.SeriesDescription = f"Session {labels.session}"
    dataset.PatientName = f"Virtual^{labels.patient}"
    dataset.PatientID = labels.patient
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.BodyPartExamined = "CHEST"
    dataset.KVP = _decimals([labels.kvp])[0]
    spacing_mm = ct.grid.spacing_mm[2]
    dataset.SliceThickness, dataset.SpacingBetweenSlices = _decimals([labels.slice_mm or spacing_mm, spacing_mm])
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = labels.uid(labels.session, "study")
    dataset.SeriesInstanceUID = labels.uid(labels.session, "series")
    dataset.FrameOfReferenceUID = labels.uid(labels.session, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID, dataset.SeriesNumber, dataset.AcquisitionNumber = labels.session, 1, 1
    dataset.ImageOrientationPatient = _decimals(ct.grid.direction[:, :2].T.ravel())
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = ct.grid.shape[1:]
    dataset.PixelSpacing = _decimals([ct.grid.spacing_mm[1], ct.grid.spacing_mm[0]])
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _INTERCEPT, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = -600, 1500
    return dataset


def _decimals(values: npt.ArrayLike) -> list[str]:
    """Numbers as DICOM decimal strings, which have at most 16 characters."""
    return [format_number_as_ds(float(value)) for value in np.asarray(values, dtype=float) + 0.0]
