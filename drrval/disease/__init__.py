"""Pneumonia of exactly known extent, put into any chest CT that has lung masks."""

from drrval.disease.insert import Inserted, insert_disease
from drrval.disease.lesion import KINDS, Kind, Lesion
from drrval.disease.patterns import PATTERNS, Pattern, draw_lesions
from drrval.disease.spread import fit_extent
from drrval.disease.truth import disease_truth

__all__ = [
    "KINDS",
    "PATTERNS",
    "Inserted",
    "Kind",
    "Lesion",
    "Pattern",
    "disease_truth",
    "draw_lesions",
    "fit_extent",
    "insert_disease",
]
