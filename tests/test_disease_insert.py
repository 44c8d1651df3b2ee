"""Inserted disease: exact truth, untouched healthy voxels, vessels, airways, noise, density."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ct_models.lungs import segment_lungs
from drrval.disease import KINDS, Inserted, Lesion, Pattern, disease_truth, draw_lesions, fit_extent, insert_disease
from drrval.disease.lung_air import air_fraction, bronchi, denoise, noise_level
from drrval.errors import StudyError
from drrval.intake import read_ct
from drrval.volume import CTVolume, Grid

RIGHT, LEFT = 1, 2
LUNG_HU, TISSUE_HU = -850.0, 40.0
GRID = Grid((60, 70, 100), (2.0, 2.0, 2.0), (-99.0, -69.0, -59.0))
VOXEL_CM3 = 0.008


def box_chest() -> tuple[np.ndarray, np.ndarray]:
    """Two box lungs in soft tissue, Hounsfield units and lung labels."""
    lungs = np.zeros(GRID.shape, np.uint8)
    lungs[5:55, 8:62, 6:46] = RIGHT
    lungs[5:55, 8:62, 54:94] = LEFT
    return np.where(lungs > 0, LUNG_HU, TISSUE_HU).astype(np.float32), lungs


def lesion(kind: str = "ggo", hu: float = -560.0, radius: float = 18.0, side: str = "right", seed: int = 4) -> Lesion:
    return Lesion(side, (0.5, 0.5, 0.5), (radius,) * 3, kind, hu, seed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def three_kinds() -> tuple[np.ndarray, np.ndarray, Inserted]:
    hu, lungs = box_chest()
    lesions = [
        Lesion("right", (0.5, 0.4, 0.3), (16.0, 18.0, 15.0), "ggo", -560.0, 1),
        Lesion("right", (0.5, 0.4, 0.75), (14.0, 15.0, 11.0), "crazy_paving", -450.0, 2),
        Lesion("left", (0.5, 0.5, 0.5), (15.0, 15.0, 15.0), "consolidation", 10.0, 3),
    ]
    return hu, lungs, insert_disease(hu, GRID, lungs, lesions)


def test_the_lesion_volume_is_the_sum_of_the_voxels(three_kinds: tuple[np.ndarray, np.ndarray, Inserted]) -> None:
    _, lungs, result = three_kinds
    truth = disease_truth(lungs, result.lesions, VOXEL_CM3, rise_hu=result.rise_hu)
    voxels = [int((result.lesions == number).sum()) for number in (1, 2, 3)]
    assert min(voxels) > 500
    assert truth["lesion_cm3"] == pytest.approx(sum(voxels) * VOXEL_CM3, rel=1e-12)
    assert truth["consolidation_cm3"] == pytest.approx(voxels[KINDS.index("consolidation")] * VOXEL_CM3, rel=1e-12)
    box_cm3 = 50 * 54 * 40 * VOXEL_CM3
    right = (result.lesions[:, :, :50] > 0).sum() * VOXEL_CM3
    assert truth["ratio_right_percent"] == pytest.approx(100 * right / box_cm3, rel=1e-12)
    assert truth["ratio_percent"] == pytest.approx(100 * sum(voxels) * VOXEL_CM3 / (2 * box_cm3), rel=1e-12)
    assert truth["mean_rise_hu"] == pytest.approx(float(result.rise_hu[result.lesions > 0].mean()), rel=1e-5)
    assert truth["mean_rise_consolidation_hu"] > 3 * truth["mean_rise_ggo_hu"] - 200.0


def test_truth_counts_by_hand_on_a_box_lung_with_lobes() -> None:
    lungs = np.zeros((4, 5, 10), np.uint8)
    lungs[:, :, :4], lungs[:, :, 6:] = RIGHT, LEFT  # 80 voxels each
    lobes = np.zeros_like(lungs)
    lobes[:2, :, :4], lobes[2:, :, :4], lobes[:, :, 6:] = 3, 1, 5
    lesions = np.zeros_like(lungs)
    lesions[0, :, :2] = 1 + KINDS.index("ggo")  # 10 voxels in the right lower lobe
    lesions[1, :, 3] = 1 + KINDS.index("crazy_paving")  # 5 there
    lesions[0, :4, 6] = 1 + KINDS.index("consolidation")  # 4 in the left lower lobe
    rise = np.where(lesions > 0, 100.0 * lesions, 0.0).astype(np.float32)
    truth = disease_truth(lungs, lesions, 0.5, lobes=lobes, rise_hu=rise)
    assert truth["lesion_cm3"] == 9.5
    assert truth["lung_cm3"] == 80.0
    assert truth["ggo_cm3"] == 7.5
    assert truth["consolidation_cm3"] == 2.0
    assert truth["crazy_paving_cm3"] == 2.5
    assert truth["ratio_right_percent"] == pytest.approx(18.75)
    assert truth["ratio_left_percent"] == pytest.approx(5.0)
    assert truth["ratio_rll_percent"] == pytest.approx(37.5)
    assert truth["ratio_rul_percent"] == 0.0
    assert np.isnan(truth["ratio_rml_percent"])
    by_hand = (
        10 * 100 + 5 * 100 * (1 + KINDS.index("crazy_paving")) + 4 * 100 * (1 + KINDS.index("consolidation"))
    ) / 19
    assert truth["mean_rise_hu"] == pytest.approx(by_hand)


def test_only_the_right_lung_changes_for_a_lesion_on_the_right() -> None:
    hu, lungs = box_chest()
    big = lesion("consolidation", 20.0, radius=45.0)
    result = insert_disease(hu, GRID, lungs, [big])
    right_half = np.zeros(GRID.shape, bool)
    right_half[:, :, :50] = True
    assert np.array_equal(result.hu[~right_half], hu[~right_half])
    assert not result.lesions[~right_half].any()
    assert (result.lesions[lungs == RIGHT] > 0).mean() > 0.25
    assert np.array_equal(result.hu == hu, result.rise_hu == 0.0)
    assert result.rise_hu.min() == 0.0


def test_healthy_lung_and_body_stay_bit_identical(three_kinds: tuple[np.ndarray, np.ndarray, Inserted]) -> None:
    hu, lungs, result = three_kinds
    assert np.array_equal(result.hu[lungs == 0], hu[lungs == 0])
    far = result.rise_hu == 0.0
    assert (far & (lungs > 0)).sum() > 50_000
    assert np.array_equal(result.hu[far], hu[far])
    # where at least half of the change was made, and nowhere else, is lesion
    strongest = result.rise_hu[result.lesions == 2].max()
    outside = (lungs == LEFT) & (result.lesions == 0)
    assert result.rise_hu[outside].max() <= 0.55 * strongest


@pytest.mark.parametrize(
    ("kind", "hu"), [("ggo", -640.0), ("ggo", -480.0), ("crazy_paving", -420.0), ("consolidation", 0.0)]
)
def test_the_mean_between_the_vessels_is_the_lesions_hu(kind: str, hu: float) -> None:
    before, lungs = box_chest()
    result = insert_disease(before, GRID, lungs, [lesion(kind, hu, radius=11.0)])
    assert result.hu[result.lesions > 0].mean() == pytest.approx(hu, abs=3.0)
    assert result.hu.max() <= 70.0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    hu, lungs = box_chest()
    first, again, other = (insert_disease(hu, GRID, lungs, [lesion(seed=seed)]) for seed in (4, 4, 5))
    assert first.hu.tobytes() == again.hu.tobytes()
    assert first.lesions.tobytes() == again.lesions.tobytes()
    assert not np.array_equal(first.lesions, other.lesions)


def test_the_order_of_lesions_does_not_matter() -> None:
    hu, lungs = box_chest()
    core, ground_glass = lesion("consolidation", 10.0, radius=9.0), lesion(radius=18.0, seed=9)
    one, two = (insert_disease(hu, GRID, lungs, pair) for pair in ([core, ground_glass], [ground_glass, core]))
    assert np.array_equal(one.hu, two.hu)
    assert np.array_equal(one.lesions, two.lesions)
    assert (one.lesions == 2).any()
    assert (one.lesions == 1).any()


def test_a_vessel_keeps_its_density() -> None:
    hu, lungs = box_chest()
    tube = (slice(5, 55), slice(33, 36), slice(24, 27))
    hu[tube] = 45.0
    result = insert_disease(hu, GRID, lungs, [lesion("ggo", -500.0), lesion("consolidation", 20.0, radius=8.0)])
    assert np.array_equal(result.hu[tube], hu[tube])
    assert (result.lesions[tube] > 0).any()


def test_clear_lung_between_vessels_is_no_bronchus() -> None:
    rng = np.random.default_rng(2)
    vessels = gaussian_filter(rng.standard_normal(GRID.shape), 1.0)
    hu = np.where(vessels > np.quantile(vessels, 0.9), -700.0, -905.0).astype(np.float32)
    assert bronchi(hu, GRID).max() == 0
    lumen = (slice(5, 55), slice(31, 34), slice(25, 28))
    hu[:, 29:36, 23:30], hu[lumen] = -700.0, -990.0
    found = bronchi(hu, GRID)
    assert found[lumen].mean() > 0.5
    assert found.sum() < 2 * found[lumen].sum()


def test_an_open_bronchus_stays_black() -> None:
    hu, lungs = box_chest()
    hu[5:55, 30:35, 24:29] = -100.0  # wall
    lumen = (slice(5, 55), slice(31, 34), slice(25, 28))
    hu[lumen] = -990.0
    result = insert_disease(hu, GRID, lungs, [lesion("consolidation", 20.0, radius=20.0)])
    middle = result.hu[25:35, 32, 26]
    assert (middle < -900.0).all()
    assert np.median(result.hu[result.lesions == 2]) > -100.0


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_noise_is_neither_erased_nor_doubled(correlation: float) -> None:
    clean, lungs = box_chest()
    noise = gaussian_filter(np.random.default_rng(3).standard_normal(GRID.shape), (0, correlation, correlation))
    noise = (20.0 * noise / noise.std()).astype(np.float32)
    disease = [lesion("consolidation", 10.0, radius=11.0)]
    noisy, without = (insert_disease(hu, GRID, lungs, disease) for hu in (clean + noise, clean))
    inside = without.rise_hu > 700.0
    assert inside.sum() > 300
    change = (noisy.hu - without.hu)[inside]
    assert 0.7 < change.std() / noise[inside].std() < 1.1
    assert noise_level(clean + noise, GRID) == pytest.approx(20.0, rel=0.2)
    assert noise_level(clean, GRID) < 1.0


def test_denoising_keeps_vessels_and_noise_free_volumes() -> None:
    hu, _ = box_chest()
    assert denoise(hu, GRID, 0.0) is hu
    hu[:, 35, 26] = 40.0
    noisy = hu + np.random.default_rng(0).normal(0.0, 15.0, hu.shape).astype(np.float32)
    clean = denoise(noisy, GRID, 15.0)
    assert abs(float(clean[10:50, 35, 26].mean()) - 40.0) < 25.0
    assert clean[10:50, 12:30, 12:40].std() < 0.5 * noisy[10:50, 12:30, 12:40].std()


def test_air_fraction_runs_from_tissue_to_air() -> None:
    found = air_fraction(np.array([-1024.0, -1000.0, -480.0, 40.0, 300.0], np.float32))
    assert found == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])


def test_a_lung_that_is_denser_already_is_left_alone() -> None:
    hu, lungs = box_chest()
    hu[lungs == RIGHT] = -300.0
    result = insert_disease(hu, GRID, lungs, [lesion("ggo", -560.0)])
    assert np.array_equal(result.hu, hu)
    assert not result.lesions.any()


def test_a_lesion_of_a_missing_lung_is_left_out() -> None:
    hu, lungs = box_chest()
    lungs[lungs == LEFT] = 0
    assert not insert_disease(hu, GRID, lungs, [lesion(side="left")]).lesions.any()


def test_a_lobe_confines_a_lesion_and_a_fissure_holds_one_up() -> None:
    hu, lungs = box_chest()
    lobes = np.where(lungs == RIGHT, 3, np.where(lungs == LEFT, 5, 0)).astype(np.uint8)
    lobes[30:][lungs[30:] == RIGHT] = 1
    lobes[30:][lungs[30:] == LEFT] = 4
    confined = Lesion("right", (0.5, 0.5, 0.4), (25.0,) * 3, "consolidation", 20.0, 1, lobe=3)
    result = insert_disease(hu, GRID, lungs, [confined], lobes=lobes)
    assert (result.lesions[:30] > 0).any()
    assert not result.rise_hu[30:].any()
    free = Lesion("left", (0.5, 0.5, 0.4), (25.0,) * 3, "ggo", -550.0, 1)
    with_fissure, without = (insert_disease(hu, GRID, lungs, [free], lobes=given) for given in (lobes, None))
    beyond = [np.count_nonzero(found.lesions[30:]) for found in (with_fissure, without)]
    assert beyond[0] < 0.7 * beyond[1]
    assert np.array_equal(with_fissure.lesions[:30], without.lesions[:30])


def test_the_rim_shared_with_the_chest_wall_is_filled_and_not_labelled() -> None:
    hu, lungs = box_chest()
    hu[5:55, 8:62, 5] = -400.0  # one voxel of partial volume outside the mask
    at_pleura = Lesion("right", (1.0, 0.5, 0.5), (20.0,) * 3, "consolidation", 10.0, 2)
    result = insert_disease(hu, GRID, lungs, [at_pleura])
    touched = result.lesions[:, :, 6] > 0
    assert touched.sum() > 50
    assert result.hu[:, :, 5][touched].mean() > -150.0
    assert not result.lesions[:, :, 5].any()


def test_bad_maps_are_refused() -> None:
    hu, lungs = box_chest()
    with pytest.raises(StudyError, match="lungs: shape"):
        insert_disease(hu, GRID, lungs[1:], [])
    with pytest.raises(StudyError, match="lungs: uint8 with values up to 3"):
        insert_disease(hu, GRID, np.full_like(lungs, 3), [])
    with pytest.raises(StudyError, match="map is empty"):
        insert_disease(hu, GRID, np.zeros_like(lungs), [])
    with pytest.raises(StudyError, match="lobes: int64"):
        insert_disease(hu, GRID, lungs, [], lobes=lungs.astype(np.int64))
    with pytest.raises(StudyError, match="hu: shape"):
        insert_disease(hu[1:], GRID, lungs, [])


@pytest.fixture(scope="module")
def real_chest(data_root: Path) -> tuple[CTVolume, np.ndarray]:
    ct = read_ct(data_root / "ct" / "lowres_01.nii.gz")
    return ct, segment_lungs(ct.hu, ct.grid.spacing_mm[::-1]).labels


@pytest.mark.data
@pytest.mark.parametrize(("pattern", "extent"), [("covid", 9.0), ("lobar", 9.0), ("broncho", 3.0)])
def test_real_ct_gets_the_disease_that_was_asked_for(
    real_chest: tuple[CTVolume, np.ndarray], pattern: Pattern, extent: float
) -> None:
    ct, lungs = real_chest
    lesions = fit_extent(draw_lesions(pattern, 5, extent), ct.grid, lungs, extent)
    result = insert_disease(ct.hu, ct.grid, lungs, lesions)
    truth = disease_truth(lungs, result.lesions, ct.grid.voxel_volume_cm3)
    assert truth["ratio_percent"] == pytest.approx(extent, rel=0.03)
    assert not (result.lesions[lungs == 0]).any()
    assert (result.hu >= ct.hu).all()
    vessels = (ct.hu > 0.0) & (ct.hu < 100.0) & (result.lesions > 0)
    assert np.median(result.rise_hu[vessels]) < 50.0 < 0.2 * np.median(result.rise_hu[result.lesions > 0])
    if pattern == "covid":  # mean density of COVID-19 lesions at 0-3 days, 52 patients: -462 (SD 99) HU; patterns.yaml
        assert result.hu[result.lesions > 0].mean() == pytest.approx(-462.0, abs=99.0)
