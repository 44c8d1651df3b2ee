"""The procedural thorax: anatomy, labels, breath, pose, determinism."""

import numpy as np
import pytest
from conftest import numba_threads
from scipy import ndimage as ndi

from drrval.errors import StudyError
from drrval.phantom import Anatomy, Label, Pose, Thorax, make_thorax, random_anatomy
from drrval.phantom.anatomy import tissue_hu

SPACING = 4.0


@pytest.fixture(scope="module")
def healthy() -> Thorax:
    return make_thorax(Anatomy(), spacing_mm=SPACING)


@pytest.fixture(scope="module")
def straight() -> Thorax:
    return make_thorax(Anatomy(), spacing_mm=SPACING, table=False)


def world(thorax: Thorax, mask: np.ndarray) -> np.ndarray:
    return thorax.grid.index_to_world(np.argwhere(mask))


def lung_litres(thorax: Thorax) -> float:
    return np.count_nonzero(thorax.lungs) * thorax.grid.voxel_volume_cm3 / 1000


def test_arrays_are_those_of_a_ct(healthy):
    assert healthy.hu.dtype == np.float32
    assert healthy.labels.dtype == healthy.lungs.dtype == healthy.lobes.dtype == np.uint8
    assert healthy.hu.shape == healthy.labels.shape == healthy.grid.shape
    assert healthy.hu.min() >= -1000
    assert healthy.hu.max() > 500, "no cortical bone"
    assert healthy.grid.spacing_mm == (SPACING,) * 3
    assert healthy.grid.is_axis_aligned
    assert set(np.unique(healthy.labels)) - {0} <= {int(v) for v in Label} | {*range(101, 113), *range(121, 133)}


def test_lobes_have_the_share_of_the_lung_that_they_have_in_adults(healthy):
    """Right upper, middle and lower, left upper and lower lobe: about 19, 9, 25, 24 and 23 percent on CT.

    Wide limits, as lobes differ much from person to person.
    """
    shares = np.bincount(healthy.lobes.ravel(), minlength=6)[1:] / np.count_nonzero(healthy.lobes)
    low, high = [0.12, 0.05, 0.17, 0.16, 0.14], [0.28, 0.15, 0.33, 0.32, 0.30]
    assert (low < shares).all(), shares
    assert (shares < high).all(), shares
    assert np.array_equal(np.isin(healthy.lobes, (1, 2, 3)), healthy.lungs == 1)
    assert np.array_equal(np.isin(healthy.lobes, (4, 5)), healthy.lungs == 2)


def test_lobes_lie_as_they_should(healthy):
    middle = [world(healthy, healthy.lobes == lobe).mean(axis=0) for lobe in range(1, 6)]
    assert middle[0][2] > middle[1][2], "right upper lobe above the middle lobe"
    assert middle[1][1] < middle[2][1], "middle lobe in front of the lower lobe"
    assert middle[3][2] > middle[4][2]
    assert middle[3][1] < middle[4][1]


def test_patient_right_has_label_one_and_the_larger_lung(healthy):
    right, left = (world(healthy, healthy.lungs == side) for side in (1, 2))
    assert right[:, 0].mean() < 0 < left[:, 0].mean()
    assert len(right) > len(left)


def test_right_diaphragm_dome_is_higher(healthy):
    # the lowest lung near the middle of each dome
    lowest = [
        part[np.hypot(np.abs(part[:, 0]) - 66, part[:, 1] + 20) < 12][:, 2].min()
        for part in (world(healthy, healthy.lungs == side) for side in (1, 2))
    ]
    assert lowest[0] > lowest[1]


def test_heart_lies_to_the_left_and_the_descending_aorta_left_of_the_spine(healthy):
    assert 8 < world(healthy, healthy.labels == Label.HEART)[:, 0].mean() < 40
    aorta = world(healthy, healthy.labels == Label.AORTA)
    assert (aorta[aorta[:, 2] < -30][:, 0] > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("label", "tissue"),
    [(Label.HEART, "heart"), (Label.LIVER, "liver"), (Label.SPLEEN, "spleen"), (Label.AORTA, "blood")],
)
def test_organs_have_the_density_of_their_tissue(healthy, label, tissue):
    core = ndi.binary_erosion(healthy.labels == label, iterations=2)
    assert core.any()
    assert np.median(healthy.hu[core]) == pytest.approx(tissue_hu()[tissue], abs=0.5)


def test_airways_are_air_and_gas_is_apart_from_the_lungs(healthy):
    air = world(healthy, (healthy.labels == Label.AIRWAY) & (healthy.hu < -900))
    assert np.ptp(air[:, 2]) > 80, "trachea"
    gas = (healthy.labels == Label.BOWEL_GAS) & (healthy.hu < -900)
    assert gas.sum() * healthy.grid.voxel_volume_cm3 > 5
    assert ndi.distance_transform_edt(healthy.lungs == 0, sampling=SPACING)[gas].min() >= 5


def test_labels_do_not_depend_on_the_voxel_spacing(healthy):
    flat = make_thorax(Anatomy(), spacing_mm=(5.0, 5.0, 3.0))
    assert flat.grid.spacing_mm == (5.0, 5.0, 3.0)
    assert lung_litres(flat) == pytest.approx(lung_litres(healthy), rel=0.01)
    for label in (Label.HEART, Label.LIVER, Label.AORTA):
        volumes = [np.count_nonzero(t.labels == label) * t.grid.voxel_volume_cm3 for t in (flat, healthy)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)
    means = [t.hu[t.lungs > 0].mean() for t in (flat, healthy)]
    assert means[0] == pytest.approx(means[1], abs=6), "vessels below the voxel size keep their mass"


def test_lungs_have_the_mean_density_asked_for(healthy):
    off_the_border = ndi.binary_erosion(healthy.lungs > 0)
    assert healthy.hu[off_the_border].mean() == pytest.approx(Anatomy().lung_hu, abs=15)


def test_shallow_breath_gives_smaller_lungs_of_the_same_mass(healthy):
    shallow = make_thorax(Anatomy(), spacing_mm=SPACING, inspiration=0.8)
    assert lung_litres(shallow) / lung_litres(healthy) == pytest.approx(0.8, abs=0.05)
    mass = [lung_litres(t) * (1 + t.hu[t.lungs > 0].mean() / 1000) for t in (shallow, healthy)]
    assert mass[0] == pytest.approx(mass[1], rel=0.08)


def test_a_shift_moves_the_patient_and_nothing_else(straight):
    pose = Pose(shift_mm=(12.0, 0.0, -20.0), table_height_mm=8.0)
    moved = make_thorax(Anatomy(), spacing_mm=SPACING, pose=pose, table=False)
    assert np.subtract(moved.grid.origin_mm, straight.grid.origin_mm) == pytest.approx([12.0, -8.0, -20.0], abs=1e-3)
    assert np.mean(moved.labels != straight.labels) < 1e-3


def test_a_turned_patient_is_the_same_patient(straight):
    turned = make_thorax(Anatomy(), spacing_mm=SPACING, pose=Pose(rotation_deg=(0.0, 0.0, 12.0)), table=False)
    assert lung_litres(turned) == pytest.approx(lung_litres(straight), rel=0.01)
    line = [
        world(t, t.labels == Label.STERNUM).mean(axis=0) - world(t, t.labels == Label.VERTEBRA).mean(axis=0)
        for t in (turned, straight)
    ]
    degrees = [np.rad2deg(np.arctan2(x, -y)) for x, y, _ in line]
    assert degrees[0] - degrees[1] == pytest.approx(12.0, abs=1.0)


@pytest.mark.parametrize("seed", [3, 9])
def test_lungs_lie_whole_inside_the_field_and_the_body(seed):
    thorax = make_thorax(random_anatomy(seed), spacing_mm=5.0)
    lungs = thorax.lungs > 0
    for axis in range(3):
        filled = np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis})))
        assert filled[0] * 5.0 >= 10
        assert (lungs.shape[axis] - 1 - filled[-1]) * 5.0 >= 10
    assert (ndi.distance_transform_edt(thorax.labels > 0, sampling=5.0)[lungs] >= 10).all()


def test_same_anatomy_same_bytes_whatever_the_number_of_threads():
    with numba_threads(2):
        first = make_thorax(random_anatomy(4), spacing_mm=7.0)
    with numba_threads(1):
        again = make_thorax(random_anatomy(4), spacing_mm=7.0)
    assert first.hu.tobytes() == again.hu.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()


def test_field_of_view_has_the_size_asked_for():
    assert make_thorax(Anatomy(), spacing_mm=8.0, size=(64, 60, 40)).hu.shape == (40, 60, 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spacing_mm": 0.2}, r"spacing_mm=0\.2 is outside 0\.5\.\.8"),
        ({"spacing_mm": (1.0, 2.0)}, r"Give one number or three"),
        ({"inspiration": 0.1}, r"inspiration=0\.1 is outside 0\.6\.\.1\.05"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(StudyError, match=message):
        make_thorax(Anatomy(), **settings)


def test_a_pose_beyond_the_scanner_is_refused():
    with pytest.raises(StudyError, match=r"Pose rotation_deg=\(0, 0, 90\): each value must lie within ±30"):
        Pose(rotation_deg=(0, 0, 90))
