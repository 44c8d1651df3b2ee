"""Runs DeepDRR in an interpreter of its own; a script that imports nothing of drrval.

``worker.py check`` prints what this interpreter lacks, as JSON; ``worker.py project REQUEST.npz RESPONSE.npz`` projects
(:mod:`drrval.deepdrr.projection` describes the arrays). Errors go to standard error, the reason on the last line.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What deepdrr 1.2.2 imports on the way to its projector, and the package that provides it.
MODULES = {
    "numpy": "numpy<2",
    "scipy": "scipy",
    "torch": "torch",
    "torchvision": "torchvision",
    "numba": "numba",
    "cupy": "cupy-cuda12x",
    "cuda.cudart": "cuda-python<13",
    "OpenGL": "PyOpenGL",
    "pyrender": "arcade-pyrender",
    "pyvista": "pyvista",
    "vtk": "vtk",
    "open3d": "open3d",
    "trimesh": "trimesh",
    "killeengeo": "killeengeo",
    "nibabel": "nibabel",
    "nrrd": "pynrrd",
    "pydicom": "pydicom",
    "skimage": "scikit-image",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
    "pandas": "pandas",
    "rich": "rich",
    "tqdm": "tqdm",
    "strenum": "strenum",
    "pyparsing": "pyparsing",
    "deepdrr": "deepdrr==1.2.2",
}
VERSION = "1.2.2"
BASE, MARKER = "air", "bone"  # two materials of well separated attenuation at MONO_KEV
MONO_KEV = 60.0


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    here = Path(__file__).resolve().parent  # its file names must not hide packages
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != here]
    if arguments == ["check"]:
        sys.stdout.write(json.dumps(check()))
        return 0
    _, request, response = arguments
    try:
        project(request, response)
    except ImportError as error:
        missing = ", ".join(missing_modules()) or "nothing that drrval knows of"
        sys.stderr.write(f"cannot import DeepDRR ({error}); missing here: {missing}\n")
        return 1
    return 0


def check() -> dict[str, Any]:
    """Version of Python and packages, missing modules with the package of each, and other problems."""
    missing = missing_modules()
    problems = [problem for problem in (numpy_problem(), nvcc_problem(), egl_problem(), version_problem()) if problem]
    if not missing:
        problems += import_problems()
    names = {package.partition("<")[0].partition("=")[0] for package in MODULES.values()}
    versions = {name: version for name in sorted(names) if (version := installed(name))}
    return {"python": platform.python_version(), "versions": versions, "missing": missing, "problems": problems}


def missing_modules() -> dict[str, str]:
    """Modules that cannot be found here, and the package of each."""
    return {module: package for module, package in MODULES.items() if not found(module)}


def found(module: str) -> bool:
    """Whether a module can be found; its parents are imported, the module itself is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def installed(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def numpy_problem() -> str | None:
    """DeepDRR needs numpy below 2."""
    version = installed("numpy")
    if version and int(version.partition(".")[0]) >= 2:
        return f"numpy {version} is installed, and DeepDRR needs numpy<2"
    return None


def version_problem() -> str | None:
    """The affine that drrval hands over fits one version of DeepDRR."""
    version = installed("deepdrr")
    if version and version != VERSION:
        return f"deepdrr {version} is installed, and drrval drives {VERSION}"
    return None


def nvcc_problem() -> str | None:
    """DeepDRR compiles its kernels with nvcc, which CuPy looks for in these places."""
    toolkit = os.environ.get("CUDA_PATH", "/usr/local/cuda")
    if os.environ.get("NVCC") or shutil.which("nvcc") or (Path(toolkit) / "bin" / "nvcc").exists():
        return None
    return "nvcc was not found: install the CUDA toolkit and put its bin folder on PATH"


def egl_problem() -> str | None:
    """DeepDRR opens an EGL context."""
    return None if ctypes.util.find_library("EGL") else "libEGL was not found: install libegl1"


def import_problems() -> list[str]:
    """What goes wrong when DeepDRR is imported and a GPU is asked for."""
    try:
        importlib.import_module("deepdrr")
        devices = importlib.import_module("cupy").cuda.runtime.getDeviceCount()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return [] if devices else ["CuPy sees no GPU"]


def project(request_path: str, response_path: str) -> None:
    """Read a request, project it, and write the signal and the area densities."""
    if problem := version_problem():
        raise RuntimeError(problem)
    deepdrr, np = importlib.import_module("deepdrr"), importlib.import_module("numpy")
    request = dict(np.load(request_path))
    signal = exposure(deepdrr, np, request)
    materials = [str(name) for name in request["materials"]]
    area_density = np.stack(area_densities(np, signal, materials))
    spectra = importlib.import_module("deepdrr.projector.spectral_data").spectrums
    polychromatic = signal(spectra[str(request["spectrum"])], materials)
    np.savez(response_path, signal=polychromatic.astype(np.float32), area_density=area_density.astype(np.float32))


def exposure(deepdrr: Any, np: Any, request: dict[str, Any]) -> Callable[[Any, list[str]], Any]:
    """The function that projects the volume of a request with a spectrum and a material for each label.

    It takes a spectrum, ``[energy, (eV, photons)]``, and one material name per label, and returns the energy behind the
    volume over that of the open beam, float64 ``[row, col]``.
    """
    geo = deepdrr.geo
    rows, columns = (int(n) for n in request["detector_shape"])
    intrinsic = geo.CameraIntrinsicTransform(request["intrinsic"], sensor_height=rows, sensor_width=columns)
    camera = geo.CameraProjection(intrinsic, geo.FrameTransform(request["extrinsic"]))
    density, labels = (request[name].transpose(2, 1, 0) for name in ("density", "labels"))  # DeepDRR's are [x, y, z]

    def signal(spectrum: Any, materials: list[str]) -> Any:
        names = sorted(set(materials))
        index_of_label = np.array([names.index(name) for name in materials])
        volume = deepdrr.Volume(
            density,
            ({name: index for index, name in enumerate(names)}, index_of_label[labels]),
            anatomical_from_IJK=geo.FrameTransform(request["world_from_index"]),
            anatomical_coordinate_system="LPS",
        )
        with deepdrr.Projector(
            volume,
            camera_intrinsics=intrinsic,
            source_to_detector_distance=float(request["sid_mm"]),
            step=float(request["step_mm"]),
            spectrum=spectrum,
            neglog=False,
            add_noise=False,
            scatter_num=0,
        ) as projector:
            intensity = np.asarray(projector.project(camera), dtype=float)  # mean energy of a photon, keV
        return intensity / (np.average(spectrum[:, 0], weights=spectrum[:, 1]) / 1000.0)

    return signal


def area_densities(np: Any, signal: Callable[[Any, list[str]], Any], materials: list[str]) -> list[Any]:
    """Area density of each material, g/cm2, from projections with one photon energy.

    With all labels as one material the optical depth is ``mu_base * sum(A)``; with label m as another material it is
    ``mu_base * sum(A) + (mu_marker - mu_base) * A_m``.
    """
    spectrum = np.array([[MONO_KEV * 1000.0, 1.0]])
    coefficients = importlib.import_module("deepdrr.material").Material.from_string
    base, marker = (coefficients(name).get_coefficients(MONO_KEV).mu_over_rho for name in (BASE, MARKER))
    all_base = -np.log(signal(spectrum, [BASE] * len(materials)))
    others = []
    for material in materials[1:]:
        marked = -np.log(signal(spectrum, [MARKER if name == material else BASE for name in materials]))
        others.append((marked - all_base) / (marker - base))
    return [all_base / base - sum(others), *others]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
