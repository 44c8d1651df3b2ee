"""The files that a CT came from: where their voxels lie, and the labels on exactly those."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset

from drrval.intake import find_slices
from drrval.intake.headers import SliceHeader
from drrval.volume import Grid

Labels = npt.NDArray[np.uint8]

# Two images nearer than this along their normal are copies of one position, mm.
_SAME_POSITION_MM = 0.01


@dataclass(frozen=True)
class SourceImage:
    """One image of a DICOM series.

    Attributes:
        header: what intake read of it.
        dataset: all of its header, without pixels; the frames of a multi-frame file share one.
    """

    header: SliceHeader
    dataset: Dataset

    @property
    def grid(self) -> Grid:
        """Its pixels as a volume of one slice (1 mm thick, which only matters to software that asks)."""
        header = self.header
        assert header.orientation is not None  # intake takes no image without geometry
        assert header.position is not None
        assert header.pixel_mm is not None
        across, down = header.orientation
        direction = np.stack([across, down, np.cross(across, down)], axis=1)
        x, y, z = (float(v) for v in header.position)
        return Grid((1, *header.shape), (*header.pixel_mm, 1.0), (x, y, z), direction)


def source_images(path: Path, series_uid: str = "") -> list[SourceImage]:
    """The DICOM images of a scan in order along their normal, each position once; none for a volume file.

    Raises:
        IntakeError: the headers cannot be used.
    """
    headers = find_slices(path, series_uid=series_uid or None)
    images: list[SourceImage] = []
    datasets: dict[Path, Dataset] = {}
    last = -np.inf
    for header in headers:
        height = float(np.asarray(header.position) @ np.cross(*np.asarray(header.orientation)))
        if height - last < _SAME_POSITION_MM:
            continue
        last = height
        if header.path not in datasets:
            datasets[header.path] = _read_header(header.path)
        images.append(SourceImage(header, datasets[header.path]))
    return images


def volume_file_grid(path: Path) -> Grid:
    """Where the voxels of a volume file lie, in its own axes."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    n = reader.GetDimension()
    columns, rows, slices = reader.GetSize()[:3]
    x, y, z = reader.GetOrigin()[:3]
    dx, dy, dz = reader.GetSpacing()[:3]
    direction = np.reshape(reader.GetDirection(), (n, n))[:3, :3]
    return Grid((slices, rows, columns), (dx, dy, dz), (x, y, z), direction)


def labels_on(labels: Labels, grid: Grid, targets: Iterable[Grid]) -> Iterator[Labels]:
    """The labels at the voxels of other grids: at each voxel that of the nearest labelled one, 0 outside.

    Args:
        labels: ``[z, y, x]`` on ``grid``.
        grid: where they lie.
        targets: where they are wanted.

    Yields:
        uint8 of each target's shape.
    """
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction.ravel().tolist())
    stay = sitk.Transform(3, sitk.sitkIdentity)
    for target in targets:
        there = sitk.Resample(
            image,
            target.shape[::-1],
            stay,
            sitk.sitkNearestNeighbor,
            target.origin_mm,
            target.spacing_mm,
            target.direction.ravel().tolist(),
            0,
        )
        yield sitk.GetArrayFromImage(there)


def images_by_slice(images: Sequence[SourceImage], grid: Grid) -> dict[int, SourceImage]:
    """The image that each axial slice of a volume came from; none for slices that were interpolated, or not axial."""
    found: dict[int, SourceImage] = {}
    for image in images:
        flat = image.grid
        corners = grid.world_to_index(flat.index_to_world([[0, 0, 0], [0, *np.subtract(flat.shape[1:], 1)]]))
        heights = corners[:, 0]
        number = round(float(heights.mean()))
        if np.abs(heights - number).max() < 0.1:
            found[number] = image
    return found


def _read_header(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in elements that are only copied
        return pydicom.dcmread(path, stop_before_pixels=True)
