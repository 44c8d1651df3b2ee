"""A whole rendering, stage by stage: ``python -m benchmarks.rendering FOLDER`` measures in a fresh process.

Stages are calls that ``drrval.rendering.render`` makes, timed from inside a run; a stage within a stage counts once.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.environments import measured, work_folder
from benchmarks.measure import RUNS, emit, peak_mb, reset_peak
from benchmarks.scan import THREADS, benchmark_ct, centred_grid
from drrval import rendering
from drrval.physics import detector
from drrval.volume import CTVolume
from validation.markdown import table

SLICES = 300
VIEW = "PA"
LIMIT_S, LIMIT_MULTIPLE = 1.5, 2.5
STAGES = {
    (rendering, "find_body"): "position: find the body",
    (rendering, "chest_centre"): "position: find the isocentre",
    (rendering, "isolate_body"): "position: body mask, int16",
    (rendering, "project"): "projection, three materials",
    (detector, "transmission"): "spectrum",
    (detector, "scatter_signal"): "scatter",
    (detector, "poisson_counts"): "quantum noise",
    (rendering, "detect"): "receptor",
    (rendering, "fixed_window"): "display: window",
    (rendering, "scanned_field"): "collimation and flags",
    (rendering, "clipping_flags"): "collimation and flags",
    (rendering, "field_flags"): "collimation and flags",
}
DISPLAY, REST, TOTAL = "display: 8-bit image", "rest", "total"
Seconds = dict[str, float]


def measure() -> tuple[dict[str, Any], dict[str, str]]:
    """The figures of a 512 x 512 x 300 scan, and their Markdown table by name."""
    folder = work_folder() / "render"
    folder.mkdir(exist_ok=True)
    ct = benchmark_ct(SLICES)
    np.save(folder / "hu.npy", ct.hu)
    result = measured("benchmarks.rendering", folder, *ct.grid.spacing_mm)
    return result, {"render": render_table(result)}


def main(folder: Path, spacing_mm: tuple[float, float, float]) -> None:
    """Measure in this process and emit the result."""
    hu = np.load(folder / "hu.npy")
    ct = CTVolume(hu, centred_grid(hu.shape, spacing_mm), np.ones(hu.shape[1:], bool))
    small = CTVolume(
        np.ascontiguousarray(hu[::4, ::4, ::4]),
        centred_grid(hu[::4, ::4, ::4].shape, _scaled(spacing_mm, 4)),
        ct.scanned[::4, ::4],
    )
    rendering.render(small, VIEW)  # loads compiled code and tabulates the spectrum
    before = reset_peak()
    image = rendering.render(ct, VIEW).image
    beyond = peak_mb() - before
    runs = [run_stages(ct) for _ in range(RUNS)]
    emit(
        {
            "volume": "x".join(map(str, hu.shape[::-1])),
            "detector": "x".join(map(str, image.shape[::-1])),
            "view": VIEW,
            "threads": THREADS,
            "runs": RUNS,
            "seconds": {stage: summary([run[stage] for run in runs]) for stage in runs[0]},
            "memory_mb": {
                "ct_float32": hu.nbytes / 1e6,
                "ct_as_int16": hu.nbytes / 2e6,
                "beyond_ct": beyond,
            },
            "memory_multiple_of_int16": beyond / (hu.nbytes / 2e6),
        }
    )


def run_stages(ct: CTVolume) -> Seconds:
    """Seconds of each stage of one rendering, and of the whole."""
    with stopwatch() as watch:
        drr = rendering.render(ct, VIEW)
        with watch.stage(DISPLAY):
            drr.shown(8)
    stages = {name: watch.seconds[name] for name in dict.fromkeys([*STAGES.values(), DISPLAY, REST])}
    return stages | {TOTAL: sum(stages.values())}


class Stopwatch:
    """Time spent in each stage, seconds, without that of the stages within it."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(float)
        self._open: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time that the context is open as this stage's, and no longer as that of the stage around it."""
        self._open.append(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[self._open.pop()] += elapsed
            if self._open:
                self.seconds[self._open[-1]] -= elapsed

    def timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, counted as a stage."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return call


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time drrval's rendering while the context is open; what belongs to no stage is the rest."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for (module, function), name in STAGES.items():
            stack.enter_context(patch.object(module, function, watch.timed(getattr(module, function), name)))
        stack.enter_context(watch.stage(REST))
        yield watch


def summary(seconds: list[float]) -> Seconds:
    """Median, smallest and largest."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def render_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    total = result["seconds"][TOTAL]["median_s"]
    rows = [
        [stage, f"{t['median_s']:.3f}", f"{t['min_s']:.3f} - {t['max_s']:.3f}", f"{100 * t['median_s'] / total:.0f}"]
        for stage, t in result["seconds"].items()
    ]
    memory, multiple = result["memory_mb"], result["memory_multiple_of_int16"]
    lines = [
        f"{result['volume']} voxels, {result['detector']} pixels, {result['view']}, median of {result['runs']}.",
        "",
        table(["stage", "median s", "min - max s", "% of total"], rows),
        "",
        f"Aim: less than {LIMIT_S} s; measured {total:.2f} s: {'met' if total < LIMIT_S else 'not met'}.",
        "",
        f"Peak memory beyond the CT: {memory['beyond_ct']:.0f} MB, {multiple:.2f} times the volume as int16 "
        f"({memory['ct_as_int16']:.0f} MB; the CT itself is held as float32, {memory['ct_float32']:.0f} MB, and not "
        f"counted). Aim: at most {LIMIT_MULTIPLE}: {'met' if multiple <= LIMIT_MULTIPLE else 'not met'}.",
    ]
    return "\n".join(lines)


def _scaled(spacing_mm: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    x, y, z = (factor * value for value in spacing_mm)
    return x, y, z


if __name__ == "__main__":
    main(Path(sys.argv[1]), (float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
