"""How often an image of each kind is seen in an epoch.

The sources differ in size, in what they know, and in how they look. Seen as often as they come, the largest would
decide; and where nearly all images of a source are sick, its look would stand for disease.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True)
class Balance:
    """Times that an image of each kind is seen in an epoch; 0.5 shows another half of them in each.

    The defaults are those of the bundled weights' last round: about 2,000 images, a third of them RSNA's.

    Attributes:
        rsna: NIH images that RSNA's radiologists read.
        nih_negative: other NIH images without a finding by their report.
        nih_findings: other NIH images, whose pneumonia label is unknown; they serve the auxiliary findings only.
        covid_masked: COVID-19 images with radiologists' lesion masks.
        covid_positive, covid_negative: the other images of that collection.
        figure1, openist, synthetic: images of these sources.
    """

    rsna: float = 2.5
    nih_negative: float = 0.75
    nih_findings: float = 0.5
    covid_masked: float = 5.0
    covid_positive: float = 0.8
    covid_negative: float = 6.0
    figure1: float = 1.0
    openist: float = 0.75
    synthetic: float = 0.8


def repeats(table: pd.DataFrame, balance: Balance) -> npt.NDArray[np.float64]:
    """Times per epoch of each row of a table (:mod:`cxr_models.data.tables`)."""
    return np.array([asdict(balance)[_kind(row)] for row in table.to_dict("records")])


def _kind(row: dict[Any, Any]) -> str:
    source, label = row["source"], row["label"]
    if source == "nih":
        if row["rsna_class"]:
            return "rsna"
        return "nih_negative" if label == 0.0 else "nih_findings"
    if source == "covid":
        if row["ggo"] or row["consolidation"]:
            return "covid_masked"
        return "covid_positive" if label == 1.0 else "covid_negative"
    return str(source)
