"""Intake of enhanced multi-frame CT: all slices in one DICOM file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import AXIAL, assert_is_phantom, axial_positions, phantom_hu, plane_points, write_slice
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage

from drrval.errors import IntakeError
from drrval.intake import check_ct, read_ct


def write_enhanced(path: Path, intercepts: list[float]) -> None:
    """All slices of the phantom as one enhanced multi-frame file, frames shuffled."""
    positions = axial_positions()[np.random.default_rng(1).permutation(28)]
    hu = np.stack([phantom_hu(plane_points(p)) for p in positions])
    dataset = write_slice(path, hu[0], positions[0])
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = len(hu)
    dataset.PixelData = np.stack([h - i for h, i in zip(hu, intercepts, strict=True)]).astype(np.uint16).tobytes()
    frames = []
    for position, intercept in zip(positions, intercepts, strict=True):
        frame, place, rescale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = position.tolist()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, intercept, "HU"
        frame.PlanePositionSequence = Sequence([place])
        frame.PixelValueTransformationSequence = Sequence([rescale])
        frames.append(frame)
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = AXIAL.ravel().tolist()
    measures.PixelSpacing, measures.SliceThickness = [5, 5], 5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([plane]), Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, tag)
    del dataset.RescaleIntercept
    dataset.save_as(path, enforce_file_format=True)


def test_enhanced_multi_frame_file(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "enhanced.dcm", [-1024.0] * 28)
    volume, report = check_ct(tmp_path / "enhanced.dcm")
    assert volume is not None
    assert_is_phantom(volume)
    assert (report.facts["n_files"], report.facts["n_slices"]) == (1, 28)


def test_enhanced_file_with_varying_rescale_is_rejected(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "enhanced.dcm", [-1024.0, *[-1000.0] * 27])
    with pytest.raises(IntakeError, match="frames of a multi-frame file have different rescale values"):
        read_ct(tmp_path / "enhanced.dcm")
