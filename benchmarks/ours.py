"""drrval's own projector, measured like a peer: ``python -m benchmarks.ours FOLDER VIEW MATERIALS BACKEND``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.case import hounsfield, load_case, report
from benchmarks.measure import clocked, peak_mb, repeated, reset_peak
from benchmarks.scan import benchmark_geometry
from drrval import __version__
from drrval.materials import density_model
from drrval.projection import DensityModel, project
from drrval.volume import Grid

MODELS = {1: DensityModel((), density_model().lines), 3: density_model()}


def main(folder: Path, view: str, materials: int, backend: str) -> None:
    """Measure one view of the case in ``folder`` with one or three materials, straight from int16."""
    case = load_case(folder)
    values, grid = hounsfield(folder), Grid(case.shape, case.spacing_mm, case.origin_mm)
    geometry, model = benchmark_geometry(view, case.detector[0]), MODELS[materials]

    def projected() -> npt.NDArray[np.float32]:
        return project(values, grid, geometry, model, backend=backend)

    area_density = projected()
    reset_peak()
    seconds = repeated(lambda: clocked(projected))
    report(
        folder,
        area_density.sum(axis=0),
        tool="drrval",
        version=__version__,
        method=f"Joseph, plane by plane (backend {backend})",
        voxels="int16 HU",
        materials=materials,
        seconds=seconds,
        peak_rss_mb=peak_mb(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
