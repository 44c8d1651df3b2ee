"""Time and memory against the size of volume and detector: ``python -m benchmarks.scaling`` measures one point.

The volume is a cube of 400 mm cut from the scan whatever its voxels, and the panel keeps its size whatever its pixels.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.bandwidth import read_bandwidth
from benchmarks.environments import measured, work_folder
from benchmarks.machine import available_bytes
from benchmarks.measure import clocked, emit, peak_mb, repeated, reset_peak
from benchmarks.ours import MODELS
from benchmarks.scan import benchmark_ct, benchmark_geometry, centred_grid, rounded
from drrval.projection import project
from validation.markdown import table

CUBE_MM = 400.0
SIDES, DETECTORS = (128, 192, 256, 384, 512, 768, 1024), (256, 512, 1024, 2048)
FIXED_SIDE, FIXED_DETECTOR = 512, 1024
# What grows -> (voxels a side, pixels a side) of each point. In the last, pixels stay as wide as voxels seem.
SWEEPS = {
    "voxels": [(side, FIXED_DETECTOR) for side in SIDES],
    "pixels": [(FIXED_SIDE, detector) for detector in DETECTORS],
    "both": [(128, 256), (256, 512), (512, 1024), (1024, 2048)],
}
METHODS = (("PA", 1), ("PA", 3), ("oblique", 3))
RUNS, SLOW_S = 5, 2.0  # three runs of what takes longer
Row = dict[str, Any]


def measure() -> tuple[dict[str, Any], dict[str, str]]:
    """All points and fits, and their Markdown tables by name."""
    folder = work_folder() / "scaling"
    folder.mkdir(exist_ok=True)
    np.save(folder / "hu.npy", rounded(benchmark_ct()))
    bandwidth = measured("benchmarks.scaling", folder)["read_gb_per_s"]
    rows, skipped = [], []
    for side, detector in dict.fromkeys(point for points in SWEEPS.values() for point in points):
        if available_bytes() < 1.5 * 2 * side**3:
            skipped.append(f"{side}^3 voxels need {2 * side**3 / 1e9:.1f} GB, which are not free")
            continue
        sys.stderr.write(f"measuring {side}^3 voxels, {detector}^2 pixels ...\n")
        rows += measured("benchmarks.scaling", folder, side, detector)["rows"]
    for row in rows:
        row["limit_s"] = row["volume_mb"] / 1e3 / bandwidth
    result = {"read_gb_per_s": bandwidth, "rows": rows, "exponents": exponents(rows), "skipped": skipped}
    return result, {"scaling": scaling_table(result)}


def main(folder: Path, *sizes: int) -> None:
    """Measure one point, or without sizes the memory bandwidth, and emit the result."""
    scan = np.load(folder / "hu.npy", mmap_mode="r")
    if not sizes:
        emit({"read_gb_per_s": read_bandwidth(cube(scan, FIXED_SIDE)) / 1e9})
        return
    side, detector = sizes
    values = cube(scan, side)
    emit({"rows": [point(values, view, materials, detector) for view, materials in METHODS]})


def point(values: npt.NDArray[np.int16], view: str, materials: int, detector: int) -> Row:
    """Time and memory of one projection."""
    side = len(values)
    grid, geometry = centred_grid(values.shape, (CUBE_MM / side,) * 3), benchmark_geometry(view, detector)
    small = np.ascontiguousarray(values[:8, :8, :8])
    project(small, centred_grid(small.shape, (CUBE_MM / 8,) * 3), geometry, MODELS[materials])
    before = reset_peak()
    project(values, grid, geometry, MODELS[materials])
    beyond = peak_mb() - before
    seconds = repeated(
        lambda: clocked(lambda: project(values, grid, geometry, MODELS[materials])), runs=RUNS, slow_s=SLOW_S
    )
    return {
        "view": view,
        "materials": materials,
        "voxels_a_side": side,
        "pixels_a_side": detector,
        "runs": len(seconds),
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "volume_mb": values.nbytes / 1e6,
        "image_mb": 4 * materials * detector**2 / 1e6,
        "peak_beyond_volume_mb": beyond,
    }


def cube(scan: npt.NDArray[np.int16], side: int) -> npt.NDArray[np.int16]:
    """A cube of ``side`` voxels a side that shows the whole scan, by nearest neighbour."""
    z, y, x = (np.arange(side) * n // side for n in scan.shape)
    values = np.empty((side, side, side), np.int16)
    for k in range(side):
        values[k] = scan[z[k]][np.ix_(y, x)]
    return values


def exponents(rows: Sequence[Row]) -> list[Row]:
    """Fitted exponents of time: ``time ~ size ** exponent`` by least squares in logarithms.

    The size is the number of voxels, or of pixels where only these grow.
    """
    fits = []
    for sweep, points in SWEEPS.items():
        for view, materials in METHODS:
            chosen = [
                r
                for r in rows
                if (r["view"], r["materials"]) == (view, materials)
                and (r["voxels_a_side"], r["pixels_a_side"]) in points
            ]
            sizes = [r["pixels_a_side"] ** 2 if sweep == "pixels" else r["voxels_a_side"] ** 3 for r in chosen]
            slope = fitted_exponent(sizes, [r["median_s"] for r in chosen])
            fits.append({"grows": sweep, "view": view, "materials": materials, "exponent": slope})
    return fits


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of ``values`` against ``sizes`` in a double-logarithmic plot."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def scaling_table(result: dict[str, Any]) -> str:
    """Points and fits as Markdown."""
    points = [
        [
            f"{r['voxels_a_side']}^3",
            f"{r['pixels_a_side']}^2",
            *(v for view, m in METHODS for v in _time_and_memory(result["rows"], r, view, m)),
            f"{1e3 * r['limit_s']:.1f}",
            f"{100 * r['limit_s'] / r['median_s']:.0f}",
        ]
        for r in result["rows"]
        if (r["view"], r["materials"]) == METHODS[0]
    ]
    names = [f"{view}, {m} material{'s' if m > 1 else ''}" for view, m in METHODS]
    heads = ["voxels", "pixels", *(h for n in names for h in (f"{n}: s", "MB")), "read once ms", "% of limit"]
    fits = [[sweep, *(f"{f['exponent']:.2f}" for f in result["exponents"] if f["grows"] == sweep)] for sweep in SWEEPS]
    lines = [
        table(heads, points),
        "",
        *result["skipped"],
        f"Reading memory: {result['read_gb_per_s']:.1f} GB/s. MB: peak beyond the volume, with the image. "
        "% of limit: time to read the volume once over the time of PA with one material.",
        "",
        "Exponents of time, fitted over the rows where this grows:",
        "",
        table(["what grows", *names], fits),
    ]
    return "\n".join(lines)


def _time_and_memory(rows: Sequence[Row], like: Row, view: str, materials: int) -> tuple[str, str]:
    same = ("voxels_a_side", "pixels_a_side")
    found = next(
        r for r in rows if (r["view"], r["materials"]) == (view, materials) and all(r[key] == like[key] for key in same)
    )
    return f"{found['median_s']:.3f}", f"{found['peak_beyond_volume_mb']:.0f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
