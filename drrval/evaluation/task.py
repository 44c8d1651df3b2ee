"""What a task of an evaluation is: how to read its table, score a case, and turn the predictions into numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from drrval.evaluation.cases import Cases
from drrval.stats.resampling import Interval, Resampling

Numbers = Mapping[str, Interval]
PredictionRow = dict[str, Any]


@dataclass(frozen=True)
class Threshold:
    """An operating point: a probability of at least ``value`` is a call; ``source`` says where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Scored:
    """Predictions of one scorer.

    Attributes:
        table: rows of ``predictions.csv``, at least one.
        label: what the scorer is called.
        threshold: its operating point, or None.
        how: how intervals are found.
    """

    table: pd.DataFrame
    label: str
    threshold: Threshold | None
    how: Resampling


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn when it is asked for; ``kind`` names its file."""

    kind: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Findings:
    """What a task says about one scorer.

    Attributes:
        numbers: by group, then name.
        details: JSON-ready tables beside the numbers, such as a confusion matrix.
        drawings: figures.
        notes: what to beware of.
    """

    numbers: Mapping[str, Numbers]
    details: Mapping[str, Any] = field(default_factory=dict)
    drawings: Sequence[Drawing] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Task:
    """A kind of evaluation.

    Attributes:
        name: as the command names it.
        summary: what is compared with what, in a line.
        modality: whose scorers it runs.
        unit: what a row of the predictions is: ``image``, ``scan`` or ``slice``.
        scorers: names of the scorers that run by default.
        read: the table's cases.
        open: what is read of a case's files, once for all scorers.
        measure: rows of the predictions of one scorer on one opened case.
        analyse: numbers and figures from the predictions of one scorer.
        threshold_attribute: where a scorer keeps its operating point, or empty.
    """

    name: str
    summary: str
    modality: Literal["cxr", "ct"]
    unit: str
    scorers: tuple[str, ...]
    read: Callable[[Path], Cases[Any]]
    open: Callable[[Any], Any]
    measure: Callable[[Any, Any], list[PredictionRow]]
    analyse: Callable[[Scored], Findings]
    threshold_attribute: str = ""
