"""The scatter section: the Monte-Carlo reference against published numbers, and the fast estimate against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from drrval.geometry import Geometry, view_geometry
from drrval.physics.attenuation import compositions
from drrval.physics.montecarlo import Scene, simulate
from drrval.physics.scatter import grid_selectivity, open_scatter, scatter_signal, scattering_mass
from drrval.settings import ScatterSettings, SpectrumSettings
from drrval.volume import Grid
from validation.fit_scatter import selectivity
from validation.scatter_cases import BIN_MM, BINS, GRID_RATIOS, Case, real_ct, regions, slab, thorax

PHOTONS = 3_000_000
_BLOCK = 4  # bins per side over which errors are judged: 27 mm
_GRID = GRID_RATIOS.index(12.0)
_CTS = ("normal_001", "lidc_0314.nii.gz")
_SOFT_TISSUE = {
    "H": 0.105, "C": 0.256, "N": 0.027, "O": 0.602, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.002, "K": 0.002,
}  # fmt: skip
_TG195 = (("whole slab", 33171.4), ("cube 1", 72.858791), ("cube 2", 53.345097), ("cube 3, centre", 36.667360),
          ("cube 4", 23.832066), ("cube 5", 14.595186))  # fmt: skip

Arrays = dict[str, npt.NDArray[np.float64]]


def report(images: Path) -> str:
    """Measure, draw ``scatter.png``, and return the tables as Markdown."""
    runs = [(case, case.simulated(PHOTONS, seed=500 + i)) for i, case in enumerate(_cases())]
    _draw(images / "scatter.png", runs)
    return "\n\n".join(
        [
            "### Reference against AAPM Report 195\n\n" + _absorbed_energy(),
            "### Reference against the projector\n\n" + _primary(runs),
            "### Anti-scatter grid\n\n" + _grids(runs),
            "### Estimate against the reference\n\n" + _errors(runs),
            "### Scatter by region\n\n" + _regions(runs),
            "![Scatter of the reference and of the estimate](images/validation/scatter.png)",
            f"One view of 1024 x 1024 pixels takes the estimate {_milliseconds():.0f} ms on this machine.",
        ]
    )


def _cases() -> Iterator[Case]:
    """Phantoms that the fit has not seen, a slab, and real CTs where the development data is there."""
    for view in ("PA", "AP", "LL"):
        yield thorax(101, view)
    yield thorax(102, "PA")
    yield thorax(104, "PA", kvp=80.0)
    yield slab(200.0)
    data = Path(os.environ.get("DRRVAL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ct"
    for name in _CTS:
        if (data / name).exists():
            for view in ("PA", "AP"):
                yield real_ct(data / name, view)


def _absorbed_energy() -> str:
    """Case 2 of AAPM Report 195: a slab of soft tissue, 56.4 keV, energy absorbed per photon."""
    labels, density = np.zeros((350, 26, 26), np.uint8), np.full((350, 26, 26), 0.001205, np.float32)
    labels[310:], density[310:] = 1, 1.03
    for cube in range(5):
        middle = 318 + 6 * cube
        labels[middle - 3 : middle + 3, 12:14, 12:14] = 2 + cube
    grid = Grid(labels.shape, (15.0, 15.0, 5.0), (-187.5, -187.5, 2.5))
    panel = Geometry("PA", (0, 0, 0), (0, 0, 1800), (1, 0, 0), (0, 1, 0), (13, 13), 30.0)
    scene = Scene(labels, density, grid, (compositions()["air"], *[_SOFT_TISSUE] * 6))
    result = simulate(scene, panel, ([56.4], [1.0]), photons=PHOTONS)
    deposited, error = (1000.0 * np.array(v) for v in (result.energy["deposited"], result.deposited_error))
    ours = [deposited[1:].sum(), *deposited[2:]]
    errors = [float(np.hypot.reduce(error[1:])), *error[2:]]
    rows = [
        f"| {name} | {value:.1f} | {own:.1f} | {e:.1f} | {100 * (own / value - 1):+.1f} % |"
        for (name, value), own, e in zip(_TG195, ours, errors, strict=True)
    ]
    return "\n".join(
        [f"{PHOTONS:.0e} photons.", "", "| | AAPM, eV/photon | ours | standard error | difference |",
         "|---|---|---|---|---|", *rows]
    )  # fmt: skip


def _primary(runs: list[tuple[Case, Arrays]]) -> str:
    rows = []
    for case, run in runs:
        body = run["area_density"].sum(axis=0) > 5.0
        expected, found = (run[key][body] for key in ("primary", "simulated_primary"))
        rows.append(f"| {case.name} | {100 * (found.sum() / expected.sum() - 1):+.2f} % |")
    return "\n".join(["| view | simulated over analytic primary behind the body |", "|---|---|", *rows])


def _grids(runs: list[tuple[Case, Arrays]]) -> str:
    """Transmission behind the body (more than 5 g/cm2) in frontal views at 120 kV, and the selectivity by region."""
    frontal = [(case, run) for case, run in runs if case.kvp == 120.0 and _is_frontal(case)]
    body = [run["area_density"].sum(axis=0) > 5.0 for _, run in frontal]
    rows = []
    for i, ratio in enumerate(GRID_RATIOS):
        passed = [
            np.mean(
                [r["behind_grids"][i, k][b].sum() / r[key][b].sum() for (_, r), b in zip(frontal, body, strict=True)]
            )
            for k, key in enumerate(("simulated_primary", "scatter"))
        ]
        by_region = [
            f"{np.mean([selectivity(run, _regions_of(case)[name])[i] for case, run in frontal]):.2f}"
            for name in ("lung", "heart and mediastinum", "below the diaphragm")
        ]
        rows.append(f"| {ratio:g}:1 | {passed[0]:.3f} | {passed[1]:.3f} | {' | '.join(by_region)} |")
    head = "| ratio | primary transmission | scatter transmission | selectivity: lung | heart | below the diaphragm |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _errors(runs: list[tuple[Case, Arrays]]) -> str:
    rows = []
    for case, run in runs:
        estimated = _estimate(case, run)
        noise = float(np.mean(run["error"] ** 2)) / _BLOCK**2
        square = float(np.mean((_blocks(estimated) - _blocks(run["scatter"])) ** 2))
        mean = run["scatter"].mean()
        rows.append(
            f"| {case.name} | {100 * np.sqrt(max(square - noise, 0.0)) / mean:.1f} % | "
            f"{100 * (estimated.mean() / mean - 1):+.1f} % | {100 * np.sqrt(noise) / mean:.1f} % |"
        )
    return "\n".join(
        ["RMS over areas of 27 mm, relative to the mean scatter; the noise of the reference is taken out.", "",
         "| view | RMS error | error of the mean | noise of the reference |", "|---|---|---|---|", *rows]
    )  # fmt: skip


def _regions(runs: list[tuple[Case, Arrays]]) -> str:
    rows = []
    for case, run in runs:
        if not _is_frontal(case):
            continue
        estimated = _estimate(case, run)
        for name, where in _regions_of(case).items():
            primary = run["primary"][where].mean()
            ratio = [image[where].mean() / primary for image in (run["scatter"], estimated)]
            behind = run["behind_grids"][_GRID][:, where].mean(axis=1)
            passed = grid_selectivity(scattering_mass(run["area_density"]), case.body_mm, 12.0, case.kvp)
            with_grid = [behind[1] / behind[0], (estimated / passed)[where].mean() / primary]
            fraction = [r / (1.0 + r) for r in (ratio[0], with_grid[0])]
            rows.append(
                f"| {case.name} | {name} | {ratio[0]:.2f} | {ratio[1]:.2f} | {fraction[0]:.2f} | {with_grid[0]:.2f} | "
                f"{with_grid[1]:.2f} | {fraction[1]:.2f} |"
            )
    return "\n".join(
        ["SPR: scatter over primary; SF: scatter over all, of the reference.", "",
         "| view | region | SPR, reference | SPR, estimate | SF | 12:1 grid: SPR, reference | SPR, estimate | SF |",
         "|---|---|---|---|---|---|---|---|", *rows]
    )  # fmt: skip


def _regions_of(case: Case) -> dict[str, npt.NDArray[np.bool_]]:
    return {} if case.lung_cm is None else regions(case.lung_cm)


def _is_frontal(case: Case) -> bool:
    return case.lung_cm is not None and case.geometry.view in ("PA", "AP")


def _estimate(case: Case, run: Arrays) -> npt.NDArray[np.float64]:
    return open_scatter(run["primary"], scattering_mass(run["area_density"]), case.distances)


def _blocks(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    n = BINS // _BLOCK
    return np.asarray(image.reshape(n, _BLOCK, n, _BLOCK).mean(axis=(1, 3)))


def _milliseconds() -> float:
    geometry = view_geometry("PA")
    area_density = np.full((3, *geometry.shape), 5.0, np.float32)
    primary, field = np.full(geometry.shape, 0.1), np.ones(geometry.shape, bool)
    times = []
    for _ in range(7):
        start = perf_counter()
        scatter_signal(area_density, primary, field, geometry, scatter=ScatterSettings(), spectrum=SpectrumSettings())
        times.append(1000.0 * (perf_counter() - start))
    return float(np.median(times))


def _draw(path: Path, runs: list[tuple[Case, Arrays]]) -> None:
    """Primary, both scatter images, and their profiles through the middle, for the first and the last view."""
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.4), layout="constrained")
    for line, (case, run) in zip(axes, (runs[0], runs[-1]), strict=True):
        estimated = _estimate(case, run)
        top = float(run["scatter"].max())
        shown = (("primary", -np.log(run["primary"]), None), ("scatter, reference", run["scatter"], top),
                 ("scatter, estimate", estimated, top))  # fmt: skip
        for axis, (title, image, limit) in zip(line, shown, strict=False):
            axis.imshow(image, cmap="gray", vmin=0.0, vmax=limit)
            axis.set_title(f"{case.name}\n{title}", fontsize=9)
            axis.set_axis_off()
        middle = slice(BINS // 2 - 2, BINS // 2 + 2)
        position_mm = (np.arange(BINS) - BINS / 2 + 0.5) * BIN_MM
        for label, image in (("primary", run["primary"]), ("reference", run["scatter"]), ("estimate", estimated)):
            line[3].plot(position_mm, image[middle].mean(axis=0), label=label)
        line[3].set(xlabel="mm", ylabel="signal / open beam", yscale="log")
        line[3].legend(fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)
