"""The table of labelled chest CTs that the CT networks train on.

A CSV file with one row per scan; paths are relative to the file::

    patient,path,lungs,lesions,split
    normal001,a/ct.nii.gz,a/lungs_labels.nii.gz,a/lesions_labels.nii.gz,train

``lungs``: 0 elsewhere, 1 right, 2 left lung, disease included; ``lesions``: 0 healthy, anything else diseased, or empty
where the scan has no map. A column ``slices`` may name a CSV file with a row per slice of the CT, columns
``index_head_to_feet`` (from 0) and ``infected`` (0 or 1), for scans of which no more is known.
All scans of one patient (of one real chest, whatever was put into it) share a split.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

COLUMNS = ("patient", "path", "lungs", "lesions", "split")
SPLITS = ("train", "validation", "test")

_OPTIONAL = ("lesions", "slices")
_PATHS = ("path", "lungs", *_OPTIONAL)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table; its paths become absolute, a missing ``lesions`` or ``slices`` the empty string.

    Returns:
        The columns ``COLUMNS`` and ``slices``.

    Raises:
        ValueError: a column is missing, a split is unknown, a patient is in two splits, or a file is not there.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"{path} lacks the column(s) {', '.join(missing)}. Expected: {', '.join(COLUMNS)}.")
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        raise ValueError(f"{path} names the split(s) {', '.join(unknown)}. Expected one of: {', '.join(SPLITS)}.")
    splits = table.groupby("patient")["split"].nunique()
    if (splits > 1).any():
        raise ValueError(
            f"{path} has patient {splits.idxmax()} in {splits.max()} splits, so what is learnt would be measured on "
            "itself. Put all scans of a patient into one."
        )
    if "slices" not in table:
        table["slices"] = ""
    for name in _PATHS:
        table[name] = [str((path.parent / value).resolve()) if value else "" for value in table[name]]
        absent = [value for value in table[name] if (value or name not in _OPTIONAL) and not Path(value).is_file()]
        if absent:
            raise ValueError(
                f"{path} lists {len(absent)} {name} file(s) that are not there, first {absent[0] or '(empty)'}."
            )
    return table[[*COLUMNS, "slices"]]


def list_cohort(folder: Path, *, prefix: str = "", validation: float = 0.1, test: float = 0.0) -> pd.DataFrame:
    """List the scans that ``drrval simulate`` wrote (``sub-*/ses-*/ct.nii.gz`` and its label maps).

    The split follows a hash of the patient's name, so it stays when scans are added.

    Args:
        folder: the output folder.
        prefix: put before the subject's label to name the patient. Give each cohort of procedural chests its own, and
            none to real chests, whose label stands for the same chest in every cohort.
        validation, test: shares of the patients, 0-1.

    Raises:
        ValueError: no scan is there.
    """
    rows = []
    for ct in sorted(folder.glob("sub-*/ses-*/ct.nii.gz")):
        patient = prefix + ct.parts[-3].removeprefix("sub-")
        lesions = ct.with_name("lesions_labels.nii.gz")
        rows.append(
            {
                "patient": patient,
                "path": str(ct),
                "lungs": str(ct.with_name("lungs_labels.nii.gz")),
                "lesions": str(lesions) if lesions.exists() else "",
                "split": _split(patient, validation, test),
            }
        )
    if not rows:
        raise ValueError(f"{folder} holds no sub-*/ses-*/ct.nii.gz. Name the output folder of `drrval simulate`.")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table with its paths relative to the file."""
    written = table.copy()
    for name in (name for name in _PATHS if name in table):
        written[name] = [os.path.relpath(value, path.parent) if value else "" for value in table[name]]
    written.to_csv(path, index=False)


def _split(patient: str, validation: float, test: float) -> str:
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4], "big") / 2**32
    if place < validation:
        return "validation"
    return "test" if place < validation + test else "train"
