"""lungmask (Hofmanninger et al. 2020, 10.1186/s41747-020-00173-2) as a lung segmenter; needs that optional package."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ct_models.contract import LEFT, RIGHT
from ct_models.lungs import LungSegmentation, lung_flags
from ct_models.morphology import Spacing, Volume
from ct_models.opacity import OpacityScorer

_SIDES = (0, RIGHT, LEFT)  # of lungmask's labels 0, 1 right, 2 left
_LOBES = (0, LEFT, LEFT, RIGHT, RIGHT, RIGHT)  # left upper, lower; right upper, middle, lower
_FUSED = "LTRCLobes_R231"
_LABELS = {"R231": _SIDES, "R231CovidWeb": _SIDES, "LTRCLobes": _LOBES, _FUSED: _LOBES}


class LungMaskSegmenter:
    """A lung segmenter, ``(hu, spacing_mm) -> LungSegmentation``, that runs lungmask.

    lungmask reads an array slice by slice as a radiologist sees it: patient supine, right on the left, which is
    drrval's axis order, so nothing is flipped. It downloads weights that are not in PyTorch's cache.

    Args:
        model: ``R231`` (right and left; dense disease counts as lung), ``R231CovidWeb``, ``LTRCLobes``, or
            ``LTRCLobes_R231`` (both fused); lobes are joined to their lung.
        path: file with the model's weights, instead of a download; not for ``LTRCLobes_R231``.
        device: ``auto`` takes a GPU if there is one; ``cpu`` takes none.
        batch_size: slices at a time.

    Raises:
        ImportError: lungmask is not installed.
        ValueError: an unknown model or device.
    """

    def __init__(
        self, model: str = "R231", path: str | Path | None = None, device: str = "auto", batch_size: int = 8
    ) -> None:
        if model not in _LABELS:
            raise ValueError(f"No lungmask model is called {model!r}. Expected one of: {', '.join(_LABELS)}.")
        if device not in ("auto", "cpu"):
            raise ValueError(f"device={device!r}: lungmask takes a GPU if there is one (auto) or none (cpu).")
        if path is not None and model == _FUSED:
            raise ValueError(f"{model} has two weight files, and path={str(path)!r} is one. Leave out path.")
        base, _, fill = model.partition("_")
        given: dict[str, Any] = {"modelname": base, "fillmodel": fill or None}
        if path is not None:
            given["modelpath"] = str(path)
        self._inferer = _lungmask().LMInferer(
            **given, force_cpu=device == "cpu", batch_size=batch_size, tqdm_disable=True
        )
        self._side = np.array(_LABELS[model], np.uint8)

    def __call__(self, hu: Volume, spacing_mm: Spacing) -> LungSegmentation:
        """Segment the lungs of a CT ``[z, y, x]`` in Hounsfield units.

        Raises:
            ValueError: lungmask found no lung, or returned labels that its model does not have.
        """
        found: npt.NDArray[np.uint8] = self._inferer.apply(np.asarray(hu, np.float32))
        if found.shape != hu.shape or found.max(initial=0) >= len(self._side):
            raise ValueError(
                f"lungmask returned labels up to {found.max(initial=0)} of shape {found.shape} for a CT of shape "
                f"{hu.shape}, not 0-{len(self._side) - 1} on its voxels. Use lungmask 0.2.20 or later."
            )
        labels = self._side[found]
        if not labels.any():
            raise ValueError(
                "no lungs found by lungmask. Check that the volume is a chest CT in Hounsfield units with axes "
                "[z, y, x], y to the back."
            )
        return LungSegmentation(labels, lung_flags(labels, spacing_mm, separated=True))


def lungmask_opacity(
    model: str = "R231", path: str | None = None, device: str = "auto", **options: Any
) -> OpacityScorer:
    """The opacity scorer with lungmask's lungs, for a study: ``use: "ct_models.lungmask_adapter:lungmask_opacity"``.

    Args:
        model, path, device: see :class:`LungMaskSegmenter`.
        **options: see :class:`ct_models.opacity.OpacityScorer`.

    Raises:
        ImportError: lungmask is not installed.
        ValueError: an option outside its range.
    """
    return OpacityScorer(segment=LungMaskSegmenter(model, path, device), **options)


def _lungmask() -> Any:
    try:
        with warnings.catch_warnings():  # the package silences warnings for the whole process when it is imported
            return importlib.import_module("lungmask")
    except ImportError as error:
        raise ImportError("This segmenter needs lungmask, which is not installed: pip install lungmask.") from error
