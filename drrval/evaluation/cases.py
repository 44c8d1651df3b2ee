"""What all tables of an evaluation have in common once they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

RATIOS = ("ratio_percent", "ratio_right_percent", "ratio_left_percent")
"""Columns of the pneumonia ratio of both lungs, the right and the left."""


class NamedCase(Protocol):
    """An image or a scan of a table: its name there, its file, its (first) row and its patient."""

    @property
    def name(self) -> str:
        """As the table names it."""
        ...

    @property
    def path(self) -> Path:
        """Of the image or scan."""
        ...

    @property
    def line(self) -> int:
        """Row of the table."""
        ...

    @property
    def patient(self) -> str:
        """Of the image or scan."""
        ...


Case = TypeVar("Case", bound=NamedCase)


@dataclass(frozen=True)
class Cases(Generic[Case]):
    """The cases of a table.

    Attributes:
        items: in the order of the table.
        named_patients: whether the table names patients; if not, each image or scan is a patient of its own.
    """

    items: tuple[Case, ...]
    named_patients: bool
