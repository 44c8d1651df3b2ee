"""Decode DICOM pixels to Hounsfield units, and check that the rescale values which do that are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from drrval.intake.headers import SliceHeader
from drrval.intake.report import IntakeReport
from drrval.intake.series import name_files
from drrval.intake.values import looks_like_hu


def decode(slices: Sequence[SliceHeader], report: IntakeReport) -> npt.NDArray[np.float32]:
    """Decode the slices, in the given order, to rescaled values.

    Every file is read on its own: ITK's series reader keeps the pixel type of the first file, which cuts off
    the fractions of any later slice whose RescaleSlope is not a whole number. One after the other, because GDCM
    inside SimpleITK is not thread-safe and now and then crashes the process (SimpleITK issue 805).

    Returns:
        float32 ``[slice, row, column]``; Hounsfield units where the header states the rescale values.

    Raises:
        IntakeError: a file cannot be decoded (rule ``damaged_file``).
    """
    values = np.empty((len(slices), *slices[0].shape), np.float32)
    wanted: dict[Path, list[int]] = defaultdict(list)
    for index, header in enumerate(slices):
        wanted[header.path].append(index)

    def fill(path: Path) -> bool:
        frames = _read_frames(path)
        for index in wanted[path]:
            frame = slices[index].frame or 0
            if frames is None or frame >= len(frames) or frames[frame].shape != slices[index].shape:
                return False
            values[index] = frames[frame]
        return True

    damaged = [path for path in wanted if not fill(path)]
    if damaged:
        report.reject(
            "damaged_file",
            f"{name_files(damaged)} cannot be decoded (truncated, or not the image its header describes). "
            "Copy the file again from the archive.",
        )
    return values


def check_rescale(slices: Sequence[SliceHeader], values: npt.NDArray[np.float32], report: IntakeReport) -> None:
    """Reject slices without rescale values, unless their pixels are plainly Hounsfield units already.

    Plainly means: negative values, with both air (below -800) and soft tissue (-200 to 200) present.
    """
    if any(s.slope == 0 for s in slices):
        report.reject("rescale", "RescaleSlope is 0, which wipes out the image. Export the series again.")
    if len({(s.slope, s.intercept) for s in slices if s.frame is not None}) > 1:
        report.reject(
            "rescale",
            "the frames of a multi-frame file have different rescale values. Export single-frame slices.",
        )
    missing = [k for k, s in enumerate(slices) if s.slope is None or s.intercept is None]
    if not missing:
        return
    what = f"{len(missing)} of {len(slices)} slices state no RescaleSlope or RescaleIntercept"
    if not looks_like_hu(values[missing]):
        low, high = float(values[missing].min()), float(values[missing].max())
        report.reject(
            "rescale",
            f"{what}, and their values ({low:g} to {high:g}) are not Hounsfield units as they stand. "
            "Export the original CT series, or write both values into the headers.",
        )
    report.add("rescale", "accepted", f"{what}; their values show air and soft tissue at the right places in HU")


def padding_hu(slices: Sequence[SliceHeader]) -> float | None:
    """PixelPaddingValue after rescaling, HU; None where absent or not the same in all slices."""
    found = {
        None if s.padding is None else s.padding * (1.0 if s.slope is None else s.slope) + (s.intercept or 0.0)
        for s in slices
    }
    return found.pop() if len(found) == 1 else None


def _read_frames(path: Path) -> npt.NDArray[np.generic] | None:
    """Rescaled frames ``[frame, row, column]`` of one file, or None if it cannot be decoded."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError:
        return None
    frames: npt.NDArray[np.generic] = sitk.GetArrayFromImage(image)
    return frames if frames.ndim == 3 else frames.reshape(-1, *frames.shape[-2:])
