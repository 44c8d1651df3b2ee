"""Masks and boxes from path lengths: whole lungs, visible lung fields, lesions, organs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from drrval.disease import KINDS, Kind
from drrval.synthesis.anatomy import CLAVICLES, HEART, RIBS, SCAPULAE, SIDES, SILHOUETTE
from drrval.synthesis.projections import Projections
from drrval.synthesis.settings import LabelSettings

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]

_ORGANS = (HEART, RIBS, CLAVICLES, SCAPULAE)
MASK_NAMES = (
    *(f"lung_{side}" for side in SIDES),
    *(f"lung_field_{side}" for side in SIDES),
    *(f"lesion_{side}" for side in SIDES),
    *KINDS,
    *_ORGANS,
)
_SMOOTH_MM = 4.0  # readers draw the borders of lung fields smoothly
_HILUM_MM = 12.0  # hilar vessels narrower than this belong to the lung field


@dataclass(frozen=True)
class Box:
    """A box around one lesion's shadow in the visible lung field (lateral views: in the lung), in pixels.

    Attributes:
        side: lung that the lesion lies in.
        kind: of most of its thickness.
        x, y: first column and row.
        mask: the shadow, bool ``[row, col]`` of the whole image.
    """

    side: str
    kind: str
    x: int
    y: int
    width: int
    height: int
    mask: Mask


@dataclass(frozen=True)
class Labels:
    """What is known of every pixel of a view.

    Attributes:
        masks: bool ``[row, col]`` by name (:data:`MASK_NAMES`). ``lung_*``: the whole lung's shadow; ``lung_field_*``:
            the part that a reader sees, without the shadows of mediastinum and heart and without what lies below the
            dome of the diaphragm, as in JSRT, Montgomery and OpenIST (frontal views; empty for lateral ones);
            ``lesion_*``: lesions of that lung; each kind of lesion; organs where the scan has labels for them.
        thickness_cm: path length in lesions, float32 ``[row, col]``.
        rise_g_cm2: area density that lesions add, float32 ``[row, col]``.
        boxes: one for each connected shadow of lesions that a reader sees.
    """

    masks: dict[str, Mask]
    thickness_cm: Image
    rise_g_cm2: Image
    boxes: tuple[Box, ...]


def label_view(projected: Projections, shown: Mask, settings: LabelSettings) -> Labels:
    """Labels of one view.

    Args:
        projected: its projections.
        shown: the part of the image that shows the patient (field and collimator), ``[row, col]``.
        settings: thresholds.
    """
    paths = {name: path * shown for name, path in projected.paths_cm.items()}
    none = np.zeros(projected.geometry.shape, np.float32)
    lesion = {(k, s): paths.get(f"{k}_{s}", none) for k in KINDS for s in SIDES}
    sick = {side: sum((lesion[kind, side] for kind in KINDS), none) for side in SIDES}
    lung = {side: paths.get(f"lung_{side}", none) + sick[side] for side in SIDES}
    masks = {f"lung_{side}": lung[side] >= settings.min_lung_cm for side in SIDES}
    if projected.geometry.view != "LL":
        masks |= visible_fields(lung, paths.get(SILHOUETTE, none), settings, projected.geometry.pixel_mm)
    for side in SIDES:
        masks[f"lesion_{side}"] = masks[f"lung_{side}"] & (sick[side] >= settings.min_lesion_cm)
    shadows = masks["lesion_right"] | masks["lesion_left"]
    for kind in KINDS:
        masks[kind] = shadows & (sum((lesion[kind, side] for side in SIDES), none) >= settings.min_lesion_cm)
    masks |= {name: paths[name] >= settings.min_organ_cm for name in _ORGANS if name in paths}
    boxes = [box for side in SIDES for box in _boxes(side, masks, lesion, settings, projected.geometry.pixel_mm)]
    every = {name: masks.get(name, np.zeros(shown.shape, bool)) for name in MASK_NAMES}
    return Labels(every, sick["right"] + sick["left"], projected.rise_g_cm2 * shown, tuple(boxes))


def visible_fields(
    lung_cm: dict[str, Image], hidden_cm: Image, settings: LabelSettings, pixel_mm: float
) -> dict[str, Mask]:
    """Lung fields as readers outline them: lung that mediastinum, heart and abdomen do not hide.

    Each is one connected region, its border smoothed by 4 mm; hilar vessels are part of it. Where the
    lungs overlap, a pixel belongs to the lung that is thicker there.

    Args:
        lung_cm: path length in each lung, ``[row, col]``, by ``right`` and ``left``.
        hidden_cm: path length in mediastinum, heart and abdomen.
        settings: thresholds.
        pixel_mm: pixel pitch, mm.
    """
    fields = {}
    sigma = _SMOOTH_MM / pixel_mm / 2.0
    for side, other in (("right", "left"), ("left", "right")):
        path = lung_cm[side]
        seen = (path >= settings.min_lung_cm) & (path > lung_cm[other] - (side == "right") * 1e-6)
        seen &= hidden_cm < settings.silhouette_cm
        closed = _closed(_largest(seen), _HILUM_MM / 2.0 / pixel_mm) & (path >= settings.min_lung_cm)
        smooth = ndimage.gaussian_filter(closed.astype(np.float32), sigma) > 0.5
        fields[f"lung_field_{side}"] = _largest(smooth) & (path >= settings.min_lung_cm)
    fields["lung_field_left"] &= ~fields["lung_field_right"]
    return fields


def _closed(mask: Mask, radius: float) -> Mask:
    """Closing with a disc, pixels; the image's edge closes nothing."""
    margin = int(radius) + 1
    padded = np.pad(mask, margin)
    grown = ndimage.distance_transform_edt(~padded) <= radius
    shrunk = ndimage.distance_transform_edt(grown) > radius
    return np.asarray(shrunk[margin:-margin, margin:-margin] | mask)


def _largest(mask: Mask) -> Mask:
    regions, count = ndimage.label(mask)
    return regions == 1 + int(np.argmax(np.bincount(regions.ravel())[1:])) if count else mask


def _boxes(
    side: str,
    masks: dict[str, Mask],
    lesion: dict[tuple[Kind, str], Image],
    settings: LabelSettings,
    pixel_mm: float,
) -> list[Box]:
    """One box for each shadow that is seen, where gaps up to ``box_merge_mm`` do not part them."""
    mask = masks[f"lesion_{side}"] & masks.get(f"lung_field_{side}", np.True_)
    reach = settings.box_merge_mm / 2.0 / pixel_mm
    near = ndimage.distance_transform_edt(~mask) <= reach if mask.any() else mask
    regions, count = ndimage.label(near, structure=np.ones((3, 3)))
    found = []
    for number in range(1, count + 1):
        shadow = mask & (regions == number)
        if shadow.sum() * pixel_mm**2 / 100.0 < settings.box_min_cm2:
            continue
        rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
        y, x = int(rows[0]), int(columns[0])
        kind = max(KINDS, key=lambda k: float(lesion[k, side][shadow].sum()))
        found.append(Box(side, kind, x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1, shadow))
    return found
