"""nanodrr on the CPU: trilinear samples through torch's ``grid_sample``."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import torch
from nanodrr.data import Subject
from nanodrr.drr import DRR
from torchio import ScalarImage

from benchmarks.case import camera_to_world, density, load_case, report
from benchmarks.measure import clocked, peak_mb, repeated, reset_peak

SAMPLES = 500  # nanodrr's default


def main(folder: Path, view_name: str) -> None:
    """Measure one view of the case in ``folder``."""
    case = load_case(folder)
    torch.set_num_threads(case.threads)
    voxels = torch.from_numpy(density(folder)).permute(2, 1, 0)[None]
    subject = Subject.from_images(ScalarImage(tensor=voxels, affine=case.index_to_world), convert_to_mu=False)
    pose = torch.tensor(camera_to_world(case.views[view_name]), dtype=torch.float32)[None]

    def renderer(rows: int, columns: int, pixel_mm: float) -> DRR:
        return DRR.from_carm_intrinsics(case.source_detector_mm, pixel_mm, pixel_mm, 0.0, 0.0, rows, columns)

    full, small = renderer(*case.detector, case.pixel_mm), renderer(64, 64, 16 * case.pixel_mm)
    images = []
    with torch.inference_mode():
        small(subject, pose, n_samples=SAMPLES)
        reset_peak()
        seconds = repeated(lambda: clocked(lambda: images.append(full(subject, pose, n_samples=SAMPLES))))
    report(
        folder,
        images[-1][0, 0].numpy() / 10.0,  # g/cm3 mm to g/cm2
        tool="nanodrr",
        version=version("nanodrr"),
        method=f"trilinear, {SAMPLES} samples (torch {version('torch')}, CPU)",
        voxels="float32 g/cm3",
        materials=1,
        seconds=seconds,
        peak_rss_mb=peak_mb(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
