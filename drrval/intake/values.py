"""Checks and repairs of voxel values: NaN, an offset in storage, values that are no CT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drrval.intake.padding import AIR_HU
from drrval.intake.report import IntakeReport

MAX_NAN_SHARE = 0.01
# Air and soft tissue must each fill at least this share of the volume.
_MIN_SHARE = 0.01
_LABEL_VALUES = 16

Volume = npt.NDArray[np.float32]


def replace_non_finite(values: Volume, report: IntakeReport) -> None:
    """Set NaN and infinite voxels to air in place when they are at most 1 %; reject more."""
    bad = ~np.isfinite(values)
    count = int(np.count_nonzero(bad))
    if count == 0:
        return
    share = count / values.size
    if share > MAX_NAN_SHARE:
        report.reject(
            "not_finite",
            f"{100 * share:.1f} % of the voxels are NaN or infinite; at most {100 * MAX_NAN_SHARE:g} % can be "
            "set to air. Fill them with the right values, or export the scan again.",
        )
    values[bad] = AIR_HU
    report.add("not_finite", "repaired", f"set {count} NaN or infinite voxels to {AIR_HU:g} HU")


def looks_like_hu(values: Volume) -> bool:
    """Whether values are plainly Hounsfield units: some negative, air and soft tissue both present."""
    sample = _sample(values)
    air = np.mean(sample <= -800)
    tissue = np.mean(np.abs(sample) <= 200)
    return bool(air >= _MIN_SHARE and tissue >= _MIN_SHARE)


def check_value_range(values: Volume, report: IntakeReport) -> None:
    """Accept Hounsfield units, undo a clear +1024 storage offset in place, reject everything else.

    Raises:
        IntakeError: a mask, an 8-bit or normalised picture, an MRI, a scan without air, soft tissue or bone.
    """
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        _check_unsigned(values, low, high, report)
        low, high = float(values.min()), float(values.max())
    span = f"values run from {low:g} to {high:g}"
    if not looks_like_hu(values):
        report.reject(
            "value_range",
            f"{span}, without both air (below -800 HU) and soft tissue (-200 to 200 HU): not a CT of a chest "
            "in Hounsfield units. Give the CT before any normalisation or masking.",
        )
    if high < 100:
        report.reject("value_range", f"{span}: no bone above 100 HU, so the scan was clipped. Give the unclipped CT.")
    if high < 600 and np.mean(values == high) > 1e-3:
        report.add(
            "value_range",
            "note",
            f"{span}, many at the top: it looks clipped to a window, and bone will be too thin",
        )


def _check_unsigned(values: Volume, low: float, high: float, report: IntakeReport) -> None:
    span = f"values run from {low:g} to {high:g}"
    distinct = np.unique(_sample(values))
    if len(distinct) <= _LABEL_VALUES and np.array_equal(distinct, np.round(distinct)) and high <= 255:
        report.reject("value_range", f"{span}, {len(distinct)} different ones: a mask or label map. Give the CT.")
    if high <= 255:
        report.reject(
            "value_range",
            f"{span}: a windowed or normalised picture, not Hounsfield units. Give the original CT.",
        )
    if not _is_offset_by_1024(values):
        report.reject(
            "value_range",
            f"{span}, none negative, and the histogram does not show air near 24 and soft tissue near 1024 as "
            "a CT stored with +1024 would: an MRI, or a CT with unknown scaling. Give the CT in Hounsfield units.",
        )
    values -= 1024
    report.add("value_range", "repaired", f"{span}, air and soft tissue lie 1024 too high; subtracted 1024")


def _is_offset_by_1024(values: Volume) -> bool:
    """Whether the histogram is that of a CT stored as HU + 1024.

    Air must peak at 24 (-1000 HU), within 30; the highest peak above 300 must be fat, water or muscle (874 to
    1174); and the trough between (300 to 824), which MRI fills, must be at most a fifth as dense as that peak.
    In eight real chest CTs it is 2 to 5 % as dense.
    """
    sample = _sample(values)
    counts, edges = np.histogram(sample, bins=np.arange(0, 2000, 16))
    centres = (edges[:-1] + edges[1:]) / 2
    near_air = (sample > sample.min()) & (sample < 150)  # the lowest value may be padding
    if np.mean(near_air) < _MIN_SHARE:
        return False
    air_counts, air_edges = np.histogram(sample[near_air], bins=np.arange(0, 156, 4))
    air_peak = air_edges[air_counts.argmax()] + 2
    tissue = centres > 300
    peak, peak_count = centres[tissue][counts[tissue].argmax()], counts[tissue].max()
    trough = counts[(centres > 300) & (centres < 824)].mean()
    return bool(abs(air_peak - 24) <= 30 and 874 <= peak <= 1174 and trough <= 0.2 * peak_count)


def _sample(values: Volume) -> npt.NDArray[np.float32]:
    """At most about two million voxels, evenly spread, for histograms."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.size // 2_000_000)]
