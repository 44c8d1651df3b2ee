"""What can be trained: which settings describe the run, which function trains, and who takes the weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of training.

    Attributes:
        module: where the two following are.
        settings: name of the dataclass that describes a run.
        function: name of the function ``(run, folder, report) -> neural.training.Trained``.
        use: how the weights are taken, with ``{name}`` and ``{folder}`` for theirs.
    """

    module: str
    settings: str
    function: str
    use: str

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
    ),
    "cxr-lsnet": Kind(
        "cxr_models.training.runs",
        "LungRun",
        "run_lungs",
        "by dlnet-light and dlnet for their lung fields, with options: {{folder: {folder}}}",
    ),
    "ct-lungs": Kind(
        "ct_models.training.runs",
        "LungRun",
        "run_lungs",
        "in Python: ct_models.neural_lungs.NeuralLungSegmenter(folder={folder!r})",
    ),
    "ct-slices": Kind(
        "ct_models.training.runs",
        "SliceRun",
        "run_slices",
        "in a study, under scorers.ct: {{use: corona, options: {{folder: {folder}}}}}",
    ),
}
