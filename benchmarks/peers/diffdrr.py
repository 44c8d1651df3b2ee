"""DiffDRR on the CPU: trilinear samples through torch's ``grid_sample``, in patches that fit the memory."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from diffdrr.drr import DRR
from diffdrr.pose import RigidTransform
from torchio import ScalarImage, Subject

from benchmarks.case import camera_to_world, density, load_case, report
from benchmarks.measure import clocked, peak_mb, repeated, reset_peak

SAMPLES = 500  # DiffDRR's default
PATCH = 128


def main(folder: Path, view_name: str) -> None:
    """Measure one view of the case in ``folder``."""
    case = load_case(folder)
    torch.set_num_threads(case.threads)
    voxels = ScalarImage(tensor=torch.from_numpy(density(folder)).permute(2, 1, 0)[None], affine=case.index_to_world)
    subject = Subject(volume=voxels, density=voxels, mask=None, reorient=torch.eye(4))
    upwards = np.diag([1.0, -1.0, 1.0, 1.0])  # its camera counts rows from below
    pose = RigidTransform(torch.tensor(camera_to_world(case.views[view_name]) @ upwards, dtype=torch.float32))

    def renderer(rows: int, columns: int, pixel_mm: float) -> DRR:
        size = {"height": rows, "width": columns, "delx": pixel_mm, "patch_size": min(PATCH, rows)}
        return DRR(subject, case.source_detector_mm, renderer="trilinear", reverse_x_axis=False, **size)

    full, small = renderer(*case.detector, case.pixel_mm), renderer(64, 64, 16 * case.pixel_mm)
    images = []
    with torch.inference_mode():
        small(pose, n_points=SAMPLES)
        reset_peak()
        seconds = repeated(lambda: clocked(lambda: images.append(full(pose, n_points=SAMPLES))))
    report(
        folder,
        images[-1][0, 0].numpy() / 10.0,  # g/cm3 mm to g/cm2
        tool="DiffDRR",
        version=version("diffdrr"),
        method=f"trilinear, {SAMPLES} samples, patches of {PATCH} x {PATCH} (torch {version('torch')}, CPU)",
        voxels="float32 g/cm3",
        materials=1,
        seconds=seconds,
        peak_rss_mb=peak_mb(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
