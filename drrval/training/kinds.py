"""What can be trained: which settings describe the run, which function trains, and who takes the weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of training.

    Attributes:
        module: where the two following are.
        settings: name of the dataclass that describes a run.
        function: name of the function ``(run, folder, report) -> neural.training.Trained``.
        use: how the weights are taken, with ``{name}`` and ``{folder}`` for theirs.
        tables: by key of the settings, the tables in the run's folder ``data`` that are read where the key has a value.
        made: keys of the settings whose path need not be there.
        prepared: folders below the run's that keep what was made of the data.
    """

    module: str
    settings: str
    function: str
    use: str
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    prepared: tuple[str, ...] = ()

    def load(self) -> tuple[type, Callable[..., Any]]:
        """Import the dataclass and the function (and with them PyTorch)."""
        module = importlib.import_module(self.module)
        return getattr(module, self.settings), getattr(module, self.function)


KINDS = {
    "cxr-dlnet": Kind(
        "cxr_models.training.runs",
        "DetectionRun",
        "run_detection",
        "in a study, under scorers.cxr: {{use: {name}, options: {{folder: {folder}}}}}",
        tables={"data": ("nih.csv", "nih_rsna_boxes_1024px.csv", "covid.csv", "openist.csv", "figure1.csv")},
        prepared=("lung_masks",),
    ),
    "cxr-lsnet": Kind(
        "cxr_models.training.runs",
        "LungRun",
        "run_lungs",
        "by dlnet-light and dlnet for their lung fields, with options: {{folder: {folder}}}",
        tables={"data": ("openist.csv", "covid.csv"), "teacher": ("nih.csv",)},
        prepared=("lung_masks", "heart_out"),
    ),
    "ct-lungs": Kind(
        "ct_models.training.runs",
        "LungRun",
        "run_lungs",
        "in Python: ct_models.neural_lungs.NeuralLungSegmenter(folder={folder!r})",
        made=("cache",),
    ),
    "ct-slices": Kind(
        "ct_models.training.runs",
        "SliceRun",
        "run_slices",
        "in a study, under scorers.ct: {{use: corona, options: {{folder: {folder}}}}}",
        made=("cache",),
    ),
}
