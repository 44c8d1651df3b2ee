"""The one bridge between drrval and the scorer packages: finding scorers, converting input, checking output."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from skimage.transform import resize

from ct_models.contract import LEFT, RIGHT, CTInput, CTScore, CTScorer
from cxr_models.contract import CXRInput, CXRScore, CXRScorer, ProjectedAnatomy, UnsuitableImageError
from drrval.errors import DrrvalError, ScorerError
from drrval.projection import project_labels
from drrval.radiograph import Radiograph
from drrval.study.config import ScorerSpec
from drrval.volume import CTVolume, Grid

_GROUPS = {"ct": "drrval.ct_models", "cxr": "drrval.cxr_models"}
_LESION_OFFSET = 2  # of label_map()


class RejectedImageError(ScorerError):
    """A scorer says of an image that it is no readable frontal chest radiograph."""


@runtime_checkable
class ReadingScorer(Protocol):
    """A radiograph scorer that also shows what its networks say before thresholds are applied.

    Attributes:
        name: what to call it.
        localisation_threshold: where a pixel of the localisation map counts as diseased, 0-1.
    """

    name: str
    localisation_threshold: float

    def read(self, radiograph: CXRInput) -> Any:
        """Give ``localisation`` (float32 ``[row, col]``, 0-1) and ``lungs.right``, ``lungs.left`` (bool)."""
        ...


def load_ct_scorer(spec: ScorerSpec) -> CTScorer:
    """Make the CT scorer that a study names.

    Raises:
        ScorerError: unknown name, failing import or constructor, or an object that is no CT scorer.
    """
    scorer = _make(spec, "ct")
    if not isinstance(scorer, CTScorer):
        raise ScorerError(f"CT scorer {spec.use!r} gave a {type(scorer).__name__} without name and score(CTInput).")
    return scorer


def load_cxr_scorer(spec: ScorerSpec) -> CXRScorer:
    """Make the radiograph scorer that a study names.

    Raises:
        ScorerError: unknown name, failing import or constructor, or an object that is no CXR scorer.
    """
    scorer = _make(spec, "cxr")
    if not isinstance(scorer, CXRScorer):
        raise ScorerError(
            f"CXR scorer {spec.use!r} gave a {type(scorer).__name__} without name, contract and score(CXRInput)."
        )
    return scorer


def scorer_source(spec: ScorerSpec, kind: str) -> Path:
    """Where a scorer's code lies, for the resume key: the folder of its top-level package, or its module file.

    Raises:
        ScorerError: the scorer cannot be loaded, or comes from no file.
    """
    factory = _factory(spec, kind)
    name = getattr(factory, "__module__", None) or type(factory).__module__
    for module in (importlib.import_module(name.partition(".")[0]), importlib.import_module(name)):
        if module.__file__ is not None:
            path = Path(module.__file__)
            return path.parent if path.stem == "__init__" else path
    raise ScorerError(f"Scorer {spec.use!r} comes from {name!r}, which has no file. Put it in a module file.")


def score_ct(scorer: CTScorer, ct: CTVolume) -> CTScore:
    """Score a CT and check the result against the contract.

    Raises:
        ScorerError: the scorer failed or returned something outside its contract.
    """
    sx, sy, sz = ct.grid.spacing_mm
    score = _guarded(f"CT scorer {scorer.name!r} on {ct.name}", lambda: scorer.score(CTInput(ct.hu, (sz, sy, sx))))
    where = f"CT scorer {scorer.name!r} on {ct.name}"
    if not isinstance(score, CTScore):
        raise ScorerError(f"{where}: returned a {type(score).__name__}. It must return a ct_models.contract.CTScore.")
    if score.lungs.shape != ct.hu.shape or score.lesion.shape != ct.hu.shape:
        raise ScorerError(
            f"{where}: masks {score.lungs.shape}, {score.lesion.shape} differ from the CT's shape {ct.hu.shape}."
        )
    if score.lungs.dtype != np.uint8 or score.lungs.max(initial=0) > LEFT or score.lesion.dtype != np.bool_:
        raise ScorerError(
            f"{where}: lungs must be uint8 of 0, 1 (right), 2 (left) and the lesion mask bool; "
            f"got {score.lungs.dtype} up to {score.lungs.max(initial=0)}, and {score.lesion.dtype}."
        )
    if (score.lesion & (score.lungs == 0)).any():
        raise ScorerError(f"{where}: the lesion mask leaves the lungs. It must lie inside the lung mask.")
    _check_ranges(where, score, ("ratio_percent", "ratio_right_percent", "ratio_left_percent"), 100.0)
    _check_ranges(where, score, ("p_pneumonia",), 1.0)
    slices = score.slice_probability
    if slices is not None and (slices.shape != ct.hu.shape[:1] or not ((slices >= 0) & (slices <= 1)).all()):
        raise ScorerError(
            f"{where}: slice_probability must hold one probability (0-1) for each of the {ct.hu.shape[0]} slices; "
            f"got shape {slices.shape}."
        )
    return score


def label_map(score: CTScore) -> npt.NDArray[np.uint8]:
    """Lungs and lesions as one map, uint8 ``[z, y, x]``: 1, 2 healthy right and left lung; 3, 4 lesion in them."""
    return score.lungs + np.where(score.lesion, _LESION_OFFSET, 0).astype(np.uint8)


def project_anatomy(score: CTScore, grid: Grid, radiograph: Radiograph) -> ProjectedAnatomy:
    """Path length of each ray in lungs and lesions, with the geometry of a radiograph."""
    cm = project_labels(label_map(score), grid, radiograph.geometry, LEFT + _LESION_OFFSET)
    cm *= radiograph.field  # nothing is imaged outside the collimated field
    right, left, lesion_right, lesion_left = (
        cm[n - 1] for n in (RIGHT, LEFT, RIGHT + _LESION_OFFSET, LEFT + _LESION_OFFSET)
    )
    return ProjectedAnatomy(right + lesion_right, left + lesion_left, lesion_right, lesion_left)


def score_radiograph(scorer: CXRScorer, radiograph: Radiograph, projected: ProjectedAnatomy) -> CXRScore:
    """Convert a radiograph to a scorer's input contract, score it, and check the result.

    The image is the 8-bit displayed one, so that the PNG on disk is what the scorer saw.

    Raises:
        ScorerError: a view outside the contract, a scorer that failed, or a result outside the contract.
    """
    image, geometry = radiograph.image.astype(np.float32), radiograph.geometry
    given = cxr_input(scorer, image, geometry.pixel_mm, geometry.view, radiograph.source, projected)
    return score_cxr(scorer, given, radiograph.source, geometry.shape)


def cxr_input(
    scorer: CXRScorer,
    image: npt.NDArray[np.float32],
    pixel_mm: float,
    view: str,
    source: str,
    projected: ProjectedAnatomy | None = None,
) -> CXRInput:
    """Convert an image to a scorer's input contract.

    Args:
        scorer: whose contract it must keep.
        image: float32 ``[row, col]``, 0-255, bone bright, the patient's right on the left (PA, AP), head up.
        pixel_mm: pixel pitch, mm; NaN where it is not known.
        view: DICOM view position.
        source: what to call the image in messages.
        projected: projected CT masks, which only a rendered radiograph has.

    Raises:
        ScorerError: a view outside the contract, masks that it needs and that are not there, or a size that would
            stretch the image.
    """
    contract = scorer.contract
    where = _cxr_place(scorer, view, source)
    if view not in contract.views:
        raise ScorerError(f"{where}: the scorer accepts views {contract.views}. Leave this view or this scorer out.")
    if contract.needs_projection and projected is None:
        raise ScorerError(f"{where}: the scorer reads projected CT masks, and a plain image has none. Name another.")
    converted, pitch = _converted(image, pixel_mm, scorer)
    return CXRInput(converted, pitch, view, projected if contract.needs_projection else None)


def score_cxr(scorer: CXRScorer, given: CXRInput, source: str, shape: tuple[int, int]) -> CXRScore:
    """Score a radiograph that was brought to the scorer's contract, and check the result.

    Args:
        scorer, given: see :func:`cxr_input`.
        source: what to call the image in messages.
        shape: of the image before it was converted; masks may have this shape or the converted one.

    Raises:
        RejectedImageError: the scorer says that the image is no readable frontal chest radiograph.
        ScorerError: a scorer that failed, or a result outside the contract.
    """
    where = _cxr_place(scorer, given.view, source)
    score = _guarded(where, lambda: scorer.score(given))
    if not isinstance(score, CXRScore):
        raise ScorerError(f"{where}: returned a {type(score).__name__}. It must return a cxr_models.contract.CXRScore.")
    _check_ranges(where, score, ("ratio_percent", "ratio_right_percent", "ratio_left_percent"), 100.0)
    _check_ranges(where, score, ("p_pneumonia",), 1.0)
    _check_ranges(where, score, ("score", "severity"), 8.0)
    for mask in (score.lung_mask, score.lesion_mask):
        if mask is not None and (mask.dtype != np.bool_ or mask.shape not in (given.image.shape, shape)):
            raise ScorerError(
                f"{where}: a {mask.dtype} mask of shape {mask.shape} came back for an image of shape "
                f"{given.image.shape}. Masks must be bool (mask > 0 makes them so) and on the image's pixels."
            )
    if score.localisation is not None and score.localisation.shape not in (given.image.shape, shape):
        raise ScorerError(
            f"{where}: a localisation map of shape {score.localisation.shape} came back for an image of shape "
            f"{given.image.shape}."
        )
    return score


def read_cxr(scorer: ReadingScorer, given: CXRInput, source: str) -> Any:
    """What a scorer's networks say about a radiograph, before thresholds: see :class:`ReadingScorer`.

    Raises:
        ScorerError: the scorer failed, or its map or lungs are not on the pixels of the input.
    """
    where = _cxr_place(scorer, given.view, source)
    reading = _guarded(where, lambda: scorer.read(given))
    shapes = [maps.shape for maps in (reading.localisation, reading.lungs.right, reading.lungs.left)]
    if set(shapes) != {given.image.shape}:
        raise ScorerError(f"{where}: read() gave maps of shapes {shapes} for an image of shape {given.image.shape}.")
    return reading


def _cxr_place(scorer: CXRScorer | ReadingScorer, view: str, source: str) -> str:
    return f"CXR scorer {scorer.name!r} on the {view} view of {source}"


def _converted(
    image: npt.NDArray[np.float32], pixel_mm: float, scorer: CXRScorer
) -> tuple[npt.NDArray[np.float32], float]:
    contract = scorer.contract
    image = image / np.float32(255.0)
    if contract.polarity == "bone-dark":
        image = 1.0 - image
    if contract.size is not None and contract.size != image.shape:
        shrunk = [n / m for n, m in zip(image.shape, contract.size, strict=True)]
        if not np.isclose(*shrunk):
            raise ScorerError(
                f"Scorer {scorer.name!r} wants images of {contract.size} pixels, which would stretch the "
                f"{image.shape} radiograph. Its contract must keep the aspect ratio."
            )
        pixel_mm *= shrunk[0]
        image = resize(image, contract.size, order=1, anti_aliasing=True, preserve_range=True).astype(np.float32)
    low, high = contract.value_range
    return (low + (high - low) * image).astype(np.float32), pixel_mm


def _factory(spec: ScorerSpec, kind: str) -> Callable[..., Any]:
    if ":" in spec.use:
        module, attribute = spec.use.split(":", 1)
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ScorerError(
                f"Cannot load the scorer {spec.use!r}: {error}. "
                "Expected 'module:attribute' of a module beside the study file, or installed."
            ) from None
    found = {e.name: e for e in entry_points(group=_GROUPS[kind])}
    if spec.use not in found:
        raise ScorerError(
            f"Unknown {kind.upper()} scorer {spec.use!r}. Installed: {', '.join(sorted(found)) or 'none'}; "
            "or give 'module:attribute'. "
            f"Packages add scorers by an entry point in the group {_GROUPS[kind]!r}."
        )
    try:
        return found[spec.use].load()
    except (ImportError, AttributeError) as error:
        raise ScorerError(
            f"Cannot load the scorer {spec.use!r} ({found[spec.use].value}): {error}. "
            "Install the package that it comes from again, with what it needs."
        ) from None


def _make(spec: ScorerSpec, kind: str) -> Any:
    factory = _factory(spec, kind)
    try:
        return factory(**spec.options)
    except ImportError as error:  # names the package that the scorer needs
        raise ScorerError(f"Scorer {spec.use!r} cannot be made: {error}") from error
    except Exception as error:
        said = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        remedy = " Give a class (or a function that returns a scorer) that takes these options."
        raise ScorerError(
            f"Scorer {spec.use!r} cannot be made with options {spec.options}: {said.rstrip('.')}."
            f"{remedy if isinstance(error, TypeError) else ''}"
        ) from error


def _guarded(where: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except DrrvalError:
        raise
    except UnsuitableImageError as error:
        raise RejectedImageError(f"{where}: {error}") from error
    except Exception as error:
        raise ScorerError(f"{where}: {type(error).__name__}: {error}") from error


def _check_ranges(where: str, score: CTScore | CXRScore, fields: tuple[str, ...], top: float) -> None:
    for name in fields:
        value = float(getattr(score, name))
        if not (math.isnan(value) or 0.0 <= value <= top * (1 + 1e-6)):
            raise ScorerError(
                f"{where}: {name} is {value:g}, outside 0-{top:g}. The scorer must return values in this range or NaN."
            )
