"""The files of one virtual scan: its CT as any tool reads it, and its label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from drrval.simulation.dicom import SeriesLabels, write_series
from drrval.simulation.scan import VirtualScan
from drrval.study.store import write_volume
from drrval.volume import CTVolume

Format = Literal["nifti", "dicom"]
FORMATS: tuple[Format, ...] = get_args(Format)


def write_ct(path: Path, ct: CTVolume) -> None:
    """Write a CT as int16 Hounsfield units in one file (NIfTI, NRRD, MHA by suffix)."""
    write_volume(path, np.rint(ct.hu).astype(np.int16), ct.grid)


def write_scan(folder: Path, scan: VirtualScan, file_format: Format, labels: SeriesLabels) -> str:
    """Write the CT (``ct.nii.gz``, or a series in ``ct/``) and ``*_labels.nii.gz`` of lungs, lesions, lobes, organs.

    Returns:
        Name of the CT below ``folder``.
    """
    if file_format == "dicom":
        name = "ct"
        write_series(folder / name, scan.volume, labels)
    else:
        name = "ct.nii.gz"
        write_ct(folder / name, scan.volume)
    for what in ("lungs", "lesions", "lobes", "organs"):
        if (values := getattr(scan, what)) is not None:
            write_volume(folder / f"{what}_labels.nii.gz", values, scan.volume.grid)
    return name
