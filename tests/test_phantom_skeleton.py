"""Bones of the phantom: numbers, places, sizes and densities."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage as ndi

from drrval.phantom.anatomy import Anatomy, random_anatomy
from drrval.phantom.canvas import Canvas
from drrval.phantom.labels import RIB_LEFT, RIB_RIGHT, Label
from drrval.phantom.pose import Motion
from drrval.phantom.skeleton import bones, paint_skeleton
from drrval.phantom.skeleton_calcification import calcifications
from drrval.phantom.skeleton_ribs import cartilages, ribs
from drrval.phantom.skeleton_shapes import Bar, Slab, bar
from drrval.phantom.skeleton_spine import vertebrae, vertebral_body

SPACING = 2.0
YOUNG = Anatomy(age=25.0)
# Hutchinson, article "Thorax", Todd's Cyclopaedia of Anatomy and Physiology, vol. IV (1852), Table A, in inches.
RIB_LENGTHS_MM = 25.4 * np.array([5.25, 9.0, 11.0, 12.25, 12.5, 12.6, 12.25, 12.1, 11.5, 10.5, 8.25, 4.5])


def painted(anatomy: Anatomy, spacing=SPACING, box=((-240, -160, -190), (240, 160, 170))) -> Canvas:
    canvas = Canvas(*box, spacing)
    paint_skeleton(canvas, anatomy)
    return canvas


@pytest.fixture(scope="module")
def young() -> Canvas:
    return painted(YOUNG)


def grid_axes(low, high, step):
    x, y, z = (np.arange(a, b, step, dtype=np.float32) for a, b in zip(low, high, strict=True))
    return x[None, None, :], y[None, :, None], z[:, None, None]


def test_bar_of_even_sides_is_a_capsule():
    start, end = np.array([-6.0, 2.0, 1.0]), np.array([9.0, -3.0, 4.0])
    rod = bar([start, end], 5.0, 5.0, step_mm=2.5)
    axes = grid_axes((-16, -12, -8), (18, 10, 12), 1.3)
    points = np.stack(np.broadcast_arrays(*axes), axis=-1)
    along = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    exact = np.linalg.norm(points - start - along[..., None] * (end - start), axis=-1) - 5.0
    found = rod.distance(axes)
    near = exact < 5.5
    assert np.abs(found - exact)[near & (exact > -4)].max() < 1e-3


def test_slab_is_a_box_with_round_edges():
    square = np.array([[-8.0, -6.0], [8.0, -6.0], [8.0, 6.0], [-8.0, 6.0]])
    slab = Slab(np.zeros(3), np.eye(3), square, 3.0, rounding_mm=0.0)
    axes = grid_axes((-14, -12, -9), (14, 12, 9), 1.1)
    outside = np.stack(np.broadcast_arrays(*axes), axis=-1)
    beyond = np.abs(outside) - [8.0, 6.0, 3.0]
    exact = np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(axis=-1), 0)
    near = exact < 5.5
    assert np.abs(slab.distance(axes) - exact)[near].max() < 1e-4


@pytest.mark.parametrize("shape", [ribs(YOUNG)[9].bone, vertebral_body(vertebrae(YOUNG)[7])], ids=["bar", "slab"])
def test_moved_shapes_keep_their_form(shape):
    angle = np.deg2rad(90.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    motion = Motion(turn, np.array([4.0, -7.0, 3.0]))
    low, high = shape.bounds()
    x, y, z = grid_axes(low - 3, high + 3, 2.0)
    there = shape.moved(motion)
    # (x, y) goes to (-y, x): the axes change places
    turned = there.distance((np.sort((4.0 - y).ravel())[None, None, :], (x.ravel() - 7.0)[None, :, None], z + 3.0))
    assert np.abs(turned.transpose(0, 2, 1)[:, ::-1] - shape.distance((x, y, z))).max() < 1e-3


def test_twelve_pairs_of_ribs_each_in_one_piece(young):
    for first, side in ((RIB_RIGHT, -1), (RIB_LEFT, 1)):
        heights = []
        for number in range(1, 13):
            rib = young.labels == first + number
            assert ndi.label(rib, np.ones((3, 3, 3)))[1] == 1, (first, number)
            points = young.grid.index_to_world(np.argwhere(rib))
            assert (side * points[:, 0] > 0).all()
            heights.append(points[:, 2].mean())
        assert (np.diff(heights) < 0).all(), "ribs are numbered from head to feet"
    numbers = np.unique(young.labels[young.labels > RIB_RIGHT])
    assert list(numbers) == [*range(101, 113), *range(121, 133)]


def test_rib_lengths_agree_with_published_ones():
    lengths = np.array([rib.bone.length_mm for rib in ribs(YOUNG) if rib.side > 0])
    assert np.abs(lengths / RIB_LENGTHS_MM - 1).max() < 0.15
    assert np.abs(np.mean(lengths / RIB_LENGTHS_MM) - 1) < 0.06


def test_ribs_are_flat_bands_with_a_thin_shell():
    sixth = next(rib for rib in ribs(YOUNG) if rib.number == 6)
    middle = len(sixth.bone.points) // 2
    assert 2 * sixth.bone.half_width[middle] == pytest.approx(12, abs=1.5)
    assert 2 * sixth.bone.half_thickness[middle] == pytest.approx(6, abs=1)
    # Holcombe et al., J Anat 2019;235:883: thickest part of the sixth rib's cortex 1.4 mm on average, 0.9 to 2.6
    shell = next(bone.shell_mm for bone in bones(YOUNG) if bone.label == RIB_LEFT + 6)
    assert 0.5 < shell < 1.4


def test_rib_has_a_cortical_shell_around_marrow():
    sixth = next(rib for rib in ribs(YOUNG) if rib.number == 6 and rib.side > 0).bone
    middle = sixth.points[len(sixth.points) // 2]
    canvas = painted(YOUNG, 0.5, (middle - 12, middle + 12))
    mid = tuple(n // 2 for n in canvas.hu.shape)
    assert 30 < canvas.hu[mid] < 150
    across = canvas.hu[mid[0], mid[1]]
    assert across.max() > 1000
    walls, _ = ndi.label(across > 600)
    assert walls.max() == 2, "one wall on each side"


def test_ribs_rise_or_stay_level_behind_and_fall_to_the_front():
    for rib in ribs(YOUNG):
        head, end, highest = rib.bone.points[0], rib.bone.points[-1], rib.bone.points[:, 2].max()
        assert head[2] - end[2] > 20, rib.number
        if rib.number <= 4:
            assert highest > head[2] + 2
        assert rib.bone.points[:, 1].max() > head[1] + 15, "a rib first runs backwards"
        assert rib.bone.points[:, 1].argmax() < 60 / 3, "the angle is near the spine"


def test_rib_heads_touch_their_vertebrae():
    spine = vertebrae(YOUNG)
    for rib in ribs(YOUNG):
        head = rib.bone.points[0].astype(np.float32)
        axes = head[0].reshape(1, 1, 1), head[1].reshape(1, 1, 1), head[2].reshape(1, 1, 1)
        assert vertebral_body(spine[rib.number + 2]).distance(axes).item() < rib.bone.half_width[0]


@pytest.mark.parametrize("seed", range(3))
def test_ribs_stay_outside_the_chest_cavity(seed):
    anatomy = random_anatomy(seed)
    cage = anatomy.loft("cage")
    for rib in ribs(anatomy):
        x, y, z = rib.bone.points[np.abs(rib.bone.points[:, 0]) > 55].T
        half_width, centre, half_depth = cage.section(z)
        inside = np.abs(x / half_width) ** cage.exponent + np.abs((y - centre) / half_depth) ** cage.exponent
        assert inside.min() > 1, (rib.number, rib.side)


def test_left_and_right_mirror_each_other_without_scoliosis(young):
    swap = np.arange(256)
    swap[RIB_RIGHT + 1 : RIB_RIGHT + 13], swap[RIB_LEFT + 1 : RIB_LEFT + 13] = np.arange(121, 133), np.arange(101, 113)
    for right in (Label.CLAVICLE_RIGHT, Label.SCAPULA_RIGHT, Label.HUMERUS_RIGHT):
        swap[right], swap[right + 1] = right + 1, right
    mirrored = swap[young.labels[:, :, ::-1]]
    differ = np.count_nonzero(mirrored != young.labels)
    assert differ < 1e-3 * np.count_nonzero(young.labels)


def test_scoliosis_bends_the_spine_sideways():
    straight, bent = vertebrae(YOUNG), vertebrae(replace(YOUNG, scoliosis_mm=20.0))
    assert all(v.centre[0] == 0 for v in straight)
    assert max(abs(v.centre[0]) for v in bent) > 10
    assert max(abs(v.frame[2][0]) for v in bent) > 0.1, "vertebrae tilt with the curve"


def test_vertebrae_have_endplates_around_cancellous_bone():
    t8 = vertebrae(YOUNG)[10]
    canvas = painted(YOUNG, 0.5, (t8.centre - 25, t8.centre + 25))
    mid = tuple(n // 2 for n in canvas.hu.shape)
    assert canvas.hu[mid] == pytest.approx(YOUNG.bone_hu, abs=5)
    column = canvas.hu[:, mid[1], mid[2]]
    assert column.max() > 500
    walls, _ = ndi.label(column > 450)
    assert walls.max() >= 2
    # Panjabi et al., Spine 1991;16:888: upper endplate of T8 about 29 mm wide and 28 mm deep
    assert 2 * t8.half_width == pytest.approx(29, abs=3)
    assert 2 * t8.half_depth == pytest.approx(28, abs=3)


def test_bone_density_lowers_shell_and_core():
    dense, porous = (
        {bone.label: bone for bone in bones(replace(YOUNG, bone_hu=hu))}[RIB_RIGHT + 7] for hu in (280.0, 100.0)
    )
    assert porous.shell_mm < dense.shell_mm
    assert porous.shell_hu < dense.shell_hu
    assert porous.core_hu < dense.core_hu


def test_cartilage_calcifies_with_age_and_by_sex():
    def rods(age, female):
        anatomy = Anatomy(age=age, female=female, seed=3)
        return calcifications(anatomy, cartilages(anatomy, ribs(anatomy)))

    assert not rods(25.0, False)
    assert 0 < sum(r.length_mm for r in rods(50.0, False)) < sum(r.length_mm for r in rods(80.0, False))

    def mean_offset(female):
        anatomy = Anatomy(age=75.0, female=female, seed=3)
        soft = cartilages(anatomy, ribs(anatomy))
        middle = np.vstack([part.bone.points for part in soft])
        found = np.vstack([rod.points for rod in calcifications(anatomy, soft)])
        return np.linalg.norm(found[:, None] - middle[None], axis=-1).min(axis=1).mean()

    assert mean_offset(False) > 3.0, "men: along the edges"
    assert mean_offset(True) < 0.5, "women: in the middle"


def test_every_bone_is_there(young):
    for label in (
        *(Label.VERTEBRA, Label.DISC, Label.STERNUM, Label.CARTILAGE),
        *(Label.CLAVICLE_RIGHT, Label.SCAPULA_RIGHT, Label.HUMERUS_RIGHT),
    ):
        assert np.count_nonzero(young.labels == label) * SPACING**3 > 5000, label.name


@pytest.mark.parametrize("arms", ["up", "down"])
def test_shoulder_bones_meet(arms):
    canvas = painted(replace(YOUNG, arms=arms), 3.0)
    for shift in (0, 1):
        clavicle, scapula, humerus = (
            canvas.labels == label + shift for label in (Label.CLAVICLE_RIGHT, Label.SCAPULA_RIGHT, Label.HUMERUS_RIGHT)
        )
        to_scapula = ndi.distance_transform_edt(~scapula) * 3.0
        assert to_scapula[clavicle].min() < 8, "acromioclavicular joint"
        assert to_scapula[humerus].min() < 8, "shoulder joint"
        points = canvas.grid.index_to_world(np.argwhere(humerus))
        assert (points[:, 2].max() > 150) == (arms == "up")


def test_bone_shapes_have_bars_without_a_kink():
    rib = ribs(YOUNG)[11].bone
    assert isinstance(rib, Bar)
    steps = np.diff(rib.points, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    assert (np.sum(steps[1:] * steps[:-1], axis=1) > np.cos(np.deg2rad(25))).all()
