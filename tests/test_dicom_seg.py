"""DICOM segmentations lie where the labels lie, whatever way the series was stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom_factory as factory
import highdicom
import numpy as np
import pydicom
import pytest
from test_intake_multiframe import write_enhanced

from drrval.ct_scoring.dicom_seg import SEGMENTS, Algorithm, write_segmentation
from drrval.ct_scoring.source import images_by_slice, labels_on, source_images, volume_file_grid
from drrval.errors import IntakeError
from drrval.intake import read_ct
from drrval.study.store import write_volume
from drrval.volume import CTVolume, Grid

FRAME_OF_REFERENCE = {"FrameOfReferenceUID": "1.2.3.5", "StudyTime": "120000", "StudyID": "1"}
ALGORITHM = Algorithm("corona", "9.8.7", "a package", network=True, weights_sha256={"slices": "abc"})
PRONE = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def turned(orientation: np.ndarray, pixel_mm: tuple[float, float] = factory.PIXEL) -> Callable[[Path], None]:
    """Writes a stack of 40 slices of 44 x 44 pixels around the origin, in another orientation."""

    def write(folder: Path) -> None:
        shape = (44, 44)
        normal = np.cross(*orientation)
        corner = -sum((n - 1) / 2 * step * axis for n, step, axis in zip(shape, pixel_mm, orientation, strict=True))
        places = np.array([corner + (k - 19.5) * 5.0 * normal for k in range(40)])
        factory.write_series(folder, places, orientation=orientation, shape=shape, **FRAME_OF_REFERENCE)

    return write


def tilted(folder: Path) -> None:
    """A gantry tilt: each slice lies 1.5 mm further to the back than the one below."""
    places = factory.axial_positions()
    places[:, 1] += 1.5 * np.arange(len(places))
    factory.write_series(folder, places, **FRAME_OF_REFERENCE)


def oblique() -> np.ndarray:
    angle = np.deg2rad(8.0)
    return np.array([[np.cos(angle), np.sin(angle), 0.0], [-np.sin(angle), np.cos(angle), 0.0]])


SERIES: dict[str, Callable[[Path], Any]] = {
    "feet first": lambda folder: factory.write_series(folder, **FRAME_OF_REFERENCE),
    "shuffled": lambda folder: factory.write_series(
        folder, order=np.random.default_rng(0).permutation(28).tolist(), **FRAME_OF_REFERENCE
    ),
    "prone": turned(PRONE),
    "head to the left of the image": turned(factory.CORONAL),
    "sagittal": turned(factory.SAGITTAL),
    "oblique": turned(oblique()),
    "missing slice": lambda folder: factory.write_series(folder, skip=[12], **FRAME_OF_REFERENCE),
    "tilted": tilted,
}


def labels_of(ct: CTVolume) -> np.ndarray:
    """Right and left lung of the phantom, with a lesion in one corner of each: no two axes look alike."""
    lungs = np.where(ct.hu < -845, 1, 2) * (ct.hu < -800) * (ct.hu > -900)
    index = np.stack(np.indices(ct.grid.shape), axis=-1)
    x, y, z = np.moveaxis(ct.grid.index_to_world(index), -1, 0)
    lesion = (lungs > 0) & (z > 10) & (y < 5) & (np.abs(x) > 40)
    return (lungs + np.where(lesion, 2, 0)).astype(np.uint8)


def segment_points(path: Path) -> dict[int, np.ndarray]:
    """LPS mm of the pixels of each segment, by the functional groups of each frame, read without highdicom."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    across, down = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    down_mm, across_mm = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    points: dict[int, list[np.ndarray]] = {}
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        rows, columns = np.nonzero(frame)
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        segment = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        where = corner + columns[:, None] * across_mm * across + rows[:, None] * down_mm * down
        points.setdefault(segment, []).append(where)
    return {segment: np.concatenate(found) for segment, found in points.items()}


def written(tmp_path: Path, name: str) -> tuple[CTVolume, np.ndarray, Path]:
    SERIES[name](tmp_path / "series")
    ct = read_ct(tmp_path / "series")
    labels = labels_of(ct)
    path = tmp_path / "seg.dcm"
    write_segmentation(path, source_images(tmp_path / "series"), labels, ct.grid, ALGORITHM)
    return ct, labels, path


@pytest.mark.parametrize("name", SERIES)
def test_segments_lie_where_the_label_map_lies(tmp_path: Path, name: str) -> None:
    ct, labels, path = written(tmp_path, name)
    write_volume(tmp_path / "labels.nii.gz", labels, ct.grid)
    grid = volume_file_grid(tmp_path / "labels.nii.gz")
    points = segment_points(path)
    assert sorted(points) == [1, 2, 3]
    for segment, codes in ((1, (1, 3)), (2, (2, 4)), (3, (3, 4))):
        expected = np.isin(labels, codes)
        index = grid.world_to_index(points[segment])
        inside = expected[tuple(np.rint(index).astype(int).T)]
        # A tilted series is resampled within its slices, so labels move by up to half a pixel.
        assert inside.mean() > (0.97 if name == "tilted" else 1 - 1e-9)
        filled = {"missing slice": expected[12].sum()}.get(name, 0)
        assert len(points[segment]) == pytest.approx(expected.sum() - filled, rel=0.03 if name == "tilted" else 0)


def test_frames_are_those_of_the_source_images(tmp_path: Path) -> None:
    ct, labels, path = written(tmp_path, "shuffled")
    segmentation = highdicom.seg.segread(path)
    images = images_by_slice(source_images(tmp_path / "series"), ct.grid)
    uids = [images[z].dataset.SOPInstanceUID for z in range(ct.grid.shape[0])]
    found = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for segment, codes in ((0, (1, 3)), (1, (2, 4)), (2, (3, 4))):
        assert (found[..., segment].astype(bool) == np.isin(labels, codes)).all()


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    _, _, path = written(tmp_path, "feet first")
    dataset = pydicom.dcmread(path)
    assert dataset.SegmentationType == "BINARY"
    assert dataset.StudyInstanceUID == "1.2.3"
    assert dataset.PatientID == "P1"
    assert [segment.SegmentLabel for segment in dataset.SegmentSequence] == list(SEGMENTS)
    right, left, lesion = dataset.SegmentSequence
    for segment, code, modifier in ((right, "39607008", "24028007"), (left, "39607008", "7771000")):
        what = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (what.CodeValue, what.CodingSchemeDesignator) == (code, "SCT")
        assert what.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == modifier
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
    assert lesion.AnatomicRegionSequence[0].CodeValue == "39607008"
    for segment in dataset.SegmentSequence:
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("corona", "9.8.7")
        assert algorithm.AlgorithmParameters == "slices=abc"
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"


def test_uids_follow_from_the_content(tmp_path: Path) -> None:
    ct, labels, path = written(tmp_path, "feet first")
    images = source_images(tmp_path / "series")
    uids = [pydicom.dcmread(path).SOPInstanceUID]
    for changed in (labels, np.where(labels == 4, 2, labels).astype(np.uint8)):
        write_segmentation(path, images, changed, ct.grid, ALGORITHM)
        uids.append(pydicom.dcmread(path).SOPInstanceUID)
    assert uids[0] == uids[1] != uids[2]


def test_series_without_a_frame_of_reference(tmp_path: Path) -> None:
    factory.write_series(tmp_path / "series")
    ct = read_ct(tmp_path / "series")
    with pytest.raises(IntakeError, match=r"not allow a DICOM segmentation .*no Frame Of Reference UID.*Export"):
        write_segmentation(tmp_path / "s.dcm", source_images(tmp_path / "series"), labels_of(ct), ct.grid, ALGORITHM)


def test_copies_of_an_image_count_once(tmp_path: Path) -> None:
    paths = factory.write_series(tmp_path / "series", **FRAME_OF_REFERENCE)
    (tmp_path / "series" / "copy.dcm").write_bytes(paths[3].read_bytes())
    assert len(source_images(tmp_path / "series")) == factory.N_SLICES


def test_labels_in_a_file_of_other_axes(tmp_path: Path) -> None:
    """A volume stored from head to feet and from left to right gets its labels in that order."""
    labels = np.random.default_rng(0).integers(0, 5, (4, 5, 6)).astype(np.uint8)
    grid = Grid((4, 5, 6), (2.0, 3.0, 4.0), (-5.0, -6.0, -7.0))
    end = grid.index_to_world([3, 0, 5])
    flipped = Grid((4, 5, 6), (2.0, 3.0, 4.0), (end[0], end[1], end[2]), np.diag([-1.0, 1.0, -1.0]))
    [found] = labels_on(labels, grid, [flipped])
    assert (found == labels[::-1, :, ::-1]).all()


def test_frames_of_a_multi_frame_file(tmp_path: Path) -> None:
    """The frames lie in the file in another order than along the body."""
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, [-1024.0] * factory.N_SLICES)
    factory.edit(path, FrameOfReferenceUID="1.2.3.5")
    ct = read_ct(path)
    labels = labels_of(ct)
    images = source_images(path)
    write_segmentation(tmp_path / "seg.dcm", images, labels, ct.grid, ALGORITHM)
    for segment, codes in ((1, (1, 3)), (2, (2, 4)), (3, (3, 4))):
        points = segment_points(tmp_path / "seg.dcm")[segment]
        index = np.rint(ct.grid.world_to_index(points)).astype(int)
        assert np.isin(labels[tuple(index.T)], codes).all()
        assert len(points) == np.isin(labels, codes).sum()
    assert [image.header.frame for image in images] != list(range(factory.N_SLICES))
    assert sorted(images_by_slice(images, ct.grid)) == list(range(factory.N_SLICES))


def test_slices_of_a_sagittal_series_have_no_image(tmp_path: Path) -> None:
    SERIES["sagittal"](tmp_path / "series")
    ct = read_ct(tmp_path / "series")
    assert images_by_slice(source_images(tmp_path / "series"), ct.grid) == {}


def test_an_interpolated_slice_has_no_image(tmp_path: Path) -> None:
    SERIES["missing slice"](tmp_path / "series")
    ct = read_ct(tmp_path / "series")
    images = images_by_slice(source_images(tmp_path / "series"), ct.grid)
    assert sorted(set(range(ct.grid.shape[0])) - set(images)) == [12]
