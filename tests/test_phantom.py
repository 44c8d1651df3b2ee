"""The thorax phantom: anatomy, truth, determinism."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from drrval.errors import StudyError
from drrval.phantom import Anatomy, Lesion, PhantomScan, make_thorax, random_anatomy

SPACING = 4.0
BASAL = (0.8, 0.8, 0.2)


@pytest.fixture(scope="module")
def healthy() -> PhantomScan:
    return make_thorax(Anatomy(), spacing_mm=SPACING, noise_hu=0.0)


@pytest.fixture(scope="module")
def sick_right() -> PhantomScan:
    lesions = (Lesion("right", BASAL, (40.0, 40.0, 40.0)),)
    return make_thorax(Anatomy(), spacing_mm=SPACING, noise_hu=0.0, lesions=lesions)


def body_mask(scan: PhantomScan) -> np.ndarray:
    parts, _ = ndi.label(scan.volume.hu > -500)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.stack([ndi.binary_fill_holes(axial) for axial in largest])


def world(scan: PhantomScan, mask: np.ndarray) -> np.ndarray:
    return scan.volume.grid.index_to_world(np.argwhere(mask))


def test_volume_is_a_valid_ct(healthy):
    volume = healthy.volume
    assert volume.hu.dtype == np.float32
    assert volume.hu.shape == volume.grid.shape == healthy.lungs.shape == healthy.lesion.shape
    assert volume.scanned.shape == volume.hu.shape[1:]
    assert volume.hu.min() >= -1024
    assert volume.hu.max() > 500, "no cortical bone"
    assert volume.grid.spacing_mm == (SPACING,) * 3
    assert volume.grid.is_axis_aligned


@pytest.mark.parametrize("seed", [0, 3, 9])
def test_lungs_lie_whole_inside_the_field_and_the_body(seed):
    scan = make_thorax(random_anatomy(seed), spacing_mm=SPACING)
    lungs = scan.lungs > 0
    for axis in range(3):
        filled = np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis})))
        assert filled[0] * SPACING >= 12
        assert (lungs.shape[axis] - 1 - filled[-1]) * SPACING >= 12
    assert body_mask(scan)[lungs].all()
    assert 2500 < scan.truth["lung_cm3"] < 8000


def test_patient_right_has_label_one_and_the_larger_lung(healthy):
    right, left = (world(healthy, healthy.lungs == side) for side in (1, 2))
    assert right[:, 0].max() < 0 <= left[:, 0].min()
    assert len(right) > len(left)


def test_right_diaphragm_dome_is_higher(healthy):
    # the lowest lung near the middle of each dome
    lowest = [
        part[np.hypot(np.abs(part[:, 0]) - 68, part[:, 1] + 13) < 12][:, 2].min()
        for part in (world(healthy, healthy.lungs == side) for side in (1, 2))
    ]
    assert lowest[0] > lowest[1]


def test_heart_reaches_further_to_the_left(healthy):
    points = world(healthy, (healthy.volume.hu > 20) & (healthy.volume.hu < 70))
    in_chest = (np.abs(points[:, 2] + 45) < 10) & (np.abs(points[:, 1] + 45) < 25) & (np.abs(points[:, 0]) < 95)
    assert 8 < points[in_chest][:, 0].mean() < 45


def test_top_is_narrower_than_the_chest(healthy):
    width = [np.ptp(np.flatnonzero(axial.any(axis=0))) for axial in body_mask(healthy)]
    assert width[-1] < 0.6 * max(width)
    assert width[0] > 0.8 * max(width)


def test_table_lies_behind_the_body_with_air_between(healthy):
    bare = make_thorax(Anatomy(), spacing_mm=SPACING, noise_hu=0.0, table=False)
    table = healthy.volume.hu - bare.volume.hu > 100
    assert table.any()
    assert not (table & body_mask(bare)).any()
    assert np.array_equal(body_mask(bare), body_mask(healthy))
    assert world(healthy, table)[:, 1].min() > 0


def test_stomach_gas_is_apart_from_the_lungs(healthy):
    gas = (healthy.volume.hu < -700) & body_mask(healthy) & (healthy.lungs == 0)
    points = world(healthy, gas)
    bubble = np.zeros_like(gas)
    bubble[gas] = (points[:, 2] < -90) & (points[:, 0] > 30)
    assert bubble.sum() * SPACING**3 / 1000 > 5
    assert ndi.distance_transform_edt(healthy.lungs == 0, sampling=SPACING)[bubble].min() >= 5


def test_truth_is_the_sum_of_voxels(sick_right):
    voxel_cm3 = SPACING**3 / 1000
    truth = sick_right.truth
    assert truth["lung_cm3"] == pytest.approx(np.count_nonzero(sick_right.lungs) * voxel_cm3)
    assert truth["lesion_cm3"] == pytest.approx(sick_right.lesion.sum() * voxel_cm3)
    assert truth["ratio_percent"] == pytest.approx(100 * truth["lesion_cm3"] / truth["lung_cm3"])
    assert 0 < truth["ratio_percent"] < 10


@pytest.mark.parametrize(("side", "other", "label"), [("right", "left", 1), ("left", "right", 2)])
def test_lesion_stays_in_its_lung(healthy, side, other, label):
    lesion = Lesion(side, (0.1, 0.5, 0.5), (60.0, 60.0, 60.0), "consolidation", 30.0)
    scan = make_thorax(Anatomy(), spacing_mm=SPACING, noise_hu=0.0, lesions=(lesion,))
    assert np.array_equal(scan.lungs, healthy.lungs)
    assert (scan.lungs[scan.lesion] == label).all()
    assert scan.truth[f"ratio_{side}_percent"] > 5
    assert scan.truth[f"ratio_{other}_percent"] == 0
    outside = scan.lungs != label
    assert np.array_equal(scan.volume.hu[outside], healthy.volume.hu[outside])


def test_lesion_has_the_density_asked_for(sick_right):
    core = ndi.binary_erosion(sick_right.lesion, iterations=1)
    assert np.median(sick_right.volume.hu[core]) == pytest.approx(-560, abs=60)


def test_ground_glass_near_the_pleura_reaches_it(sick_right):
    next_to_wall = ndi.binary_dilation(sick_right.lungs == 0) & (sick_right.lungs == 1)
    assert (sick_right.lesion & next_to_wall).any()


def test_lower_inspiration_gives_smaller_denser_lungs(healthy):
    shallow = make_thorax(Anatomy(), spacing_mm=SPACING, noise_hu=0.0, inspiration=0.8)
    assert 0.7 < shallow.truth["lung_cm3"] / healthy.truth["lung_cm3"] < 0.9
    assert np.median(shallow.volume.hu[shallow.lungs > 0]) > np.median(healthy.volume.hu[healthy.lungs > 0]) + 20


def test_noise_has_the_asked_standard_deviation(healthy):
    noisy = make_thorax(Anatomy(), spacing_mm=SPACING, noise_hu=20.0)
    inside = body_mask(healthy)
    assert np.std((noisy.volume.hu - healthy.volume.hu)[inside]) == pytest.approx(20.0, rel=0.02)


def test_same_seed_same_bytes_other_seed_other_noise():
    first, again, other = (make_thorax(Anatomy(), spacing_mm=6.0, seed=seed) for seed in (4, 4, 5))
    assert first.volume.hu.tobytes() == again.volume.hu.tobytes()
    assert first.volume.hu.tobytes() != other.volume.hu.tobytes()
    assert first.lungs.tobytes() == other.lungs.tobytes()


def test_random_anatomies_differ_and_repeat():
    assert random_anatomy(1) == random_anatomy(1)
    assert len({random_anatomy(seed) for seed in range(50)}) == 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spacing_mm": 0.2}, r"spacing_mm=0\.2 is outside 1\.\.6"),
        ({"inspiration": 0.1}, r"inspiration=0\.1 is outside 0\.6\.\.1\.05"),
        ({"noise_hu": -1.0}, r"noise_hu=-1\.0 is outside 0\.\.200"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(StudyError, match=message):
        make_thorax(Anatomy(), **settings)


def test_anatomy_outside_the_adult_range_is_refused():
    with pytest.raises(StudyError, match=r"Anatomy chest_width_mm=100 is outside the adult range 220\.\.310"):
        Anatomy(chest_width_mm=100)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"side": "middle"}, r"Lesion side='middle'\. Expected one of: 'right', 'left'"),
        ({"kind": "nodule"}, r"Lesion kind='nodule'\. Expected one of: 'ggo', 'consolidation'"),
        ({"centre": (0.5, 0.5, 1.5)}, r"three fractions of the lung between 0 and 1"),
        ({"radii_mm": (10.0, 0.0, 10.0)}, r"three half axes above 0 and up to 150 mm"),
        ({"hu": 30.0}, r"Lesion hu=30\.0 is outside -750\.\.-300 HU, the range of ggo"),
    ],
)
def test_bad_lesions_are_refused(values, message):
    with pytest.raises(StudyError, match=message):
        Lesion(**{"side": "right", "centre": BASAL, "radii_mm": (20.0, 20.0, 20.0), **values})
