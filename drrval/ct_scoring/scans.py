"""Which scans a command line means, and what to call them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drrval.errors import StudyError
from drrval.intake import find_scans
from drrval.intake.volume_file import SUFFIXES, volume_suffix


@dataclass(frozen=True)
class CTScan:
    """A CT to be scored.

    Attributes:
        path: folder of DICOM slices, or file.
        label: its name in tables, and its folder below the output folder; no two scans share one.
        series_uid: DICOM series to take where the folder holds several; empty: intake chooses.
    """

    path: Path
    label: str
    series_uid: str = ""


def plan_scans(paths: Iterable[Path], out: Path, series_uid: str = "") -> list[CTScan]:
    """The scans at or under ``paths``, each once, with labels.

    A folder without any scan beside others that hold some stands for itself, so that intake says what is wrong with
    it. Nothing under ``out`` is taken: the segmentations there are DICOM images too.

    Args:
        paths: DICOM folders, files, or folders of such scans.
        out: the output folder.
        series_uid: for all of them.

    Raises:
        StudyError: a path that does not exist, or nothing but folders without a scan.
    """
    results = out.resolve()
    scans = {path: _scans_at(path) for path in paths}
    if scans and not any(scans.values()):
        raise StudyError(
            f"No scan was found in {', '.join(map(str, scans))}: no DICOM image, and no volume file "
            f"({', '.join(SUFFIXES)}) that is not named as a mask. Name scans, or folders that hold some."
        )
    found: dict[Path, Path] = {}
    for path, held in scans.items():
        for scan in held or [path]:
            if not scan.resolve().is_relative_to(results):
                found.setdefault(scan.resolve(), scan)
    labels = label_paths([Path(os.path.abspath(path)) for path in found.values()])
    return [CTScan(path, label, series_uid) for path, label in zip(found.values(), labels, strict=True)]


def _scans_at(path: Path) -> list[Path]:
    if not path.exists():
        raise StudyError(f"{path} does not exist. Check the path.")
    return find_scans(path)


def label_paths(paths: Sequence[Path]) -> list[str]:
    """A short name for each path, made of its last parts: as few as tell it from the others.

    The suffix of a volume file is left out unless it alone makes the difference. All but letters, digits, ``.``, ``_``
    and ``-`` becomes ``-``.

    Args:
        paths: absolute, no two the same.
    """
    labels: dict[Path, str] = {}
    longest = max((len(path.parts) for path in paths), default=0)
    for whole in (False, True):
        for depth in range(1, longest):
            names = {path: _name(path, depth, whole) for path in paths if path not in labels}
            uses = Counter(names.values())
            taken = set(labels.values())
            labels.update((path, name) for path, name in names.items() if uses[name] == 1 and name not in taken)
    for path in paths:  # names that differ only in letters that a label cannot hold
        number = 1
        while path not in labels:
            number += 1
            name = f"{_name(path, 1, True)}-{number}"
            if name not in labels.values():
                labels[path] = name
    return [labels[path] for path in paths]


def _name(path: Path, depth: int, whole: bool) -> str:
    suffix = "" if whole else volume_suffix(path) or (".dcm" if path.suffix.lower() == ".dcm" else "")
    *parents, last = path.parts[1:][-depth:]
    name = "-".join([*parents, last[: len(last) - len(suffix)]])
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "scan"
