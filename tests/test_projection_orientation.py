"""Which way round a radiograph is, for every view, every storage order of the voxels and every oblique direction.

The phantom is a sum of Gaussian blobs at known places in the patient. Their exact image follows from the blobs' world
positions and the view alone, so a volume that is read or projected the wrong way round cannot match it.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from analytic_shapes import ALIGNED, ANY_POSE, IDENTITY
from scipy.spatial.transform import Rotation

from drrval.body import find_body
from drrval.geometry import VIEWS, Geometry, view_geometry
from drrval.intake import check_ct
from drrval.phantom import Anatomy, Label, Protocol, acquire, make_thorax
from drrval.positioning import chest_centre
from drrval.projection import DensityModel, project, project_labels
from drrval.volume import Grid
from validation.shapes import GaussianBlob, blob_integrals_cm, blob_means, centred_grid, relative_rms

# Density of each blob at its peak. No permutation or reflection of the axes maps the phantom onto itself.
BLOBS = {
    GaussianBlob((10.0, -8.0, 4.0), 27.0): 1.3,
    GaussianBlob((-62.0, -30.0, 48.0), 13.0): 2.2,  # right, front, head
    GaussianBlob((58.0, 42.0, 10.0), 15.0): 1.4,  # left, back
    GaussianBlob((25.0, -50.0, -45.0), 12.0): 1.8,  # left, front, feet
}
SPACING = (5.0, 6.0, 7.0)
EXTENT = (240.0, 222.0, 217.0)
TO_DENSITY = DensityModel((), ((0.001, 1.0), (0.001, 1.0)))  # Hounsfield units to density, 1 for water
OBLIQUE = Rotation.from_euler("xyz", (12, -9, 7), degrees=True).as_matrix()
ORDERS = [
    np.eye(3)[:, axes] * signs
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
BLUR = 0.04  # at most so much do the voxels blur the phantom; any wrong order changes a view more than ten times that


def small_panel(view: str = "PA", **changes) -> Geometry:
    return view_geometry(view, **{"rows": 72, "columns": 80, "pixel_mm": 4.0, **changes})


def exact_image(geometry: Geometry) -> np.ndarray:
    return sum(weight * blob_integrals_cm(blob, geometry) for blob, weight in BLOBS.items())


def density_on(grid: Grid) -> np.ndarray:
    return sum(np.float32(weight) * blob_means(blob, grid) for blob, weight in BLOBS.items())


def stored(order: np.ndarray, tilt: np.ndarray) -> Grid:
    """The phantom's grid with its index axes permuted, flipped and tilted."""
    axes = np.abs(order).argmax(axis=0)
    return centred_grid(tuple(np.array(EXTENT)[axes]), tuple(np.array(SPACING)[axes].tolist()), tilt @ order)


def centroid(image: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(image.shape)
    return np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()


def width_px(image: np.ndarray) -> float:
    """Standard deviation of a shadow along the columns, pixels."""
    across = image.sum(axis=0)
    columns = np.arange(across.size)
    middle = (columns * across).sum() / across.sum()
    return float(np.sqrt(((columns - middle) ** 2 * across).sum() / across.sum()))


# A marker in a known place of the patient.

SIDES = {"right": (-60, 0, 0), "left": (60, 0, 0), "front": (0, -60, 0), "back": (0, 60, 0)}
ENDS = {"head": (0, 0, 60), "feet": (0, 0, -60)}


@pytest.fixture(scope="module")
def markers() -> dict[str, np.ndarray]:
    grid = centred_grid((200.0,) * 3, (4.0, 4.0, 4.0))
    return {name: blob_means(GaussianBlob(place, 8.0), grid) for name, place in {**SIDES, **ENDS}.items()}


@pytest.mark.parametrize("backend", ALIGNED)
@pytest.mark.parametrize("view", VIEWS)
def test_each_side_of_the_patient_is_where_a_radiologist_expects_it(view, backend, markers):
    grid = centred_grid((200.0,) * 3, (4.0, 4.0, 4.0))
    geometry = small_panel(view, rows=128, columns=128, pixel_mm=2.0)
    images = {name: project(m, grid, geometry, IDENTITY, backend=backend)[0] for name, m in markers.items()}
    place = {name: centroid(image) - 63.5 for name, image in images.items()}
    size = {name: width_px(image) for name, image in images.items()}
    assert place["head"][0] < -25 < 25 < place["feet"][0]
    across, depth = (("front", "back"), ("right", "left")) if view == "LL" else (("right", "left"), ("front", "back"))
    assert place[across[0]][1] < -25 < 25 < place[across[1]][1]
    for name in depth:
        np.testing.assert_allclose(place[name], 0, atol=0.05)
    # What is nearer to the source is shown larger: the back in PA, the front in AP, the right in a left lateral.
    near, far = depth[::-1] if view == "PA" else depth
    assert size[near] > 1.04 * size[far]


@pytest.mark.parametrize("backend", ALIGNED)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("turn", [None, ((0, 0, 1), 30), ((1, 0, 0), -12), ((1, 2, 3), 200)])
def test_landmarks_lie_where_the_image_shows_them(view, turn, backend):
    """Beads of one voxel, on the panel's own pixels."""
    if turn and backend == "separable":
        return
    grid = centred_grid((216.0, 210.0, 220.0), (3.0, 3.0, 2.5))
    geometry = view_geometry(view)
    if turn:
        geometry = geometry.rotated(*turn, (0, 0, 0))
    values = np.zeros(grid.shape, np.int16)
    beads = [(44, 10, 60), (80, 60, 20), (10, 45, 50)]
    for index in beads:
        values[index] = 3000
    image = project(values, grid, geometry, IDENTITY, backend=backend)[0]
    for index in beads:
        row, column = geometry.project_points(grid.index_to_world(index))
        r, c = round(row) - 20, round(column) - 20
        window = image[r : r + 41, c : c + 41]
        assert window.max() > 100
        np.testing.assert_allclose(centroid(window), (row - r, column - c), atol=0.25)


def test_the_heart_is_larger_in_ap_than_in_pa_by_its_magnification():
    thorax = make_thorax(Anatomy(), spacing_mm=3.0)
    scan = acquire(thorax.hu, thorax.grid, Protocol(slice_mm=3.0), seed=0)
    chest = chest_centre(scan, find_body(scan))
    heart = (thorax.labels == Label.HEART).astype(np.uint8)
    points = thorax.grid.index_to_world(np.argwhere(heart))
    borders = points[[points[:, 0].argmin(), points[:, 0].argmax()]]
    shown, predicted = {}, {}
    for view, sid_mm in (("PA", 1800), ("AP", 1100)):
        geometry = view_geometry(view, isocentre_mm=chest)
        assert geometry.sid_mm == pytest.approx(sid_mm)
        shadow = project_labels(heart, thorax.grid, geometry, 1)[0] > 0.3  # cm; leaves out the voxels' soft rim
        columns = np.flatnonzero(shadow.any(axis=0))
        shown[view] = columns[-1] - columns[0]
        predicted[view] = np.ptp(geometry.project_points(borders)[:, 1])
    assert shown["AP"] / shown["PA"] == pytest.approx(predicted["AP"] / predicted["PA"], rel=0.01)
    assert 1.10 < predicted["AP"] / predicted["PA"] < 1.20


# Every direction matrix.


def test_the_phantom_tells_all_48_orientations_apart():
    """Three views together leave none that could be mistaken for the right one."""
    grid = centred_grid((240.0,) * 3, (6.0,) * 3)
    density = density_on(grid)
    errors = []
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = np.ascontiguousarray(density.transpose(axes)[:: flips[0], :: flips[1], :: flips[2]])
            views = [small_panel(view) for view in VIEWS]
            images = [project(turned, grid, view, IDENTITY)[0] for view in views]
            errors.append([relative_rms(*pair) for pair in zip(images, map(exact_image, views), strict=True)])
    worst = np.sort(np.max(errors, axis=1))
    assert worst[0] < BLUR
    assert worst[1] > 10 * BLUR, worst[:4]


@pytest.mark.parametrize("tilt", [np.eye(3), OBLIQUE], ids=["aligned", "oblique"])
@pytest.mark.parametrize("view", VIEWS)
def test_the_projector_takes_all_48_directions(view, tilt):
    geometry = small_panel(view)
    truth = exact_image(geometry)
    upright = stored(np.eye(3), tilt)
    backends = ANY_POSE if tilt is OBLIQUE else ALIGNED
    expected = {b: project(density_on(upright), upright, geometry, IDENTITY, backend=b)[0] for b in backends}
    for order in ORDERS:
        grid = stored(order, tilt)
        density = density_on(grid)
        for backend in backends:
            image = project(density, grid, geometry, IDENTITY, backend=backend)[0]
            assert relative_rms(image, truth) < BLUR, (order, backend)
            assert relative_rms(image, expected[backend]) < 1e-5, (order, backend)


@pytest.mark.parametrize("tilt", [np.eye(3), OBLIQUE], ids=["aligned", "oblique"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_files_of_all_48_directions_give_the_radiograph_of_the_patient(tmp_path: Path, suffix, tilt):
    views = {view: small_panel(view) for view in VIEWS}
    truth = {view: exact_image(geometry) for view, geometry in views.items()}
    first: dict[str, np.ndarray] = {}
    for order in ORDERS:
        path = tmp_path / f"scan{suffix}"
        write_phantom(path, stored(order, tilt))
        ct, report = check_ct(path)
        assert ct is not None, report.findings
        for view, geometry in views.items():
            image = project(ct.hu, ct.grid, geometry, TO_DENSITY)[0]
            assert relative_rms(image, truth[view]) < BLUR, (order, view)
            assert relative_rms(image, first.setdefault(view, image)) < 1e-4, (order, view)


def write_phantom(path: Path, grid: Grid) -> None:
    """Write the phantom in Hounsfield units; ITK itself confirms where its voxels lie in the patient."""
    image = sitk.GetImageFromArray(np.rint(1000 * density_on(grid) - 1000).astype(np.int16))
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction.ravel().tolist())
    for index in ((0, 0, 0), (20, 0, 0), (0, 20, 0), (0, 0, 20)):
        point = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(grid.index_to_world(index), point, atol=1e-9)
    sitk.WriteImage(image, str(path))
