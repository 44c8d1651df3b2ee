"""The GPU projector: its arithmetic under Numba's CUDA simulator, its compilation, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from drrval.errors import BackendError, DrrvalError
from drrval.geometry import Geometry, view_geometry
from drrval.projection import DensityModel, project
from drrval.projection.cuda import cuda_problem, project_cuda
from drrval.projection.frame import index_frame
from drrval.volume import Grid

LINES = ((0.001029, 1.03), (0.0005886, 1.03))
TISSUES = DensityModel((-800.0, 350.0), LINES)
BYTES = DensityModel((12.0, 84.0), ((0.016, 0.0), (0.01, 0.4)))
SMALL = Grid((12, 10, 14), (1.7, 2.1, 3.3), (-40.0, -52.0, 17.0))
POSES = ("PA", "LL", "along", "oblique", "along-tilted", "wide")


def small_values() -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=SMALL.shape), 1.0)
    return np.clip(noise * 3000, -1000, 1800).astype(np.int16)


def small_poses() -> dict[str, Geometry]:
    """Views driven by y, x and z, rays that change their driving axis within the panel, and rays that miss."""
    settings = {"rows": 6, "columns": 8, "pixel_mm": 9.0, "sid_mm": 900, "isocentre_to_detector_mm": 150}
    centre = SMALL.centre_mm
    front, left = (view_geometry(view, isocentre_mm=centre, **settings) for view in ("PA", "LL"))
    x, y, z = centre
    along = replace(
        front,
        source_mm=(x, y, z - 700),
        detector_centre_mm=(x, y, z + 150),
        column_axis=(1.0, 0.0, 0.0),
        row_axis=(0.0, -1.0, 0.0),
    )
    near = {**settings, "sid_mm": 300, "isocentre_to_detector_mm": 60}
    wide = view_geometry("PA", isocentre_mm=centre, **near).rotated((0, 1, 1), 43, centre)
    poses = (front, left, along, front.rotated((1, 2, 3), 35, centre), along.rotated((1, 2, 3), 15, centre), wide)
    return dict(zip(POSES, poses, strict=True))


def simulate(path: str) -> None:
    """Run the cases of this file under the simulator and save the images; called in a process of its own."""
    values, poses = small_values(), small_poses()
    frames = [index_frame(SMALL, pose) for pose in poses.values()]
    slice_bytes = values[0].nbytes
    runs = {"batch": project_cuda(values, frames, *TISSUES.kernel_tables())}
    for slices in (1, 5):
        sums = project_cuda(values, frames, *TISSUES.kernel_tables(), slab_bytes=slices * slice_bytes + 1)
        runs[f"slabs of {slices}"] = sums
    runs["float32"] = project_cuda(values.astype(np.float32), frames[:1], *TISSUES.kernel_tables())
    runs["uint8"] = project_cuda(as_bytes(values), frames[:1], *BYTES.kernel_tables())
    runs["one material"] = project_cuda(values, frames[:1], *DensityModel((), LINES).kernel_tables())
    np.savez(path, **runs)


def as_bytes(values: np.ndarray) -> np.ndarray:
    return (values // 16 + 63).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("simulator") / "images.npz"
    code = f"import test_projection_cuda as here; here.simulate({str(path)!r})"
    variables = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(path))


def relative_rms(image, reference) -> float:
    return float(np.sqrt(np.mean((image - reference) ** 2) / np.mean(reference**2)))


@pytest.mark.parametrize("pose", POSES)
def test_the_kernel_computes_what_the_ray_backend_computes(simulated, pose):
    reference = project(small_values(), SMALL, small_poses()[pose], TISSUES, backend="ray")
    image = simulated["batch"][POSES.index(pose)]
    assert image.dtype == np.float32
    assert all(area.max() > 0 for area in reference)
    assert all(relative_rms(one, other) < 1e-6 for one, other in zip(image, reference, strict=True))


@pytest.mark.parametrize("slices", [1, 5])
@pytest.mark.parametrize("pose", POSES)
def test_slabs_sum_to_the_whole(simulated, pose, slices):
    whole, slabs = (simulated[name][POSES.index(pose)] for name in ("batch", f"slabs of {slices}"))
    assert relative_rms(slabs, whole) < 1e-6


def test_other_voxel_types_and_numbers_of_materials(simulated):
    values, pose = small_values(), small_poses()["PA"]
    np.testing.assert_array_equal(simulated["float32"][0], simulated["batch"][0])
    expected = project(as_bytes(values), SMALL, pose, BYTES, backend="ray")
    assert relative_rms(simulated["uint8"][0], expected) < 1e-6
    expected = project(values, SMALL, pose, DensityModel((), LINES), backend="ray")
    assert simulated["one material"].shape == (1, 1, 6, 8)
    assert relative_rms(simulated["one material"][0], expected) < 1e-6


def test_a_refusal_of_the_driver_names_it_and_the_remedy(monkeypatch):
    class CudaAPIError(Exception):
        __module__ = "numba.cuda.cudadrv.driver"

    def refuse(*_):
        raise CudaAPIError("[222] CUDA_ERROR_UNSUPPORTED_PTX_VERSION")

    monkeypatch.setattr("drrval.projection.cuda.cuda_problem", lambda: None)
    monkeypatch.setattr("drrval.projection.cuda._project", refuse)
    frame = index_frame(SMALL, small_poses()["PA"])
    with pytest.raises(BackendError, match=r"refused .*UNSUPPORTED_PTX_VERSION.*driver \(nvidia-smi\)"):
        project_cuda(small_values(), [frame], *TISSUES.kernel_tables())


def test_images_too_large_for_the_gpu(monkeypatch):
    context = SimpleNamespace(get_memory_info=lambda: SimpleNamespace(free=1000))
    monkeypatch.setattr("drrval.projection.cuda.cuda_problem", lambda: None)
    monkeypatch.setattr("numba.cuda.current_context", lambda: context)
    frames = [index_frame(SMALL, pose) for pose in small_poses().values()]
    with pytest.raises(BackendError, match=r"shape \(6, 3, 6, 8\).*do not fit.*fewer views per call"):
        project_cuda(small_values(), frames, *TISSUES.kernel_tables())


def test_a_batch_of_different_detectors():
    poses = small_poses()
    frames = [index_frame(SMALL, pose) for pose in (poses["PA"], replace(poses["PA"], shape=(4, 4)))]
    with pytest.raises(DrrvalError, match=r"one detector shape, but these 2 have \[\(4, 4\), \(6, 8\)\]"):
        project_cuda(small_values(), frames, *TISSUES.kernel_tables())
    with pytest.raises(DrrvalError, match=r"these 0 have \[\]"):
        project_cuda(small_values(), [], *TISSUES.kernel_tables())


def test_without_a_gpu_the_error_says_what_is_missing():
    if cuda_problem() is None:
        pytest.skip("a GPU is here")
    frame = index_frame(SMALL, small_poses()["PA"])
    with pytest.raises(BackendError, match=r"cannot run: .*(driver|NVVM|numba.cuda).*drrval\[cuda\].*backend='auto'"):
        project_cuda(small_values(), [frame], *TISSUES.kernel_tables())


def test_the_kernel_compiles_for_real_cards(monkeypatch):
    """The simulator runs plain Python, so it cannot tell what the compiler refuses; no GPU is needed to compile."""
    from numba import cuda, types
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    from drrval.projection.cuda_kernel import projection_kernel

    if cuda.implementation != "Built-in" or not nvvm.is_available():
        pytest.skip("needs the CUDA compiler library NVVM and Numba's built-in CUDA target")
    card = type("Card", (), {"compute_capability": (8, 0)})
    monkeypatch.setattr(dispatcher, "get_current_device", card)
    single, double = (types.Array(t, 1, "C") for t in (types.float32, types.float64))
    signature = types.void(
        types.Array(types.int16, 1, "C"),
        types.int64,
        types.int64,
        types.UniTuple(types.int64, 3),
        double.copy(ndim=3),
        single,
        single,
        single.copy(ndim=4),
    )
    assembly, _ = cuda.compile_ptx(projection_kernel(3).py_func, signature, cc=card.compute_capability)
    assert ".target sm_80" in assembly
    assert "call" not in assembly  # every device function was inlined
    assert "ld.local.f32" not in assembly  # the sums of the materials stay in registers


@pytest.fixture(scope="module")
def chest():
    """An int16 volume of the size of a chest CT."""
    if problem := cuda_problem():
        pytest.skip(problem)
    coarse = np.random.default_rng(0).normal(-150, 500, (14, 32, 32))
    values = np.clip(zoom(coarse, (133 / 14, 16, 16), order=1), -1000, 1500).astype(np.int16)
    return values, Grid(values.shape, (0.703, 0.703, 2.5), (0.0, 0.0, 0.0))


@pytest.mark.gpu
def test_on_a_gpu_a_batch_agrees_with_the_ray_backend(chest):
    values, grid = chest
    front = view_geometry("PA", isocentre_mm=grid.centre_mm)
    turned = [front.rotated((1, 2, 3), degrees, grid.centre_mm) for degrees in (0, 20, 44)]
    poses = [*turned, view_geometry("LL", isocentre_mm=grid.centre_mm)]
    frames = [index_frame(grid, pose) for pose in poses]
    images = project_cuda(values, frames, *TISSUES.kernel_tables())
    for image, pose in zip(images, poses, strict=True):
        assert relative_rms(image, project(values, grid, pose, TISSUES, backend="ray")) < 1e-5


@pytest.mark.gpu
def test_on_a_gpu_slabs_sum_to_the_whole(chest):
    values, grid = chest
    front = view_geometry("PA", isocentre_mm=grid.centre_mm)
    frames = [index_frame(grid, pose) for pose in (front, front.rotated((1, 0, 0), 40, grid.centre_mm))]
    tables = TISSUES.kernel_tables()
    slabs = project_cuda(values, frames, *tables, slab_bytes=values.nbytes // 7)
    assert relative_rms(slabs, project_cuda(values, frames, *tables)) < 1e-5
