"""Train, validation and test by patient, from a rule and not a list, so that new images fall where they belong."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]

_TEST_PERCENT, _VALIDATION_PERCENT = 20, 15


def split_of(source: str, patient: str) -> Split:
    """Where a patient belongs: 65 % train, 15 % validation, 20 % development test.

    The rule hashes the patient, so every image of a patient is in one split, whatever the order or the number of rows.

    Args:
        source: data set, such as ``nih``; patients of two sources are different people.
        patient: the patient's identifier within the source.
    """
    digest = hashlib.sha256(f"{source}/{patient}".encode()).digest()
    place = int.from_bytes(digest[:4], "big") % 100
    if place < _TEST_PERCENT:
        return "test"
    return "validation" if place < _TEST_PERCENT + _VALIDATION_PERCENT else "train"
