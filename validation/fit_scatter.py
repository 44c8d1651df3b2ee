"""Fit the scatter estimate to Monte-Carlo runs: ``python -m validation.fit_scatter FOLDER [--photons N]``.

Simulates every training view that FOLDER does not hold yet (about a minute each at 10 million photons), fits the
coefficients, and writes ``drrval/physics/scatter_fit.yaml``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy import ndimage
from scipy.optimize import minimize, nnls

from drrval.physics.scatter import Distances, distance_factor, mass_before, scatter_terms, scattering_mass
from validation.scatter_cases import GRID_RATIOS, Case, training

TARGET = Path(__file__).parents[1] / "drrval" / "physics" / "scatter_fit.yaml"
_WIDTHS = (0.15, 0.6, 1.2, 2.0)
_POWERS = (1.0, 2.0)
_FLOOR = 0.3  # weight of the image's mean beside the local scatter: both relative and absolute errors count
_MASS_CLASSES = (3.0, 8.0, 12.0, 16.0, 20.0, 25.0, 30.0, 40.0)  # g/cm2
_TYPICAL_MASS = 15.0
_LEAST_PIXELS = 60
_START = {"exit_depth_mm": 80.0, "distance_exponent": 0.5, "absorption_cm2_g": 0.05}
_STEPS = {"exit_depth_mm": -30.0, "distance_exponent": 0.3, "absorption_cm2_g": 0.03}


@dataclass(frozen=True)
class Result:
    """A simulated view: its distances and voltage, and what :meth:`validation.scatter_cases.Case.simulated` returns."""

    name: str
    distances: Distances
    kvp: float
    arrays: dict[str, npt.NDArray[np.float64]]

    @property
    def mass(self) -> npt.NDArray[np.float64]:
        """Mass per area of air and soft tissue, g/cm2, ``[row, col]``."""
        return scattering_mass(self.arrays["area_density"])


def results(cases: Iterable[Case], folder: Path, photons: int) -> Iterator[Result]:
    """Simulate what the folder does not hold yet, and read it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        file = folder / (re.sub(r"[^\w=.]+", "_", case.name) + ".npz")
        if not file.exists():
            np.savez_compressed(file, **case.simulated(photons, seed=number))  # type: ignore[arg-type]
        with np.load(file) as stored:
            arrays = {key: stored[key] for key in stored.files}
        yield Result(case.name, case.distances, case.kvp, arrays)


def fitted(runs: list[Result]) -> dict[str, Any]:
    """Coefficients in the form of ``scatter_fit.yaml``.

    The amplitudes by non-negative least squares, the three numbers that enter otherwise by a simplex search around it.
    """
    names = list(_START)
    start = np.array([_START[n] for n in names])
    simplex = np.vstack([start, start + np.diag([_STEPS[n] for n in names])])
    found = minimize(
        lambda values: _best_amplitudes(runs, _candidate(dict(zip(names, values, strict=True))))[1],
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 50, "xatol": 1e-3, "fatol": 1e-5},
    )
    best = _candidate({n: round(float(v), 4) for n, v in zip(names, found.x, strict=True)})
    amplitudes, _ = _best_amplitudes(runs, best)
    kept = [
        {**term, "amplitude": round(float(a), 5)} for term, a in zip(best["terms"], amplitudes, strict=True) if a > 1e-4
    ]
    return {**best, "terms": kept, "grid": _grid_table([run for run in runs if run.name.startswith("thorax")])}


def _candidate(values: dict[str, float]) -> dict[str, Any]:
    absorption = values["absorption_cm2_g"]
    terms = [
        {"width": width, "power": power, "absorption_cm2_g": a}
        for width in _WIDTHS
        for power in _POWERS
        for a in (0.0, absorption)
    ]
    shared = {n: v for n, v in values.items() if n != "absorption_cm2_g"}
    return {"unit_g_cm2": 20.0, **shared, "terms": terms}


def _best_amplitudes(runs: list[Result], fit: dict[str, Any]) -> tuple[npt.NDArray[np.float64], float]:
    """Amplitudes of the terms and the remaining mean square of the weighted error."""
    size = len(fit["terms"])
    normal, right, square, count = np.zeros((size, size)), np.zeros(size), 0.0, 0
    for run in runs:
        terms = scatter_terms(run.arrays["primary"], run.mass, run.distances, fit)
        smooth = ndimage.uniform_filter(run.arrays["scatter"], 5)
        weight = 1.0 / (_FLOOR * smooth.mean() + smooth)
        columns = (terms * (distance_factor(run.distances.body_mm, fit) * weight)).reshape(size, -1)
        wanted = (run.arrays["scatter"] * weight).ravel()
        normal += columns @ columns.T
        right += columns @ wanted
        square += float(wanted @ wanted)
        count += wanted.size
    amplitudes, _ = nnls(normal, right)
    return amplitudes, float(square - 2 * amplitudes @ right + amplitudes @ normal @ amplitudes) / count


def _grid_table(runs: list[Result]) -> dict[str, Any]:
    """Selectivity of the grids: a number per ratio and voltage, and per ratio its growth with mass and distance.

    Least squares of the logarithm over classes of mass within each view.
    """
    voltages = sorted({run.kvp for run in runs})
    rows, values, weights = [], [], []
    for run in runs:
        before = mass_before(run.mass, run.distances.pitch_mm)
        for low, high in pairwise(_MASS_CLASSES):
            where = (before >= low) & (before < high)
            if where.sum() < _LEAST_PIXELS:
                continue
            excess = before[where].mean() - _TYPICAL_MASS
            rows.append([*(run.kvp == v for v in voltages), excess, np.log(run.distances.body_mm / 170.0)])
            values.append(np.log(selectivity(run.arrays, where)))
            weights.append(np.sqrt(where.sum()))
    weight = np.array(weights)[:, None]
    found = np.linalg.lstsq(np.array(rows, dtype=float) * weight, np.array(values) * weight)[0]
    *typical, per_mass, distance = found
    return {
        "ratios": list(GRID_RATIOS),
        "kvp": voltages,
        "selectivity": [[round(float(v), 3) for v in np.exp(row)] for row in typical],
        "typical_g_cm2": _TYPICAL_MASS,
        "max_g_cm2": _MASS_CLASSES[-1],
        "per_g_cm2": [round(float(v), 5) for v in per_mass],
        "distance_exponent": [round(float(v), 4) for v in distance],
    }


def selectivity(arrays: dict[str, npt.NDArray[np.float64]], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Primary over scatter transmission of each grid in the pixels ``where``."""
    primary, scatter = (arrays[key][where].sum() for key in ("simulated_primary", "scatter"))
    behind = arrays["behind_grids"][:, :, where].sum(axis=2)
    return np.asarray((behind[:, 0] / primary) / (behind[:, 1] / scatter))


def main(arguments: list[str]) -> int:
    """Simulate, fit and write the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the simulated views are kept")
    parser.add_argument("--photons", type=int, default=4_000_000, help="photons per view")
    options = parser.parse_args(arguments)
    fit = fitted(list(results(training(), options.folder, options.photons)))
    header = "# Coefficients of drrval/physics/scatter.py, made by `python -m validation.fit_scatter`; do not edit.\n"
    TARGET.write_text(header + yaml.safe_dump(fit, sort_keys=False, default_flow_style=None), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
