"""What a label map says about the disease: volumes and infiltrated fractions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.disease.lesion import KINDS

RIGHT, LEFT = 1, 2
LOBE_NAMES = ("rul", "rml", "rll", "lul", "lll")  # lobe labels 1 to 5


def disease_truth(
    lungs: npt.NDArray[np.uint8],
    lesions: npt.NDArray[np.uint8],
    voxel_cm3: float,
    *,
    lobes: npt.NDArray[np.uint8] | None = None,
    rise_hu: npt.NDArray[np.float32] | None = None,
) -> dict[str, float]:
    """Count voxels.

    Args:
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung; diseased lung counts as lung.
        lesions: uint8 ``[z, y, x]``: 0 healthy, else 1 + index in ``KINDS``; counted inside the lungs only.
        voxel_cm3: volume of a voxel, cm3.
        lobes: uint8 ``[z, y, x]``: 0 elsewhere, 1 to 5 (right upper, middle, lower, left upper, lower).
        rise_hu: float32 ``[z, y, x]``, what the disease added, as :class:`drrval.disease.Inserted` holds it.

    Returns:
        ``lesion_cm3``, ``lung_cm3``, ``ratio_percent``, ``ratio_right_percent``, ``ratio_left_percent`` (100 * lesion
        volume / lung volume of both lungs or of that side), ``ggo_cm3`` (ground glass and crazy paving),
        ``consolidation_cm3``, ``crazy_paving_cm3``; with lobes also ``ratio_rul_percent``, ``..._rml_...``, ``rll``,
        ``lul``, ``lll``. A ratio of an absent lung or lobe is NaN. With ``rise_hu``
        also ``mean_rise_hu`` over all lesion voxels and ``mean_rise_ggo_hu``, ``mean_rise_consolidation_hu``,
        ``mean_rise_crazy_paving_hu`` by kind, vessels included, 0 where there is none.
    """
    side = np.bincount((lungs.astype(np.uint16) * 4 + lesions).ravel(), minlength=12).reshape(3, 4)
    both = side[1:].sum(axis=0)
    kinds = dict(zip(KINDS, both[1:] * voxel_cm3, strict=True))
    truth = {
        "lesion_cm3": both[1:].sum() * voxel_cm3,
        "lung_cm3": both.sum() * voxel_cm3,
        "ratio_percent": _percent(both),
        "ratio_right_percent": _percent(side[RIGHT]),
        "ratio_left_percent": _percent(side[LEFT]),
        "ggo_cm3": kinds["ggo"] + kinds["crazy_paving"],
        "consolidation_cm3": kinds["consolidation"],
        "crazy_paving_cm3": kinds["crazy_paving"],
    }
    if lobes is not None:
        counts = np.bincount((lobes.astype(np.uint16) * 4 + lesions).ravel(), minlength=24).reshape(6, 4)
        truth |= {f"ratio_{name}_percent": _percent(counts[k]) for k, name in enumerate(LOBE_NAMES, start=1)}
    if rise_hu is not None:
        truth |= _mean_rise(np.where(lungs > 0, lesions, 0), rise_hu)
    return {name: float(value) for name, value in truth.items()}


def _percent(counts: npt.NDArray[np.int64]) -> float:
    total = counts.sum()
    return 100.0 * float(counts[1:].sum()) / float(total) if total else float("nan")


def _mean_rise(lesions: npt.NDArray[np.uint8], rise_hu: npt.NDArray[np.float32]) -> dict[str, float]:
    inside = lesions > 0
    kinds = lesions[inside]
    count = np.bincount(kinds, minlength=len(KINDS) + 1)[1:]
    total = np.bincount(kinds, weights=rise_hu[inside], minlength=len(KINDS) + 1)[1:]
    mean = {"mean_rise_hu": total.sum() / max(count.sum(), 1)}
    return mean | {
        f"mean_rise_{kind}_hu": part / max(voxels, 1) for kind, part, voxels in zip(KINDS, total, count, strict=True)
    }
