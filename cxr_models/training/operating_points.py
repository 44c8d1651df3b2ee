"""The numbers that belong to a trained DLNet: its thresholds and the calibration of its severity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from cxr_models.data.images import read_grey
from cxr_models.data.synthetic import read_bits
from cxr_models.networks.dlnet import DLNet, detect
from cxr_models.postprocessing import to_shape
from cxr_models.preprocessing import clahe, to_unit
from cxr_models.severity import fit_calibration
from cxr_models.training.thresholds import choose_detection_threshold, choose_localisation_threshold

Mask = npt.NDArray[np.bool_]

#: Map thresholds that are tried; the paper tries 0.5 to 0.9 on maps that it scales to 1 image by image.
_CANDIDATES = np.arange(10, 95, 5) / 100.0

#: What is used where the validation data cannot tell.
_MIDDLE = 0.5


def operating_points(network: DLNet, table: pd.DataFrame, boxes: pd.DataFrame, size: int) -> dict[str, float]:
    """Choose a network's thresholds by the paper's rules, and fit its severity.

    * ``detection_threshold``: on the real validation images whose label is fully trusted.
    * ``localisation_threshold``: on the validation images with boxes, by their mean average precision.
    * ``area_threshold``, ``severity_gain`` and ``severity_power``: on the lungs of images whose lesions are known pixel
      by pixel, every patient counting alike; left out for fewer than 20 lungs. The first is the map threshold with the
      smallest mean absolute error of the pneumonia ratio, which the paper takes at ``localisation_threshold``: boxes
      hold more than the disease, so the threshold that fits boxes reads too large an area. The others are those of
      :class:`cxr_models.severity.SeverityCalibration`.

    Args:
        network: in evaluation mode.
        table: rows of :mod:`cxr_models.data.tables` and :mod:`cxr_models.data.synthetic`: the validation part, and
            for the severity whatever else has known lesions (radiologists' masks are so few that validation alone
            holds next to none).
        boxes: see :func:`cxr_models.data.tables.read_nih_boxes`.
        size: side of the network's input, pixels.
    """
    found = {row["image"]: detect(network, _prepared(row, size)) for row in table.to_dict("records")}
    settings = {"size": float(size), "detection_threshold": _MIDDLE, "localisation_threshold": _MIDDLE}
    held_out = table[(table["split"] == "validation") & table["label"].notna()]
    trusted = held_out[(held_out["source"] != "synthetic") & (held_out["label_weight"] == 1.0)]
    positive = trusted["label"].to_numpy() > 0.5
    if positive.any() and not positive.all():
        probability = np.array([found[image][0] for image in trusted["image"]])
        settings["detection_threshold"] = choose_detection_threshold(probability, positive)
    truth = {str(k): v[["x", "y", "width", "height"]].to_numpy(float) for k, v in boxes.groupby("image")}
    boxed = [image for image in held_out["image"] if image in truth]
    if boxed:
        maps = [found[image][1] for image in boxed]
        settings["localisation_threshold"], _ = choose_localisation_threshold(
            maps, [truth[image] for image in boxed], _CANDIDATES
        )
    return settings | _calibration(table, {image: reading[1] for image, reading in found.items()})


class _KnownLung(NamedTuple):
    patient: str
    mean: float
    above_percent: npt.NDArray[np.float64]
    ratio_percent: float


def _calibration(table: pd.DataFrame, maps: dict[str, npt.NDArray[np.float32]]) -> dict[str, float]:
    lungs = pd.DataFrame(
        [lung for row in table.to_dict("records") for lung in _known_lungs(row, maps[row["image"]])],
        columns=_KnownLung._fields,
    )
    weights = (1.0 / lungs.groupby("patient")["patient"].transform("size")).to_numpy(float)
    ratios = lungs["ratio_percent"].to_numpy(float)
    found = fit_calibration(lungs["mean"].to_numpy(), ratios, weights)
    if found is None:
        return {}
    errors = np.abs(np.stack(lungs["above_percent"].to_list()) - ratios[:, None])
    area = float(_CANDIDATES[np.average(errors, axis=0, weights=weights).argmin()])
    return {"area_threshold": area, "severity_gain": found.gain, "severity_power": found.power}


def _prepared(row: dict[Any, Any], size: int) -> npt.NDArray[np.float32]:
    image = read_grey(Path(row["image"]))
    return clahe(to_unit(np.float32(255.0) - image if row.get("inverted") is True else image, size))


def _known_lungs(row: dict[Any, Any], localisation: npt.NDArray[np.float32]) -> list[_KnownLung]:
    """Mean of the map, share above each candidate and true ratio of each lung of an image with lesion masks."""
    found = []
    for lung, lesion in _masks(row):
        if lung.any():
            values = np.sort(to_shape(localisation, (lung.shape[0], lung.shape[1]))[lung])
            above = 100.0 * (1.0 - np.searchsorted(values, _CANDIDATES) / values.size)
            ratio = 100.0 * float((lesion & lung).sum() / lung.sum())
            found.append(_KnownLung(f"{row['source']}/{row['patient']}", float(values.mean()), above, ratio))
    return found


def _masks(row: dict[Any, Any]) -> list[tuple[Mask, Mask]]:
    """Lung and lesion of each side, as far as an image has them."""
    if isinstance(row.get("label_image"), str):
        path = Path(row["label_image"])
        lesion = read_bits(path, int(row["lesion_bits"]))
        return [(read_bits(path, int(row[f"field_{side}_bits"])), lesion) for side in ("right", "left")]
    drawn = [row[name] for name in ("ggo", "consolidation") if isinstance(row.get(name), str) and row[name]]
    if not drawn:
        return []
    with Image.open(row["image"]) as image:
        shape = (image.height, image.width)
    lesion = np.any([_mask(file, shape) for file in drawn], axis=0)
    return [(_mask(row[name], shape), lesion) for name in ("right_lung", "left_lung") if row[name]]


def _mask(file: str, shape: tuple[int, int]) -> Mask:
    return to_shape(read_grey(Path(file)), shape) > 127
