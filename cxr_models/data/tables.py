"""The development data's tables in one form: one row per frontal radiograph of an adult.

Columns: ``image`` (path), ``source``, ``patient``, ``split``, ``age`` (years, NaN if unknown), ``view``, ``label``
(1 pneumonia, 0 none, NaN unknown), ``label_weight`` (0-1, how far to trust it), ``lung_mask`` (path or "") and
``lung_convention`` (``heart-out``, ``heart-in`` or "").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cxr_models.data.split import split_of

#: The paper leaves children out (its section III-B); 18 is an adult.
_ADULT_YEARS = 18

#: Trust in "No Finding", which a text search made from a report (Wang et al. 2017, 10.1109/CVPR.2017.369), against a
#: label that radiologists made looking at the image: of the development images with both, 2 of 35 show an opacity.
_NO_FINDING_WEIGHT = 0.8

#: The findings that NIH ChestX-ray14 labels (Wang et al. 2017, and its later release with 14 of them).
NIH_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)

_RSNA_LABEL = {"Lung Opacity": 1.0, "No Lung Opacity / Not Normal": 0.0, "Normal": 0.0}
_COLUMNS = [
    "image",
    "source",
    "patient",
    "split",
    "age",
    "view",
    "label",
    "label_weight",
    "lung_mask",
    "lung_convention",
]


def read_nih(folder: Path) -> pd.DataFrame:
    """NIH ChestX-ray14: the RSNA class where there is one, otherwise what the NIH findings tell.

    Without an RSNA class, ``No Finding`` is 0 and the rest unknown: of the development images with both labels, 43 % of
    those with ``Pneumonia`` show an opacity to RSNA's radiologists, hardly more than the 35 % of all. Extra columns:
    ``rsna_class`` keeps the RSNA class ("" where there is none), ``findings`` the NIH findings, separated by ``|``.

    Args:
        folder: holds ``nih.csv`` and ``nih/``.
    """
    raw = pd.read_csv(folder / "nih.csv", dtype={"patient": str})
    text = raw["Finding Labels"].map({"No Finding": 0.0})
    rsna = raw["rsna_class"].map(_RSNA_LABEL)
    table = pd.DataFrame(
        {
            "image": [str(folder / "nih" / file) for file in raw["file"]],
            "source": "nih",
            "patient": raw["patient"],
            "age": raw["Patient Age"].astype(float),
            "view": raw["View Position"],
            "label": rsna.fillna(text),
            "label_weight": np.where(rsna.notna(), 1.0, _NO_FINDING_WEIGHT),
            "lung_mask": "",
            "lung_convention": "",
            "rsna_class": raw["rsna_class"].fillna(""),
            "findings": raw["Finding Labels"],
        }
    )
    return _finish(table)


def read_nih_boxes(folder: Path) -> pd.DataFrame:
    """RSNA boxes: ``image`` and ``x, y, width, height`` as shares of the image's width and height (0-1)."""
    raw = pd.read_csv(folder / "nih_rsna_boxes_1024px.csv")
    boxes = raw[["x", "y", "width", "height"]] / 1024.0
    boxes.insert(0, "image", [str(folder / "nih" / file) for file in raw["file"]])
    return boxes


def read_covid(folder: Path) -> pd.DataFrame:
    """covid-chestxray-dataset: every finding but ``No Finding`` is pneumonia; lung masks with the heart (v7labs).

    Extra columns ``ggo``, ``consolidation``, ``right_lung`` and ``left_lung`` hold the paths of the radiologists' masks
    ("" where there is none).

    Args:
        folder: holds ``covid.csv`` and ``covid/``.
    """
    raw = pd.read_csv(folder / "covid.csv", dtype={"patient": str})
    masked = raw["lung_mask"].notna()
    table = pd.DataFrame(
        {
            "image": [str(folder / "covid" / file) for file in raw["file"]],
            "source": "covid",
            "patient": raw["patient"],
            "age": raw["age"],
            "view": raw["view"].replace("AP Supine", "AP"),
            "label": (raw["finding"] != "No Finding").astype(float),
            "label_weight": 1.0,
            "lung_mask": _paths(folder / "covid" / "lung_masks", raw["lung_mask"]),
            "lung_convention": np.where(masked, "heart-in", ""),
        }
    )
    for column in ("ggo", "consolidation", "right_lung", "left_lung"):
        table[column] = _paths(folder / "covid" / "lesion_masks", raw[column])
    return _finish(table)


def read_openist(folder: Path) -> pd.DataFrame:
    """OpenIST: normal radiographs with lung masks without the heart; ages and patients are not given, one image each.

    Args:
        folder: holds ``openist.csv`` and ``openist/``.
    """
    raw = pd.read_csv(folder / "openist.csv")
    table = pd.DataFrame(
        {
            "image": [str(folder / "openist" / file) for file in raw["file"]],
            "source": "openist",
            "patient": raw["file"],
            "age": np.nan,
            "view": "PA",
            "label": 0.0,
            "label_weight": 1.0,
            "lung_mask": _paths(folder / "openist" / "lung_masks", raw["lung_mask"]),
            "lung_convention": "heart-out",
        }
    )
    return _finish(table)


def read_figure1(folder: Path) -> pd.DataFrame:
    """Figure 1 COVID-19 initiative: COVID-19 and pneumonia 1, no finding 0, an empty finding unknown.

    Args:
        folder: holds ``figure1.csv`` and ``figure1/``.
    """
    raw = pd.read_csv(folder / "figure1.csv")
    table = pd.DataFrame(
        {
            "image": [str(folder / "figure1" / f"{name}.jpg") for name in raw["patientid"]],
            "source": "figure1",
            "patient": raw["patientid"].str.extract(r"(COVID-\d+)", expand=False),
            "age": pd.to_numeric(raw["age"].astype(str).str.extract(r"(\d+)", expand=False)),
            "view": raw["view"].fillna("").str.slice(0, 2),
            "label": raw["finding"].map({"COVID-19": 1.0, "Pneumonia": 1.0, "No finding": 0.0}),
            "label_weight": 1.0,
            "lung_mask": "",
            "lung_convention": "",
        }
    )
    return _finish(table)


def _finish(table: pd.DataFrame) -> pd.DataFrame:
    """Adults only where the age is known, and the split of each patient."""
    adult = table["age"].isna() | (table["age"] >= _ADULT_YEARS)
    table = table[adult].reset_index(drop=True)
    table["split"] = [split_of(s, p) for s, p in zip(table["source"], table["patient"], strict=True)]
    extra = [column for column in table.columns if column not in _COLUMNS]
    return table[_COLUMNS + extra]


def _paths(folder: Path, files: pd.Series) -> list[str]:
    return [str(folder / file) if isinstance(file, str) else "" for file in files]
