"""Labelled radiographs that were computed from CT, as ``drrval synthesize`` writes them, as training data.

A set is a folder with ``dataset.json`` (which bit of a label image is which mask), ``images.csv`` (one row per image)
and the images. Every lesion is known pixel by pixel, and the lung fields leave the heart out.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from cxr_models.data.split import split_of

Mask = npt.NDArray[np.bool_]

#: A pneumonia ratio from which an image counts as positive, percent; images with less disease have no label.
_LEAST_RATIO_PERCENT = 2.0

_VIEWS = ("PA", "AP")


def read_synthetic(folder: Path) -> pd.DataFrame:
    """The frontal images of one set, in the form of :mod:`cxr_models.data.tables`.

    Extra columns: ``label_image`` (path), ``lesion_bits``, ``field_right_bits`` and ``field_left_bits`` (which bits of
    it are lesions and visible lung fields), ``inverted`` (True where bone is dark), ``ratio_percent`` (lesion shadow
    over visible lung fields) and ``ct_ratio_percent`` (lesion volume over lung volume of the CT). Patients are split by
    their anatomy (``subject``), because a set may put disease into the same CT several times.

    Args:
        folder: a finished set.

    Raises:
        FileNotFoundError: the folder holds no finished set.
    """
    bits = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["mask_bits"]
    raw = pd.read_csv(folder / "images.csv", dtype={"patient": str, "subject": str})
    raw = raw[raw["view"].isin(_VIEWS)].reset_index(drop=True)
    ratio = raw["ratio_percent"]
    label = np.where(ratio >= _LEAST_RATIO_PERCENT, 1.0, np.where(raw["ct_ratio_percent"] == 0.0, 0.0, np.nan))
    return pd.DataFrame(
        {
            "image": [str(folder / file) for file in raw["image"]],
            "source": "synthetic",
            "patient": raw["subject"],
            "split": [split_of("synthetic", subject) for subject in raw["subject"]],
            "age": np.nan,
            "view": raw["view"],
            "label": label,
            "label_weight": 1.0,
            "lung_mask": "",
            "lung_convention": "",
            "label_image": [str(folder / file) for file in raw["labels"]],
            "lesion_bits": (1 << bits["lesion_right"]) | (1 << bits["lesion_left"]),
            "field_right_bits": 1 << bits["lung_field_right"],
            "field_left_bits": 1 << bits["lung_field_left"],
            "inverted": raw["inverted"] == 1,
            "ratio_percent": ratio,
            "ct_ratio_percent": raw["ct_ratio_percent"],
        }
    )


def read_bits(path: Path, bits: int) -> Mask:
    """Where any of the given bits of a label image is set: bool ``[row, col]``."""
    with Image.open(path) as image:
        return (np.asarray(image, dtype=np.int64) & bits) > 0
