"""Writing radiographs: PNG (8 bit), TIFF (16 bit), NIfTI (float signal, bone dark), DICOM DX."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from drrval import __version__
from drrval.errors import DrrvalError
from drrval.radiograph import Radiograph

SUFFIXES = (".png", ".tif", ".tiff", ".nii", ".nii.gz", ".dcm")
SIGNAL_SUFFIXES = (".nii", ".nii.gz")  # hold the receptor's signal; the display rule plays no part
_PATIENT_ORIENTATION = {"PA": ["L", "F"], "AP": ["L", "F"], "LL": ["P", "F"]}


def save_radiograph(radiograph: Radiograph, path: Path) -> Path:
    """Write a radiograph in the format of the path's suffix.

    ``.png``: displayed image, 8 bit. ``.tif``, ``.tiff``: displayed image, 16 bit. ``.nii``, ``.nii.gz``: receptor
    signal over the unattenuated beam, float32, one slice, spacing = pixel pitch; linear, so that bone is dark, whatever
    the display. ``.dcm``: displayed image, 12 bit, DICOM DX marked as synthetic, a series of its own in the study of
    the CT.

    Raises:
        DrrvalError: unknown suffix.
    """
    name = path.name.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".png"):
        Image.fromarray(radiograph.image).save(path)
    elif name.endswith((".tif", ".tiff")):
        Image.fromarray(radiograph.shown(16)).save(path)
    elif name.endswith(SIGNAL_SUFFIXES):
        image = sitk.GetImageFromArray(radiograph.signal[None])
        image.SetSpacing((radiograph.geometry.pixel_mm, radiograph.geometry.pixel_mm, 1.0))
        sitk.WriteImage(image, str(path))
    elif name.endswith(".dcm"):
        _as_dicom(radiograph).save_as(path, enforce_file_format=True)
    else:
        raise DrrvalError(f"Cannot write {path.name!r}. Expected one of: {', '.join(SUFFIXES)}.")
    return path


def _as_dicom(radiograph: Radiograph) -> FileDataset:
    """DICOM Digital X-Ray image (PS3.3 A.26) with Synthetic Data (0008,001C) = YES."""
    geometry = radiograph.geometry
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    # UIDs follow from the content, so that the same radiograph is the same instance wherever its CT lies.
    content = [
        radiograph.examination["StudyInstanceUID"],
        geometry.view,
        geometry.preset,
        str(radiograph.seed),
        radiograph.display.model_dump_json(),
    ]
    content.append(hashlib.sha256(radiograph.signal.tobytes()).hexdigest())
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["instance", *content])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian

    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *content])
    ds.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    for keyword, value in radiograph.examination.items():
        setattr(ds, keyword, value)
    ds.SyntheticData = "YES"
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "SECONDARY", "DRR"]
    ds.DerivationDescription = "Digitally reconstructed radiograph from CT"
    ds.Manufacturer = "drrval"
    ds.SoftwareVersions = __version__
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = geometry.view
    ds.PatientOrientation = _PATIENT_ORIENTATION[geometry.view]
    ds.ImageLaterality = "U"
    ds.DistanceSourceToDetector = round(geometry.sid_mm, 3)
    ds.ImagerPixelSpacing = [geometry.pixel_mm, geometry.pixel_mm]
    ds.Rows, ds.Columns = geometry.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.LossyImageCompression = "00"
    ds.BurnedInAnnotation = "NO"
    ds.PixelData = (radiograph.shown(16) >> 4).astype(np.uint16).tobytes()
    return ds
