"""The projector against exact line integrals: errors, orders, materials, agreement of backends, landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from drrval.geometry import VIEWS, Geometry, view_geometry
from drrval.materials import density_model
from drrval.phantom import Protocol, acquire, make_thorax, random_anatomy
from drrval.projection import CPU_BACKENDS, DensityModel, project
from drrval.volume import Grid
from validation.blur import Transfer, band_limit, ellipsoid_error, voxel_and_tent, voxel_only
from validation.joseph import plane_sums
from validation.markdown import table
from validation.nested_spheres import nested_images
from validation.projector_cases import BLOB, CASES, CENTRE, SLAB, SPHERE, Case, exact, images
from validation.shapes import Array, Ellipsoid, Point, centred_grid, chords_cm, rays, relative_rms

SIZES_MM = (4.0, 2.0, 1.0)
FINE_MM = 0.5  # of the sphere alone: 0.7 GB of voxels
IDENTITY = DensityModel((), ((1.0, 0.0), (1.0, 0.0)))

BySize = dict[float, dict[str, Array]]  # voxel size -> backend -> image


def report(folder: Path) -> str:
    """Measure, draw ``projector-error.png`` into ``folder`` and return the section's Markdown."""
    measured = {case: {size: images(case, size) for size in SIZES_MM} for case in CASES}
    measured[SPHERE][FINE_MM] = images(SPHERE, FINE_MM)
    draw(folder / "projector-error.png", measured)
    return "\n\n".join(
        [
            _solids_table(measured),
            "![Error against voxel size, and the edge of a sphere's shadow](images/validation/projector-error.png)",
            _edge_table(measured[SPHERE][1.0]),
            _materials_table(),
            _agreement_table(),
            _landmark_table(),
        ]
    )


def _solids_table(measured: dict[Case, BySize]) -> str:
    rows = []
    for case, by_size in measured.items():
        truth = exact(case.solid, case.geometry())
        errors = {s: max(relative_rms(image, truth) for image in found.values()) for s, found in by_size.items()}
        core = _well_inside(case)
        inner = max(relative_rms(image[core], truth[core]) for image in by_size[1.0].values())
        spread = max(relative_rms(a, b) for a in by_size[1.0].values() for b in by_size[1.0].values())
        predicted = case.predicted(1.0)
        rows.append(
            [
                case.name,
                *(percent(errors[size]) if size in errors else "" for size in (*SIZES_MM, FINE_MM)),
                "" if predicted is None else percent(predicted),
                f"{order(list(errors), list(errors.values())):.2f}",
                percent(inner) if isinstance(case.solid, Ellipsoid) else "",
                f"{spread:.0e}" if len(by_size[1.0]) > 1 else "",
            ]
        )
    heads = ["object", *(f"{s:g} mm" for s in (*SIZES_MM, FINE_MM)), "predicted at 1 mm", "order", "inside at 1 mm"]
    return "Relative RMS error of the whole image, %, by voxel size (the worst backend):\n\n" + table(
        [*heads, "backends differ at 1 mm"], rows
    )


def _well_inside(case: Case) -> npt.NDArray[np.bool_]:
    """Pixels that look 6 mm inside the edge of an ellipsoid; all pixels for other objects."""
    if not isinstance(case.solid, Ellipsoid):
        return np.ones(case.geometry().shape, bool)
    x, y, z = (a - 6.0 for a in case.solid.semi_axes_mm)
    return chords_cm(Ellipsoid(case.solid.centre_mm, (x, y, z), case.solid.turn), case.geometry()) > 0


def _edge_table(by_backend: dict[str, Array]) -> str:
    grid, geometry = SPHERE.grid(1.0), SPHERE.geometry()
    ball = Ellipsoid(CENTRE, (130.0, 130.0, 130.0))
    transfers: dict[str, Transfer] = {
        "predicted, an ideal low-pass at the voxel grid's Nyquist frequency": band_limit,
        "predicted, mean over each voxel": voxel_only,
        "predicted, mean over each voxel and bilinear sampling": voxel_and_tent,
    }
    rows = [[n, percent(ellipsoid_error(ball, grid, geometry, t))] for n, t in transfers.items()]
    truth = exact(ball, geometry)
    rows += [[f"measured, `{name}`", percent(relative_rms(image, truth))] for name, image in by_backend.items()]
    return "Where the error of the 130 mm sphere at 1 mm comes from:\n\n" + table(["", "relative RMS, %"], rows)


def _materials_table() -> str:
    rows = []
    for size in (2.0, 1.0):
        images = nested_images(size, SPHERE.geometry())
        seen, exact_total = sum(images.classified.values()), sum(images.exact.values())
        rows.append(
            [f"{size:g} mm", "sum", percent(relative_rms(np.asarray(seen), np.asarray(exact_total))), "", "", ""]
        )
        for name, parted in images.parted.items():
            seen, truth = images.classified[name], images.exact[name]
            of_classification = relative_rms(seen - parted + truth, truth)
            rows.append(
                [
                    f"{size:g} mm",
                    name,
                    *(percent(e) for e in (relative_rms(seen, truth), relative_rms(parted, truth), of_classification)),
                    percent(seen.sum() / truth.sum() - 1),
                ]
            )
    heads = ["voxels", "material", "error", "of it projection", "of it classification", "mass"]
    return "Bone sphere of 60 mm radius in a soft-tissue sphere of 130 mm, relative RMS, %:\n\n" + table(heads, rows)


def _agreement_table() -> str:
    thorax = make_thorax(random_anatomy(5), spacing_mm=4.0)
    scan = acquire(thorax.hu, thorax.grid, Protocol(slice_mm=4.0), seed=0)
    hu, centre, model = np.rint(scan.hu).astype(np.int16), scan.grid.centre_mm, density_model()
    upright = view_geometry(isocentre_mm=centre, rows=128, columns=128, pixel_mm=3.36)
    poses: dict[str, tuple[Point, float]] = {
        "PA": ((0, 0, 1), 0.0),
        "PA tilted 8 degrees": ((1, 0, 0), 8.0),
        "oblique 30 degrees": ((0, 0, 1), 30.0),
        "oblique 45 degrees": ((0, 0, 1), 45.0),
        "turned 20 degrees about (1, 2, 3)": ((1, 2, 3), 20.0),
    }
    rows = []
    for name, (axis, degrees) in poses.items():
        geometry = upright.rotated(axis, degrees, centre) if degrees else upright
        expected = plane_sums(hu, scan.grid, geometry, model)
        for backend in (b for b in CPU_BACKENDS if b != "auto" and not (degrees and b == "separable")):
            found = project(hu, scan.grid, geometry, model, backend=backend)
            pairs = [*zip(found, expected, strict=True), (found.sum(axis=0), expected.sum(axis=0))]
            rows.append([name, f"`{backend}`", *(f"{relative_rms(*pair):.1e}" for pair in pairs)])
    heads = ["pose", "backend", "air", "soft tissue", "bone", "sum"]
    return (
        "Thorax phantom of 4 mm voxels against the same sum written with SciPy in float64, relative RMS "
        "difference:\n\n" + table(heads, rows)
    )


def _landmark_table() -> str:
    rows = []
    grid = centred_grid((240.0, 200.0, 260.0), (2.0, 2.0, 2.5))
    beads = np.random.default_rng(3).integers(8, np.array(grid.shape) - 8, (12, 3))
    for view in VIEWS:
        for name, geometry in (
            (view, view_geometry(view)),
            (f"{view}, turned 20 degrees about (1, 2, 3)", view_geometry(view).rotated((1, 2, 3), 20, (0, 0, 0))),
        ):
            rows.append([name, f"{max(_bead_distance(tuple(bead), grid, geometry) for bead in beads):.3f}"])
    return "Largest distance of a bead's image (centroid) from its projected position, pixels of 0.42 mm:\n\n" + table(
        ["view", "12 beads"], rows
    )


def _bead_distance(bead: tuple[int, ...], grid: Grid, geometry: Geometry) -> float:
    values = np.zeros(grid.shape, np.int16)
    values[bead] = 3000
    image = project(values, grid, geometry, IDENTITY)[0].astype(float)
    rows, columns = np.indices(image.shape)
    shown = np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()
    return float(np.linalg.norm(shown - geometry.project_points(grid.index_to_world(bead))))


def draw(path: Path, measured: dict[Case, BySize]) -> None:
    """Two panels: error against voxel size with the prediction, and the edge of the sphere's shadow."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for case, mark in ((SPHERE, "o"), (SLAB, "s"), (BLOB, "^")):
            truth, sizes = exact(case.solid, case.geometry()), list(measured[case])
            errors = [100 * relative_rms(next(iter(found.values())), truth) for found in measured[case].values()]
            (line,) = left.loglog(sizes, errors, mark, label=case.name)
            predicted = [error for size in sizes if (error := case.predicted(size)) is not None]
            if predicted:
                left.loglog(sizes, 100 * np.array(predicted), "-", color=line.get_color())
        left.axhline(0.3, color="grey", linewidth=0.8, linestyle=":")
        left.set(xlabel="voxel size, mm", ylabel="relative RMS error, %", title="measured (marks), predicted (lines)")
        left.set_xticks([4, 2, 1, 0.5], ["4", "2", "1", "0.5"])
        left.minorticks_off()
        left.legend()
        distance = _from_edge()
        near = np.flatnonzero(np.abs(distance) < 8.0)
        near = near[np.argsort(distance[near])]
        for size in SIZES_MM:
            values = next(iter(measured[SPHERE][size].values())).ravel()[near]
            right.plot(distance[near], values, ".", markersize=1.5, label=f"{size:g} mm voxels")
        right.plot(distance[near], exact(SPHERE.solid, SPHERE.geometry()).ravel()[near], "k-", lw=0.8, label="exact")
        right.set(xlabel="mm from the edge, at the sphere", ylabel="path, cm", title="edge of the sphere's shadow")
        right.legend(markerscale=5)
        figure.savefig(path, dpi=120)


def _from_edge() -> Array:
    """How far each ray passes outside the sphere's surface (negative: inside), mm, flat."""
    geometry = SPHERE.geometry()
    ray = rays(geometry)
    offset = np.asarray(CENTRE) - np.asarray(geometry.source_mm)
    return np.asarray(np.linalg.norm(np.cross(ray, offset), axis=-1) / np.linalg.norm(ray, axis=-1) - 130.0).ravel()


def order(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """Slope of error against voxel size in a double-logarithmic plot."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def percent(value: float) -> str:
    """A share as per cent with three decimals."""
    return f"{100 * value:.3f}"
