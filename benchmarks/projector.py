"""Median seconds of the projector on a synthetic 512x512x133 int16 chest-sized volume, 1024x1024 detector, warm.

python benchmarks/projector.py [repeats]
"""

from __future__ import annotations

import statistics
import sys
import time

import numba
import numpy as np
from scipy.ndimage import zoom

from drrval.geometry import view_geometry
from drrval.materials import density_model
from drrval.projection import DensityModel, project
from drrval.volume import Grid

MATERIALS = density_model()
MODELS = {1: DensityModel((), MATERIALS.lines), 3: MATERIALS}


def synthetic_ct() -> tuple[np.ndarray, Grid]:
    """An int16 volume of smooth blobs of air, soft tissue and bone in air, and its grid."""
    coarse = np.random.default_rng(0).normal(-150, 500, (14, 32, 32))
    values = np.clip(zoom(coarse, (133 / 14, 16, 16), order=1), -1000, 1500).astype(np.int16)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    values[:, (x / 0.95) ** 2 + (y / 0.65) ** 2 > 1] = -1000
    return values, Grid(values.shape, (0.703, 0.703, 2.5), (0.0, 0.0, 0.0))


def main(repeats: int) -> None:
    """Print a table: view, backend, materials, median seconds."""
    values, grid = synthetic_ct()
    sys.stdout.write(f"{numba.get_num_threads()} threads, median of {repeats}\n")
    upright = {view: view_geometry(view, isocentre_mm=grid.centre_mm) for view in ("PA", "AP", "LL")}
    cases = [(view, geometry, "separable") for view, geometry in upright.items()]
    turned = upright["PA"].rotated((1, 2, 3), 20, grid.centre_mm)
    for view, geometry, backend in [*cases, ("PA", upright["PA"], "ray"), ("PA turned 20", turned, "ray")]:
        for materials, model in MODELS.items():
            project(values, grid, geometry, model, backend=backend)
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                project(values, grid, geometry, model, backend=backend)
                seconds.append(time.perf_counter() - start)
            median = statistics.median(seconds)
            sys.stdout.write(f"{view:14s}{backend:12s}{materials} materials  {median:.3f} s\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
