"""Find the scans under a folder, and fingerprint them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from drrval.errors import IntakeError
from drrval.intake.headers import is_dicom_image, visible_files
from drrval.intake.volume_file import SUFFIXES, volume_suffix

_MASK_NAME = re.compile(r"(^|[_-])(lungs?|masks?|seg|labels?)$", re.IGNORECASE)
_DATA_FILE_LINE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


def find_scans(root: str | os.PathLike[str]) -> list[Path]:
    """List every scan at or under ``root``, sorted by path.

    A scan is a folder that directly holds at least one DICOM image, or a volume file (.nii, .nii.gz, .nrrd,
    .nhdr, .mha, .mhd) that is not named as a mask (:func:`is_mask_name`). Hidden files and folders, and links to
    folders, are passed over. A file given as ``root`` is returned as it is.

    Raises:
        IntakeError: ``root`` does not exist.
    """
    top = _existing(root)
    if top.is_file():
        return [top]
    scans: list[Path] = []
    for folder_name, subfolders, _ in os.walk(top):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        folder = Path(folder_name)
        files = visible_files(folder)
        scans.extend(f for f in files if volume_suffix(f) and not is_mask_name(f))
        if any(is_dicom_image(f) for f in files if not volume_suffix(f)):
            scans.append(folder)
    return sorted(scans, key=lambda path: path.as_posix())


def is_mask_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file is named as a mask: the last word of its stem is lung(s), mask(s), seg or label(s).

    Words are parted by ``_`` or ``-``: ``scan1_lungs.nii.gz`` and ``mask.mha`` are masks, ``unmask.mha`` is not.
    """
    name = Path(path).name
    suffix = volume_suffix(Path(path)) or Path(path).suffix
    return bool(_MASK_NAME.search(name[: len(name) - len(suffix)]))


def scan_files(path: str | os.PathLike[str]) -> list[Path]:
    """Files that make up a scan: those directly in a folder, or the file and the data file its header names.

    Raises:
        IntakeError: ``path`` does not exist.
    """
    scan = _existing(path)
    if scan.is_dir():
        return visible_files(scan)
    files = {scan}
    if volume_suffix(scan) in (".mhd", ".nhdr"):
        with scan.open("rb") as stream:
            named = _DATA_FILE_LINE.findall(stream.read(65536))
        files.update(f for f in (scan.parent / os.fsdecode(name) for name in named) if f.is_file())
    return sorted(files)


def input_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 (hex) over the names, relative to the scan, and contents of its files (:func:`scan_files`).

    Raises:
        IntakeError: ``path`` does not exist.
    """
    digest = hashlib.sha256()
    for file in scan_files(path):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        # A NUL cannot be part of a file name, so no two sets of files run together to the same bytes.
        digest.update(os.fsencode(file.name) + b"\0" + content)
    return digest.hexdigest()


def unknown_format_message(path: Path) -> str:
    """What to tell a user whose file is of no known kind."""
    return (
        f"the file name ends in {path.suffix or 'nothing known'!r} and the content is not DICOM. "
        f"Expected a folder of DICOM slices, a DICOM file, or one of: {', '.join(SUFFIXES)}."
    )


def _existing(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    if not found.exists():
        raise IntakeError(f"{found} does not exist. Check the path.")
    return found
