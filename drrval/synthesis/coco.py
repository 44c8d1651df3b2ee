"""Export in the COCO format (Lin et al. 2014, doi:10.1007/978-3-319-10602-1_48): boxes and masks as run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from drrval.disease import KINDS
from drrval.synthesis.masks import MASK_NAMES, Labels

_ANATOMY = tuple(name for name in MASK_NAMES if name not in KINDS and not name.startswith("lesion"))
CATEGORIES = [
    {"id": number, "name": name, "supercategory": "opacity" if name in KINDS else "anatomy"}
    for number, name in enumerate((*KINDS, *_ANATOMY), start=1)
]
_IDS = {str(category["name"]): category["id"] for category in CATEGORIES}


def annotate(labels: Labels) -> list[dict[str, Any]]:
    """Annotations of one image, without ids: each lesion shadow by its kind, and each organ that is seen."""
    shadows = [(box.kind, box.mask, {"side": box.side}) for box in labels.boxes]
    organs: list[tuple[str, npt.NDArray[np.bool_], dict[str, str]]] = [
        (name, labels.masks[name], {}) for name in _ANATOMY if labels.masks[name].any()
    ]
    return [_annotation(name, mask, attributes) for name, mask, attributes in (*shadows, *organs)]


def document(images: list[dict[str, Any]], found: list[list[dict[str, Any]]], description: str) -> dict[str, Any]:
    """A COCO file.

    Args:
        images: ``file_name``, ``height`` and ``width`` of each image, and anything else that it shall say.
        found: annotations of each image.
        description: what the set is.
    """
    numbered = [{"id": number, **image} for number, image in enumerate(images, start=1)]
    every = [{"image_id": i, **one} for i, some in enumerate(found, start=1) for one in some]
    return {
        "info": {"description": description},
        "licenses": [],
        "categories": CATEGORIES,
        "images": numbered,
        "annotations": [{"id": number, **one} for number, one in enumerate(every, start=1)],
    }


def run_lengths(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as compressed run lengths: ``size`` [rows, columns] and ``counts``.

    Runs go down the columns and begin with zeros. From the fourth on each is written as its difference to the one two
    before, in groups of five bits, lowest first, as characters from ``0``; a sixth bit says that more follow.
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(np.diff(flat.astype(np.int8)))
    runs = np.diff(np.concatenate([[0], edges, [] if edges.size and edges[-1] == mask.size else [mask.size]]))
    values = runs.astype(np.int64)
    values[3:] -= runs.astype(np.int64)[1:-2]
    groups, open_ = [], np.ones(values.size, bool)
    while open_.any():
        bits = values & 31
        values = values >> 5
        more = np.where(bits & 16, values != -1, values != 0)
        groups.append(np.where(open_, bits + 48 + 32 * more, 0))
        open_ &= more
    text = np.stack(groups, axis=1).ravel()
    return {"size": [int(n) for n in mask.shape], "counts": bytes(text[text > 0].astype(np.uint8)).decode("ascii")}


def _annotation(name: str, mask: npt.NDArray[np.bool_], attributes: dict[str, str]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "category_id": _IDS[name],
        "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": run_lengths(mask),
        **({"attributes": attributes} if attributes else {}),
    }
