"""plastimatch: ``drr -i exact``, Siddon's method with OpenMP. It is a program, so every run is a process of its own.

The time is the program's own for projecting, without reading the volume and writing the image.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.case import View, load_case, report
from benchmarks.measure import repeated


def main(folder: Path, view_name: str) -> None:
    """Measure one view of the case in ``folder``."""
    case = load_case(folder)
    view = case.views[view_name]
    rows, columns = case.detector
    command = [
        *(str(Path(sys.executable).with_name("plastimatch")), "drr", "-A", "cpu", "-i", "exact", "-P", "none"),
        *("-t", "raw", "--sad", f"{case.source_isocentre_mm}", "--sid", f"{case.source_detector_mm}"),
        *("-r", f"{rows} {columns}", "-z", f"{rows * case.pixel_mm} {columns * case.pixel_mm}", "-o", "0 0 0"),
        *("-n", _text(-view.towards_detector), "--vup", _text(-np.asarray(view.row_axis))),
        *("-I", str(folder / "density.mha"), "-O", str(folder / "plastimatch")),
    ]

    def run() -> float:
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        times = dict(re.findall(r"(Total|I/O) time: ([\d.eE+-]+) sec", printed))
        return float(times["Total"]) - float(times["I/O"])

    run()
    seconds = repeated(run)
    image = np.fromfile(folder / "plastimatch0000.raw", np.float32).reshape(rows, columns)
    report(
        folder,
        _unmirrored(image, view),
        tool="plastimatch",
        version=version("plastimatch"),
        method="Siddon (drr -i exact)",
        voxels="float32 g/cm3",
        materials=1,
        seconds=seconds,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
    )


def _text(vector: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{v:.9f}" for v in vector)


def _unmirrored(image: npt.NDArray[np.float32], view: View) -> npt.NDArray[np.float32]:
    """The image with our order of columns: the program's run against (normal towards the source) x (up)."""
    right = np.cross(-view.towards_detector, -np.asarray(view.row_axis))
    return image[:, ::-1] if right @ view.column_axis > 0 else image


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
