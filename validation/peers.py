"""The projector against plastimatch and RTK, on real CT and on a sphere.

The peers run in the benchmark's environments (``benchmarks/environments.py``), on the same volume and views. Real scans
come from the folder that the variable ``DRRVAL_DATA`` names.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.transform import downscale_local_mean

from benchmarks.environments import MeasurementError, measured, peer_python
from benchmarks.scan import benchmark_geometry, centred, rounded, write_case
from drrval import __version__
from drrval.geometry import Geometry
from drrval.intake import read_ct
from drrval.materials import density_model, hu_to_density
from drrval.projection import DensityModel, project
from drrval.volume import CTVolume, Grid
from validation.markdown import table
from validation.shapes import Box, Ellipsoid, centred_grid, chords_cm, fractions, relative_rms

SCANS = {
    "LIDC-IDRI-0314, 1.0 x 1.0 x 1.25 mm": "ct/lidc_0314.nii.gz",
    "COVID-CT-MD P001, 0.75 x 0.75 x 2.0 mm": "ct/covid_P001",
    "COVID-CT-MD normal 001, 0.64 x 0.64 x 2.0 mm": "ct/normal_001",
}
PEERS = {"plastimatch": "plastimatch", "rtk": "RTK"}
VIEWS = ("PA", "oblique")
BLOCK = 8  # pixels; 3.4 mm on the panel
SPHERE = Ellipsoid((0.0, 0.0, 0.0), (130.0, 130.0, 130.0))
SPHERE_HU = 0.0
EMPTY_HU = -1100.0  # its density is zero

Image = npt.NDArray[Any]


@dataclass(frozen=True)
class Projected:
    """One scan and view, projected by every tool: area densities, g/cm2, ``[row, col]``.

    Attributes:
        geometry: the view.
        ours: materials summed.
        peers: by tool and version.
        inside: pixels whose rays keep clear of the first and last slice.
    """

    geometry: Geometry
    ours: Image
    peers: dict[str, Image]
    inside: npt.NDArray[np.bool_]


def report(_images: Path) -> str:
    """Markdown tables: differences on real scans, and the error of every tool on a sphere.

    Raises:
        MeasurementError: there are no scans, or a peer cannot be installed or run.
    """
    root = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        raise MeasurementError(f"there are no real scans in {root}; set DRRVAL_DATA")
    real = []
    for name, place in SCANS.items():
        ct = centred(read_ct(root / place))
        for scan, tools, remark in ((ct, tuple(PEERS), ""), (_in_empty_voxels(ct), ("rtk",), ", empty voxels around")):
            for view, result in projected(scan, tools).items():
                real += [[name, view, tool + remark, *_differences(result, tool)] for tool in result.peers]
    errors = {view: _sphere_errors(result) for view, result in projected(_sphere()).items()}
    sphere = [[tool, *(f"{errors[view][tool]:.3f}" for view in VIEWS)] for tool in errors["PA"]]
    heads = ["scan", "view", "tool", "all rays", "clear of the end slices", "averaged over 3.4 mm", "mean ratio"]
    return "\n\n".join(
        [
            f"Relative RMS difference of drrval {__version__} from each tool, %, on a panel of 1024 x 1024 pixels:",
            table(heads, real),
            "Relative RMS error of a sphere of 130 mm radius in 1 mm voxels against its exact chords, %:",
            table(["tool", *VIEWS], sphere),
        ]
    )


def projected(ct: CTVolume, tools: Sequence[str] = tuple(PEERS)) -> dict[str, Projected]:
    """A scan projected by all tools, by view."""
    values, model = rounded(ct), density_model()
    ends = np.zeros(values.shape, np.uint8)
    ends[[0, -1]] = 1
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_case(ct, Path(folder))
        for view in VIEWS:
            geometry = benchmark_geometry(view)
            touched = project(ends, ct.grid, geometry, DensityModel((), ((1.0, 0.0), (1.0, 0.0))))[0] > 0
            results[view] = Projected(
                geometry,
                project(values, ct.grid, geometry, model).sum(axis=0),
                dict(_peer_image(name, Path(folder), view) for name in tools),
                ~touched,
            )
    return results


def _peer_image(name: str, folder: Path, view: str) -> tuple[str, Image]:
    result = measured(f"benchmarks.peers.{name}", folder, view, python=peer_python(name))
    return f"{PEERS[name]} {result['version']}", np.load(folder / "image.npy")


def _differences(result: Projected, tool: str) -> list[str]:
    ours, peer = result.ours, result.peers[tool]
    blocks = [downscale_local_mean(image, (BLOCK, BLOCK)) for image in (ours, peer)]
    whole = downscale_local_mean(result.inside.astype(float), (BLOCK, BLOCK)) == 1
    columns = [
        relative_rms(ours, peer),
        relative_rms(ours[result.inside], peer[result.inside]),
        relative_rms(blocks[0][whole], blocks[1][whole]),
    ]
    ratio = ours[result.inside].sum(dtype=float) / peer[result.inside].sum(dtype=float)
    return [*(f"{100 * value:.3f}" for value in columns), f"{ratio:.5f}"]


def _in_empty_voxels(ct: CTVolume) -> CTVolume:
    """The scan in a layer of voxels without mass."""
    grid = ct.grid
    first = np.asarray(grid.origin_mm) - grid.spacing_mm
    nz, ny, nx = (n + 2 for n in grid.shape)
    wider = Grid((nz, ny, nx), grid.spacing_mm, (float(first[0]), float(first[1]), float(first[2])))
    hu = np.pad(ct.hu, 1, constant_values=EMPTY_HU)
    return CTVolume(hu, wider, np.pad(ct.scanned, 1), ct.name)


def _sphere() -> CTVolume:
    grid = centred_grid((300.0,) * 3, (1.0, 1.0, 1.0))
    hu = -1000.0 + (SPHERE_HU + 1000.0) * fractions(SPHERE, grid)
    return CTVolume(hu, grid, np.ones(grid.shape[1:], bool), "sphere")


def _sphere_errors(result: Projected) -> dict[str, float]:
    air, water = hu_to_density([-1000.0, SPHERE_HU])
    chord, array = (chords_cm(solid, result.geometry) for solid in (SPHERE, Box((0.0, 0.0, 0.0), (150.0,) * 3)))
    exact = water * chord + air * (array - chord)
    images = {f"drrval {__version__}": result.ours, **result.peers}
    return {tool: 100 * relative_rms(image, exact) for tool, image in images.items()}
