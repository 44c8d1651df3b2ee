"""Findings that are not pneumonia: sizes, densities, and what they do to the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import box_thorax
from pydantic import ValidationError

from drrval.disease import Lesion, disease_truth, insert_disease
from drrval.disease.confounders import (
    CONFOUNDERS,
    FINDINGS,
    AtelectasisSettings,
    EffusionSettings,
    EmphysemaSettings,
    LeadSettings,
    NoduleSettings,
    TubeSettings,
    add_atelectasis,
    add_confounders,
    add_effusion,
    add_emphysema,
    add_leads,
    add_nodules,
    add_tubes,
)
from drrval.disease.confounders.paths import tube_cover
from drrval.errors import StudyError
from drrval.intake import read_ct
from drrval.study.config import ScorerSpec
from drrval.study.scorers import load_ct_scorer, score_ct
from drrval.volume import CTVolume, Grid

RIGHT, LEFT = 1, 2
Chest = tuple[np.ndarray, Grid, np.ndarray]


@pytest.fixture(scope="module")
def chest() -> Chest:
    """A plain chest without noise: HU, grid, lungs (the right one at low x)."""
    ct = box_thorax(spacing_mm=4.0)
    lungs = np.where(ct.hu == -850.0, RIGHT, 0).astype(np.uint8)
    lungs[:, :, 50:] *= LEFT
    return ct.hu, ct.grid, lungs


@pytest.fixture(scope="module")
def noisy(chest: Chest) -> Chest:
    hu, grid, lungs = chest
    return hu + np.random.default_rng(0).normal(0.0, 20.0, hu.shape).astype(np.float32), grid, lungs


def test_effusion_has_its_volume_at_the_back(chest: Chest) -> None:
    hu, grid, lungs = chest
    out = add_effusion(hu, grid, lungs, EffusionSettings(right_ml=600, left_ml=0, hu=8), seed=1)
    fluid = out.mask("effusion")
    assert fluid.sum() * grid.voxel_volume_cm3 == pytest.approx(600, abs=0.6 * grid.voxel_volume_cm3)
    assert (out.lungs[fluid] == 0).all()
    assert not fluid[:, :, 50:].any()
    _, rows, _ = np.nonzero(lungs == RIGHT)
    assert np.nonzero(fluid)[1].mean() > np.percentile(rows, 80)
    # The meniscus: the thin layer along the chest wall reaches farther to the front than the fluid's middle.
    middle = fluid[30]
    lateral, deep = (np.argmax(middle[:, c]) for c in (np.flatnonzero(middle.any(axis=0))[0], 31))
    assert lateral < deep
    core = fluid & (hu < -800) & np.roll(fluid, 2, axis=1)
    assert np.median(out.hu[core]) == pytest.approx(8.0, abs=0.5)


def test_effusion_keeps_the_mass_of_the_lung(chest: Chest) -> None:
    hu, grid, lungs = chest
    out = add_effusion(hu, grid, lungs, EffusionSettings(right_ml=0, left_ml=500, hu=0), seed=2)
    fluid = out.mask("effusion")
    lung = lungs == LEFT
    # Mass in voxels of water: all lung tissue is there still, and the fluid besides.
    gained = (out.hu - hu)[lung].sum() / 1000.0
    assert gained == pytest.approx((fluid & lung).sum(), rel=0.05)
    assert (out.lungs == LEFT).sum() == (lung & ~fluid).sum()
    assert out.mask("atelectasis").any()


def test_effusion_on_one_side_leaves_the_other_untouched(noisy: Chest) -> None:
    hu, grid, lungs = noisy
    out = add_effusion(hu, grid, lungs, EffusionSettings(right_ml=400, left_ml=0), seed=3)
    assert np.array_equal(out.hu[:, :, 52:], hu[:, :, 52:])
    assert np.array_equal(out.lungs == LEFT, lungs == LEFT)


def test_effusion_has_the_noise_of_the_scan(noisy: Chest) -> None:
    hu, grid, lungs = noisy
    out = add_effusion(hu, grid, lungs, EffusionSettings(right_ml=900, left_ml=0, hu=10), seed=4)
    deep = out.mask("effusion") & (lungs == RIGHT) & np.roll(out.mask("effusion"), 3, axis=1)
    assert out.hu[deep].mean() == pytest.approx(10.0, abs=4.0)
    assert out.hu[deep].std() == pytest.approx(20.0, rel=0.3)


def test_too_much_fluid_is_refused(chest: Chest) -> None:
    hu, grid, lungs = chest
    with pytest.raises(StudyError, match=r"2900 ml of left effusion, with room for 2094 ml .70 % of the lung"):
        add_effusion(hu, grid, lungs, EffusionSettings(left_ml=2900), seed=1)


def test_truth_after_an_effusion_counts_what_is_left(chest: Chest) -> None:
    hu, grid, lungs = chest
    lesions = [
        Lesion("right", (0.5, 1.0, 0.5), (50.0, 30.0, 50.0)),
        Lesion("left", (0.5, 0.2, 0.5), (20.0, 20.0, 20.0)),
    ]
    ill = insert_disease(hu, grid, lungs, lesions)
    out = add_confounders(ill.hu, grid, lungs, {"effusion": EffusionSettings(right_ml=500, left_ml=0)}, seed=1)
    kept = out.kept(ill.lesions)
    before, after = (disease_truth(a, b, grid.voxel_volume_cm3) for a, b in ((lungs, ill.lesions), (out.lungs, kept)))
    covered = (ill.lesions > 0) & (out.lungs == 0)
    assert covered.any()
    assert after["lesion_cm3"] == pytest.approx(before["lesion_cm3"] - covered.sum() * grid.voxel_volume_cm3)
    assert after["ratio_left_percent"] == before["ratio_left_percent"]
    assert np.array_equal(kept[out.lungs > 0], ill.lesions[out.lungs > 0])


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("solid", 5, 65), ("ground_glass", -690, -510), ("calcified", 240, 910)]
)
def test_nodule_has_its_size_and_density(chest: Chest, kind: str, low: float, high: float) -> None:
    hu, grid, lungs = chest
    settings = NoduleSettings(count=1, kind=kind, diameter_mm=26, side="left")  # type: ignore[arg-type]
    volumes, centres = [], []
    for seed in range(6):
        out = add_nodules(hu, grid, lungs, settings, seed)
        nodule = out.mask("nodules")
        assert (lungs[nodule] == LEFT).all()
        assert np.array_equal(out.lungs, lungs)
        changed = out.hu != hu
        assert (lungs[changed] == LEFT).all()
        volumes.append(nodule.sum() * grid.voxel_volume_cm3)
        centres.append(np.median(out.hu[nodule]))
    assert max(volumes) == pytest.approx(np.pi / 6 * 2.6**3, rel=0.25)  # less where the pleura cuts it
    assert low <= min(centres) <= max(centres) <= high


def test_nodule_stays_in_place_on_another_grid(chest: Chest) -> None:
    hu, grid, lungs = chest
    fine = box_thorax(spacing_mm=4.0)
    finer = [np.repeat(np.repeat(a, 2, axis=1), 2, axis=2) for a in (fine.hu, lungs)]
    other = Grid(finer[0].shape, (2.0, 2.0, 4.0), grid.origin_mm)  # type: ignore[arg-type]
    places = []
    for volume, where, mask in ((hu, grid, lungs), (finer[0], other, finer[1])):
        found = np.argwhere(
            add_nodules(volume, where, mask, NoduleSettings(count=1, diameter_mm=24), 5).mask("nodules")
        )
        places.append(found.mean(axis=0) * where.spacing_mm[::-1])
    assert np.linalg.norm(places[0] - places[1]) < 8.0


def test_atelectasis_is_thin_low_and_still_lung(chest: Chest) -> None:
    hu, grid, lungs = chest
    out = add_atelectasis(hu, grid, lungs, AtelectasisSettings(count=3, side="right"), seed=2)
    plates = out.mask("atelectasis")
    assert (lungs[plates] == RIGHT).all()
    assert np.array_equal(out.lungs, lungs)
    assert np.nonzero(plates)[0].max() < 35  # of the slices 5 to 54
    assert 0.3 < plates.sum() * grid.voxel_volume_cm3 < 60.0
    assert -850.0 < np.median(out.hu[plates]) <= 65.0
    assert (out.hu >= hu).all()


def test_emphysema_is_exact_and_mostly_upper(noisy: Chest) -> None:
    hu, grid, lungs = noisy
    out = add_emphysema(hu, grid, lungs, EmphysemaSettings(percent=20, bullae=0), seed=3)
    holes = out.mask("emphysema")
    for label in (RIGHT, LEFT):
        assert holes[lungs == label].mean() == pytest.approx(0.2, abs=0.002)
    assert holes[30:].sum() > 2 * holes[:30].sum()
    assert np.array_equal(out.lungs, lungs)
    outside = lungs == 0
    assert np.array_equal(out.hu[outside], hu[outside])
    low = 100.0 * (out.hu[lungs > 0] < -950.0).mean()
    assert low - 100.0 * (hu[lungs > 0] < -950.0).mean() == pytest.approx(18.0, abs=5.0)
    assert out.hu[holes & (out.hu > -1020)].std() > 10.0  # the noise is still there


def test_bullae_are_air_in_the_upper_lung(chest: Chest) -> None:
    hu, grid, lungs = chest
    out = add_emphysema(hu, grid, lungs, EmphysemaSettings(percent=0, bullae=3), seed=1)
    bullae = out.mask("emphysema")
    assert bullae.any()
    assert (lungs[bullae] > 0).all()
    assert np.nonzero(bullae)[0].mean() > 30
    assert out.hu[bullae].min() < -975.0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 3.0, 5.0)])
@pytest.mark.parametrize("diameter", [1.0, 9.0])
def test_tube_has_its_volume_on_any_grid(spacing: tuple[float, float, float], diameter: float) -> None:
    shape = tuple(int(90 / s) for s in reversed(spacing))
    grid = Grid(shape, spacing, (0.0, 0.0, 0.0))  # type: ignore[arg-type]
    box, cover = tube_cover([[20.0, 30.0, 15.0], [60.0, 55.0, 70.0]], diameter, grid)
    length = np.linalg.norm([40.0, 25.0, 55.0])
    ends = np.pi / 6 * diameter**3 if diameter > 5 else 0.0  # thick tubes are round at both ends
    volume = cover.sum() * np.prod(spacing)
    assert volume == pytest.approx(np.pi / 4 * diameter**2 * length + ends, rel=0.12)
    assert tube_cover([[200.0, 0.0, 0.0], [210.0, 0.0, 5.0]], 3.0, grid)[1].size == 0
    assert box[0].stop <= grid.shape[0]


@pytest.mark.parametrize("device", ["tracheal", "gastric", "central_line", "drain", "pacemaker"])
def test_devices_lie_in_the_chest(chest: Chest, device: str) -> None:
    hu, grid, lungs = chest
    out = add_tubes(hu, grid, lungs, TubeSettings(devices=(device,), drain_side="left"), seed=1)  # type: ignore[arg-type]
    there = out.mask("tubes")
    assert there.any()
    assert np.array_equal(out.lungs, np.where(there, 0, lungs))
    assert (out.hu != hu).sum() < 0.02 * hu.size
    columns = np.nonzero(there)[2]
    if device == "drain":
        assert columns.min() >= 50
        assert (there & (lungs == LEFT)).any()
    if device in ("tracheal", "gastric", "central_line"):
        assert 30 < columns.min() <= columns.max() < 75


def test_leads_lie_on_the_skin(chest: Chest) -> None:
    hu, grid, lungs = chest
    out = add_leads(hu, grid, lungs, LeadSettings(count=5), seed=1)
    leads = out.mask("leads")
    assert leads.any()
    assert np.array_equal(out.lungs, lungs)
    skin = np.argmax(hu > -400.0, axis=1)
    z, y, x = np.nonzero(leads)
    over_body = (hu > -400.0).any(axis=1)[z, x]
    assert np.abs(y - skin[z, x])[over_body].max() <= 2
    assert out.hu[leads].max() > 300.0


def test_all_together_are_the_same_again_in_any_order(noisy: Chest) -> None:
    hu, grid, lungs = noisy
    before = hu.copy()
    names = list(CONFOUNDERS)
    first = add_confounders(hu, grid, lungs, names, seed=9)
    again = add_confounders(hu, grid, lungs, names[::-1], seed=9)
    other = add_confounders(hu, grid, lungs, names, seed=10)
    assert np.array_equal(hu, before)
    for name in ("hu", "lungs", "findings"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert not np.array_equal(first.hu, other.hu)
    assert set(CONFOUNDERS) == set(FINDINGS)
    assert first.hu.dtype == np.float32
    assert ((first.lungs == lungs) | (first.lungs == 0)).all()
    assert not (first.mask("effusion") & (first.lungs > 0)).any()


def test_bad_input_is_explained(chest: Chest) -> None:
    hu, grid, lungs = chest
    with pytest.raises(StudyError, match=r"Unknown confounder \['oedema'\]\. Expected any of: emphysema"):
        add_confounders(hu, grid, lungs, ["oedema"], seed=0)
    with pytest.raises(StudyError, match=r"The lung map has no left lung\. Label the right"):
        add_nodules(hu, grid, np.where(lungs == LEFT, 0, lungs).astype(np.uint8))
    with pytest.raises(StudyError, match=r"CT of shape .* with lungs of shape"):
        add_nodules(hu, grid, lungs[1:])
    with pytest.raises(ValidationError):
        EffusionSettings(right_ml=-5)


@pytest.mark.data
@pytest.mark.parametrize("name", ["lowres_01", "lowres_03"])
def test_real_chests_take_every_finding(data_root: Path, name: str) -> None:
    ct = read_ct(data_root / "ct" / f"{name}.nii.gz")
    lungs = score_ct(load_ct_scorer(ScorerSpec(use="opacity")), ct).lungs
    out = add_confounders(ct.hu, ct.grid, lungs, list(CONFOUNDERS), seed=3)
    assert set(np.unique(out.findings)) == set(range(len(FINDINGS) + 1))
    assert CTVolume(out.hu, ct.grid, ct.scanned).hu.min() >= -1024.0
    assert ((out.lungs == lungs) | (out.lungs == 0)).all()
