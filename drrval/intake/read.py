"""Read a CT: choose the reader, then run the shared rules in order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from drrval.errors import IntakeError
from drrval.intake import pixels, series, values
from drrval.intake.canonical import check_size, to_canonical
from drrval.intake.discover import unknown_format_message
from drrval.intake.headers import SliceHeader, is_dicom, read_headers, visible_files
from drrval.intake.padding import find_scanned
from drrval.intake.report import IntakeReport
from drrval.intake.stack import RawVolume, make_stack, sort_by_position, to_regular
from drrval.intake.volume_file import read_volume_file, volume_suffix
from drrval.volume import CTVolume

_Raw = tuple[RawVolume, float | None, Mapping[str, str]]


def read_ct(
    path: str | os.PathLike[str], *, series_uid: str | None = None, report: IntakeReport | None = None
) -> CTVolume:
    """Read a CT scan in Hounsfield units, in canonical axes.

    Args:
        path: folder of DICOM slices, a DICOM multi-frame file, or a NIfTI, NRRD or MetaImage file.
        series_uid: SeriesInstanceUID to take from a folder that holds several series.
        report: filled with findings and facts, if given.

    Returns:
        the volume: float32 HU ``[z, y, x]``, z to the head, y to the back, x to the patient's left; never
        resampled except where a repair says so.

    Raises:
        IntakeError: the scan cannot be used; names the path, the rule and the remedy.
    """
    scan = Path(path)
    report = report if report is not None else IntakeReport(path=str(scan))
    try:
        raw, padding, examination = _read_raw(scan, series_uid, report)
    except OSError as error:
        report.reject("unreadable", f"{error}. Check the file and its permissions.")
    values.replace_non_finite(raw.values, report)
    values.check_value_range(raw.values, report)
    hu, grid = to_canonical(raw, report)
    check_size(grid, report)
    scanned = find_scanned(hu, grid.spacing_mm, padding, report)
    report.facts.update(
        shape=list(grid.shape),
        spacing_mm=[round(s, 6) for s in grid.spacing_mm],
        hu_min=float(hu.min()),
        hu_max=float(hu.max()),
        scanned_fraction=round(float(scanned.mean()), 6),
    )
    return CTVolume(hu=hu, grid=grid, scanned=scanned, name=str(scan), examination=examination)


def check_ct(path: str | os.PathLike[str], *, series_uid: str | None = None) -> tuple[CTVolume | None, IntakeReport]:
    """Read a CT scan and report on it; a scan that is rejected gives None, not an exception.

    Args:
        path, series_uid: as :func:`read_ct`.

    Returns:
        the volume (None if rejected) and the intake report.
    """
    report = IntakeReport(path=str(path))
    try:
        return read_ct(path, series_uid=series_uid, report=report), report
    except IntakeError:
        return None, report


def find_slices(path: str | os.PathLike[str], *, series_uid: str | None = None) -> list[SliceHeader]:
    """Headers of the DICOM images that :func:`read_ct` makes its volume of, in order along their normal.

    Args:
        path, series_uid: as :func:`read_ct`.

    Returns:
        the headers; none for a volume file.

    Raises:
        IntakeError: as :func:`read_ct`, for a folder or file whose headers cannot be used.
    """
    scan = Path(path)
    if volume_suffix(scan) and not scan.is_dir():
        return []
    files = visible_files(scan) if scan.is_dir() else [scan]
    return sort_by_position(_choose_images(files, series_uid, IntakeReport(path=str(scan))).slices)


def _read_raw(path: Path, series_uid: str | None, report: IntakeReport) -> _Raw:
    """Read in storage order; also the padding value in HU, if a header states one, and the examination."""
    if not path.exists():
        report.reject("path", "there is no such file or folder. Check the path.")
    if path.is_dir():
        return _read_dicom(visible_files(path), series_uid, report)
    if volume_suffix(path):
        if series_uid is not None:
            report.reject("series_uid", "a volume file holds no series. Leave series_uid out.")
        return read_volume_file(path, report), None, {}
    if is_dicom(path):
        return _read_dicom([path], series_uid, report)
    report.reject("format", unknown_format_message(path))


def _read_dicom(files: list[Path], series_uid: str | None, report: IntakeReport) -> _Raw:
    group = _choose_images(files, series_uid, report)
    first = group.first
    report.facts.update(first.facts, modality=first.modality, series_uid=first.series_uid, n_slices=len(group.slices))
    series.check_modality(group, report)
    series.note_orientation(group, report)
    slices = sort_by_position(group.slices)
    decoded = pixels.decode(slices, report)
    pixels.check_rescale(slices, decoded, report)
    raw = to_regular(make_stack(slices, decoded), first.facts["gantry_tilt_deg"], report)
    return raw, pixels.padding_hu(slices), first.examination


def _choose_images(files: list[Path], series_uid: str | None, report: IntakeReport) -> series.ImageGroup:
    """The images of the scan among all files of a folder."""
    headers = read_headers(files)
    if not headers.images and not headers.damaged:
        volumes = sum(volume_suffix(f) is not None for f in files)
        hint = f"It holds {volumes} volume file(s): name one of them." if volumes else "Name the folder of the slices."
        report.reject("empty", f"no DICOM image among {len(files)} file(s). {hint}")
    report.facts.update(format="DICOM", n_files=len(files))
    series.reject_damaged(headers, report)
    series.note_strays(headers, report)
    groups = series.group_images(series.drop_localizers(headers.images, report))
    return series.choose_group(groups, series_uid, report)
