"""A plain Python function as a radiograph scorer."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cxr_models.adapters.options import ModelOptions
from cxr_models.adapters.scorer import Array, ModelScorer


class CallableScorer(ModelScorer):
    """A function of one image.

    Args:
        function: takes float32 ``[row, col]`` (``[3, row, col]`` where ``channels`` is 3) and returns what ``output``
            names: a number, an array, or a tuple of them. Or ``module:function``, of a module beside the study file or
            installed.
        device: of the lung network, which a model with a map needs.
        **options: see :class:`cxr_models.adapters.options.ModelOptions`; ``value_range`` must be given.

    Raises:
        ValueError: the function cannot be found, or the options do not fit what it returns.
        TypeError: an option that does not exist, or one that is missing.

    Example, in a study file::

        - {use: "cxr_models.adapters:CallableScorer", name: mine,
           options: {function: "my_module:predict", value_range: [0, 1], size: 448, output: [probability, map]}}
    """

    def __init__(self, function: str | Callable[[Array], Any], *, device: str = "auto", **options: Any) -> None:
        self._function = _find(function) if isinstance(function, str) else function
        name = getattr(self._function, "__name__", "callable")
        super().__init__(name, self._call, ModelOptions(**options), device=device)

    def _call(self, images: Array) -> Sequence[Array]:
        image = images[0]
        outputs = self._function(image[0] if len(image) == 1 else image)
        return [np.asarray(o, np.float32) for o in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _find(name: str) -> Callable[[Array], Any]:
    module, _, attribute = name.partition(":")
    try:
        found: Callable[[Array], Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"function={name!r}: {error}. Give module:function of a module that imports.") from error
    if not callable(found):
        raise ValueError(f"function={name!r} is a {type(found).__name__}, which cannot be called.")
    return found
