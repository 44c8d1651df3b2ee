"""The shadow of the inserted disease: the projector against straight lines through the voxels of the label map."""

import numpy as np
import pytest
from numba import njit

from drrval.geometry import view_geometry
from drrval.projection import project_labels
from drrval.simulation import SimulateSettings, simulate_cohort

SPACING = 6.0
VIEW = {"rows": 170, "columns": 170, "pixel_mm": 2.5}


@pytest.fixture(scope="module")
def scan():
    given = {"patients": 1, "timepoints": 3, "seed": 2, "spacing_mm": SPACING, "severity": {"severe": 1}}
    recipes = simulate_cohort(SimulateSettings.model_validate({**given, "pattern": {"covid": 1}}))
    return min(recipes, key=lambda recipe: abs(recipe.day - 10)).make()


@njit(error_model="numpy")
def inside(boxes, half, source, rays):
    """Share of each ray from the source that lies in the boxes: each ray is cut with each box (slab method)."""
    share = np.zeros(len(rays))
    for r in range(len(rays)):
        for centre in boxes:
            enter, leave = 0.0, np.inf
            for k in range(3):
                a, b = (centre[k] - half[k] - source[k]) / rays[r, k], (centre[k] + half[k] - source[k]) / rays[r, k]
                enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
            share[r] += max(leave - enter, 0.0)
    return share


def shadow_cm(mask, grid, geometry):
    """Length of each pixel's ray inside the voxels of a mask, every voxel a box."""
    rows, columns = np.indices(geometry.shape)
    down, across = (
        ((place - (count - 1) / 2) * geometry.pixel_mm)[..., None] * np.asarray(axis)
        for place, count, axis in zip(
            (rows, columns), geometry.shape, (geometry.row_axis, geometry.column_axis), strict=True
        )
    )
    rays = (np.asarray(geometry.detector_centre_mm) - geometry.source_mm + down + across).reshape(-1, 3)
    boxes = grid.index_to_world(np.argwhere(mask))
    share = inside(boxes, np.asarray(grid.spacing_mm) / 2, np.asarray(geometry.source_mm), rays)
    return (share * np.linalg.norm(rays, axis=1) / 10).reshape(geometry.shape)


@pytest.mark.parametrize("view", ["PA", "LL"])
def test_projected_lesion_area_is_that_of_the_label_map(scan, view):
    """The projector interpolates between voxel centres, so lengths differ at edges; areas and the sum of all agree.

    Voxel faces are nearly parallel to the rays: with boxes the sum itself varies by 2 % with the size of the pixels.
    """
    grid = scan.volume.grid
    geometry = view_geometry(view, isocentre_mm=grid.centre_mm, **VIEW)
    lesion = scan.lesions > 0
    exact = shadow_cm(lesion, grid, geometry)
    projected = project_labels(lesion.astype(np.uint8), grid, geometry, 1)[0]
    assert projected.sum() == pytest.approx(exact.sum(), rel=0.02)
    for least_cm in (0.5, 1.0, 2.0):
        assert (projected >= least_cm).sum() == pytest.approx((exact >= least_cm).sum(), rel=0.05)
    reach = int(np.ceil(1.2 * SPACING / VIEW["pixel_mm"])) + 1
    steps = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    near = np.any([np.roll(exact > 0, step, axis=(0, 1)) for step in steps], axis=0)
    assert not projected[~near].any()  # nothing beyond one voxel off the exact outline


@pytest.mark.parametrize("side", [1, 2])
def test_disease_of_one_lung_casts_its_shadow_within_that_lungs(scan, side):
    grid = scan.volume.grid
    geometry = view_geometry("PA", isocentre_mm=grid.centre_mm, **VIEW)
    lungs = project_labels(scan.lungs, grid, geometry, 2)
    one = ((scan.lungs == side) & (scan.lesions > 0)).astype(np.uint8)
    shadow = project_labels(one, grid, geometry, 1)[0] > 1e-4
    assert shadow.any()
    assert (lungs[side - 1][shadow] > 0).all()
