"""Making virtual scans: what comes out of a recipe, and that it is always the same."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import box_thorax
from simulation_factory import NO_FINDINGS, write_real_scan

from drrval.disease import disease_truth
from drrval.intake import read_ct
from drrval.simulation import CourseSettings, RealScan, SimulateSettings, insert_cohort, simulate_cohort, truth_row
from drrval.simulation.real_ct import moved

SPACING = 6.0


@pytest.fixture(scope="module")
def recipe():
    """A severe patient near the peak of the disease, with an effusion."""
    given = {"patients": 1, "timepoints": 3, "seed": 2, "spacing_mm": SPACING, "severity": {"severe": 1}}
    found = simulate_cohort(SimulateSettings.model_validate({**given, "confounders": {**NO_FINDINGS, "effusion": 1}}))
    return min(found, key=lambda scan: abs(scan.day - 10))


@pytest.fixture(scope="module")
def scan(recipe):
    return recipe.make()


def test_truth_is_what_the_label_maps_hold(scan):
    voxel_cm3 = scan.volume.grid.voxel_volume_cm3
    assert scan.truth["lesion_cm3"] == pytest.approx((scan.lesions > 0).sum() * voxel_cm3, rel=1e-12)
    assert scan.truth["lung_cm3"] == pytest.approx((scan.lungs > 0).sum() * voxel_cm3, rel=1e-12)
    assert scan.truth.items() >= disease_truth(scan.lungs, scan.lesions, voxel_cm3, lobes=scan.lobes).items()
    assert scan.truth["ratio_percent"] > 10
    assert scan.truth["mean_rise_hu"] > 50


def test_label_maps_fit_the_ct_and_each_other(scan):
    shapes = {a.shape for a in (scan.volume.hu, scan.lungs, scan.lesions, scan.lobes, scan.organs)}
    assert shapes == {scan.volume.grid.shape}
    assert not scan.lesions[scan.lungs == 0].any()
    np.testing.assert_array_equal(scan.lobes > 0, scan.lungs > 0)
    x = scan.volume.grid.index_to_world(np.argwhere(scan.lungs == 1))[:, 0].mean()
    assert x < scan.volume.grid.index_to_world(np.argwhere(scan.lungs == 2))[:, 0].mean()


def test_same_recipe_gives_the_same_bytes(recipe, scan):
    again = pickle.loads(pickle.dumps(recipe)).make()
    for name in ("lungs", "lesions", "lobes", "organs"):
        assert getattr(again, name).tobytes() == getattr(scan, name).tobytes()
    assert again.volume.hu.tobytes() == scan.volume.hu.tobytes()
    assert again.truth == scan.truth
    assert again.volume.name == scan.volume.name == f"virtual subject 01, session {recipe.session}"


def test_effusion_is_not_lung_and_not_disease(recipe, scan):
    bare = replace(recipe, patient=replace(recipe.patient, confounders=())).make()
    assert bare.truth["lung_cm3"] > scan.truth["lung_cm3"] + 50
    gone = (bare.lungs > 0) & (scan.lungs == 0)
    assert not scan.lesions[gone].any()


def test_table_row_has_no_nan(recipe, scan):
    healthy = replace(scan, truth={**scan.truth, "mean_rise_hu": float("nan")})
    row = truth_row(recipe, healthy)
    assert row["mean_rise_hu"] is None
    assert (row["subject"], row["session"], row["day"]) == ("01", recipe.session, recipe.day)
    assert (row["severity"], row["confounders"]) == ("severe", "effusion")


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    return write_real_scan(tmp_path_factory.mktemp("real")).parent


def real_cohort(real: Path, **values: object):
    course = {"timepoints": 2, "seed": 1, "severity": {"moderate": 1}, **values}
    scans = [RealScan("p", real / "ct.nii.gz", lungs=real / "ct_lungs.nii.gz")]
    return insert_cohort(CourseSettings.model_validate({**course, "confounders": NO_FINDINGS}), scans)


def test_real_ct_changes_only_where_disease_is(real):
    recipe = real_cohort(real, nuisance=False)[1]
    scan = recipe.make()
    changed = scan.volume.hu != read_ct(real / "ct.nii.gz").hu
    assert scan.truth["lesion_cm3"] > 0
    assert changed[scan.lesions > 0].mean() > 0.8
    assert not changed[~beside(scan.lungs)].any()


def beside(lungs):
    """The lungs and the voxels next to them in the axial plane."""
    wide = np.zeros(lungs.shape, bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            wide |= np.roll(lungs > 0, (dy, dx), axis=(1, 2))
    return wide


def test_real_ct_is_moved_between_scans_without_resampling(real):
    first, second = (r.make() for r in real_cohort(real))
    assert not np.allclose(first.volume.grid.direction, second.volume.grid.direction)
    outside = ~beside(first.lungs)
    np.testing.assert_array_equal(first.volume.hu[outside], second.volume.hu[outside])
    np.testing.assert_array_equal(first.lungs, second.lungs)


def test_moving_is_a_rigid_motion_about_the_middle():
    grid = box_thorax().grid
    away = moved(grid, (0.0, 0.0, 90.0), (1.0, 2.0, 3.0))
    np.testing.assert_allclose(away.centre_mm, np.add(grid.centre_mm, [1, 2, 3]))
    np.testing.assert_allclose(away.direction @ [1, 0, 0], [0, 1, 0], atol=1e-12)  # left becomes back
    corners = np.array([[0, 0, 0], [59, 89, 99], [59, 0, 0]])
    spans = [np.linalg.norm(np.diff(g.index_to_world(corners), axis=0), axis=1) for g in (grid, away)]
    np.testing.assert_allclose(*spans)
