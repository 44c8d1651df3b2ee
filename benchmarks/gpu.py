"""Milliseconds per radiograph on this machine's NVIDIA GPU, as a Markdown table; docs/gpu.md says how to read it.

python -m benchmarks.gpu [--detectors 1024 512] [--batches 1 8 64] [--repeats 20] [--slices 133]

The volume is 512x512 int16, synthetic; the views are PA, turned about the body's axis by a few degrees from one to the
next. nanodrr (pip install nanodrr torchio) is measured beside drrval where it can be imported, on the same volume and
views: its time is that of its kernel, with volume and poses on the GPU, as is drrval's column "kernel".
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import zoom

from drrval.geometry import Geometry, view_geometry
from drrval.materials import density_model, hu_to_density
from drrval.projection import DensityModel
from drrval.projection.cuda import cuda_problem, kernel_poses, launch_shape, project_cuda
from drrval.projection.frame import IndexFrame, index_frame
from drrval.volume import Grid

Values = npt.NDArray[np.int16]
MODELS = {1: DensityModel((), density_model().lines), 3: density_model()}
PANEL_MM = 430.0
DEGREES = 2.0  # from one view of a batch to the next
NANODRR_SAMPLES = 500  # its default


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 where there is no GPU to measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--detectors", type=int, nargs="+", default=[1024, 512], help="pixels a side")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64], help="views per call")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--slices", type=int, default=133)
    options = parser.parse_args(arguments)
    if problem := cuda_problem():
        sys.stderr.write(f"no GPU to measure: {problem}\n")
        return 1
    values, grid = synthetic_ct(options.slices)
    bandwidth = copy_bandwidth(options.repeats)
    out = sys.stdout.write
    out(f"Card: {card()}; a copy on the card moves {bandwidth / 1e9:.0f} GB/s (read and written).\n")
    out(f"Volume {'x'.join(map(str, values.shape))} ([z, y, x], {values.nbytes / 1e6:.0f} MB), ")
    out(f"mean of {options.repeats}, warm. Times are per radiograph.\n\n")
    out("| tool | materials | detector | views per call | kernel, ms | whole call, ms | volume read, of copy speed |\n")
    out("|---|---|---|---|---|---|---|\n")
    for pixels in options.detectors:
        for batch in options.batches:
            views = turned_views(grid, pixels, batch)
            for row in our_rows(values, grid, views, bandwidth, options.repeats):
                out(f"| drrval | {row}\n")
            if find_spec("nanodrr") and find_spec("torch"):
                out(f"| nanodrr | {nanodrr_row(values, grid, views, options.repeats)}\n")
    return 0


def synthetic_ct(slices: int) -> tuple[Values, Grid]:
    """An int16 volume of smooth blobs of air, soft tissue and bone in air, and its grid."""
    coarse = np.random.default_rng(0).normal(-150, 500, (14, 32, 32))
    values = np.clip(zoom(coarse, (slices / 14, 16, 16), order=1), -1000, 1500).astype(np.int16)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    values[:, (x / 0.95) ** 2 + (y / 0.65) ** 2 > 1] = -1000
    return values, Grid(values.shape, (0.703, 0.703, 2.5 * 133 / slices), (0.0, 0.0, 0.0))


def turned_views(grid: Grid, pixels: int, batch: int) -> list[Geometry]:
    """A batch of views around the body's axis, with the default panel and distances of a PA view."""
    settings = {"rows": pixels, "columns": pixels, "pixel_mm": PANEL_MM / pixels}
    front = view_geometry("PA", isocentre_mm=grid.centre_mm, **settings)
    return [front.rotated((0, 0, 1), DEGREES * k, grid.centre_mm) for k in range(batch)]


def our_rows(values: Values, grid: Grid, views: list[Geometry], bandwidth: float, repeats: int) -> Iterator[str]:
    """Cells of drrval's rows, for each number of materials."""
    from numba import cuda

    frames = [index_frame(grid, view) for view in views]
    for materials, model in MODELS.items():
        kernel = seconds(kernel_launch(values, frames, model), cuda.synchronize, repeats)
        call = seconds(partial(project_cuda, values, frames, *model.kernel_tables()), cuda.synchronize, repeats)
        share = values.nbytes * len(views) / kernel / (bandwidth / 2)
        yield cells(materials, views, kernel, f"{call / len(views) * 1e3:.2f}", f"{share:.0%}")


def kernel_launch(values: Values, frames: list[IndexFrame], model: DensityModel) -> Callable[[], None]:
    """Starts the kernel on the whole volume, which is put on the GPU now; for volumes that fit."""
    from numba import cuda

    from drrval.projection.cuda_kernel import projection_kernel

    image = cuda.device_array((len(frames), model.n_materials, *frames[0].detector_shape), np.float32)
    kernel = projection_kernel(model.n_materials)[launch_shape(image.shape)]
    voxels = cuda.to_device(values.reshape(-1))
    inputs = [cuda.to_device(table) for table in (kernel_poses(frames), *model.kernel_tables())]
    return partial(kernel, voxels, 0, len(values), values.shape, *inputs, image)


def nanodrr_row(values: Values, grid: Grid, views: list[Geometry], repeats: int) -> str:
    """Cells of nanodrr's row: one material, float32 densities."""
    import torch
    from nanodrr.data import Subject
    from nanodrr.drr import DRR
    from torchio import ScalarImage

    affine = np.diag([*grid.spacing_mm, 1.0])
    affine[:3, 3] = grid.origin_mm
    voxels = torch.from_numpy(hu_to_density(values).astype(np.float32)).permute(2, 1, 0)[None]
    subject = Subject.from_images(ScalarImage(tensor=voxels, affine=affine), convert_to_mu=False).to("cuda")
    poses = torch.tensor(np.stack([camera_to_world(view) for view in views]), dtype=torch.float32, device="cuda")
    front, (rows, columns) = views[0], views[0].shape
    renderer = DRR.from_carm_intrinsics(front.sid_mm, front.pixel_mm, front.pixel_mm, 0.0, 0.0, rows, columns).to(
        "cuda"
    )
    try:
        with torch.inference_mode():
            kernel = seconds(
                lambda: renderer(subject, poses, n_samples=NANODRR_SAMPLES), torch.cuda.synchronize, repeats
            )
    except torch.cuda.OutOfMemoryError:
        return f"1 | {rows}x{columns} | {len(views)} | out of memory | | |"
    return cells(1, views, kernel, "", "")


def camera_to_world(view: Geometry) -> npt.NDArray[np.float64]:
    """(4, 4) matrix from camera coordinates (along a row, down a column, towards the panel; source at 0) to LPS mm."""
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([view.column_axis, view.row_axis, view.normal, view.source_mm])
    return matrix


def cells(materials: int, views: list[Geometry], kernel: float, call: str, share: str) -> str:
    """The cells of a row after the tool's name."""
    rows, columns = views[0].shape
    per_view = kernel / len(views) * 1e3
    return f"{materials} | {rows}x{columns} | {len(views)} | {per_view:.3f} | {call} | {share} |"


def seconds(work: Callable[[], Any], wait: Callable[[], Any], repeats: int) -> float:
    """Mean seconds of ``work`` after one run to warm up; the GPU is waited for once, at the end."""
    work()
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    wait()
    return (time.perf_counter() - start) / repeats


def copy_bandwidth(repeats: int, size: int = 2**28) -> float:
    """Bytes per second, read and written, of a copy from GPU memory to GPU memory."""
    from numba import cuda

    source, target = (cuda.device_array(size, np.float32) for _ in range(2))
    return 2 * 4 * size / seconds(lambda: target.copy_to_device(source), cuda.synchronize, repeats)


def card() -> str:
    """Name of the GPU."""
    from numba import cuda

    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
