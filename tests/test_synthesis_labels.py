"""Labels of synthetic radiographs against the projector, analytic shapes and each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from synthesis_factory import CONSOLIDATION, GGO, chest, settings

from drrval.errors import IntakeError
from drrval.materials import hu_to_density
from drrval.projection import project_labels
from drrval.synthesis import LabelledRadiograph, PreparedScan, area_ratios, draw_image, make_image, prepare
from drrval.synthesis.anatomy import density_rise
from drrval.synthesis.masks import MASK_NAMES

SETTINGS = settings()


@pytest.fixture(scope="module")
def prepared() -> PreparedScan:
    return prepare(chest(sick=("right",)))


@pytest.fixture(scope="module")
def made(prepared: PreparedScan) -> LabelledRadiograph:
    return make_image(prepared, draw_image(SETTINGS, 3), SETTINGS)


def test_lesion_masks_are_those_of_the_projector(prepared: PreparedScan, made: LabelledRadiograph) -> None:
    lungs, lesions, grid = prepared.scan.lungs, prepared.scan.lesions, prepared.scan.volume.grid
    lung_cm = project_labels((lungs == 1).astype(np.uint8), grid, made.geometry, 1, backend="ray")[0]
    for name, code in (("ggo", GGO), ("consolidation", CONSOLIDATION)):
        path = project_labels((lesions == code).astype(np.uint8), grid, made.geometry, 1, backend="ray")[0]
        clear = (np.abs(path - 1.0) > 0.05) & (np.abs(lung_cm - 1.0) > 0.05)  # rounding decides at the threshold itself
        expected = (path >= 1.0) & (lung_cm >= 1.0)
        assert expected.sum() > 30
        assert np.array_equal(made.labels.masks[name][clear], expected[clear])
        assert clear.mean() > 0.97


def test_thickness_and_density_of_a_block_are_analytic(made: LabelledRadiograph) -> None:
    shadow = ndimage.binary_erosion(made.labels.masks["ggo"], iterations=3)
    assert shadow.any()
    # The block is 10 voxels of 4 mm deep; rays are up to a few degrees oblique.
    assert made.labels.thickness_cm[shadow] == pytest.approx(4.0, rel=0.02)
    rise = float(hu_to_density(-500.0) - hu_to_density(-850.0))
    assert made.labels.rise_g_cm2[shadow] == pytest.approx(4.0 * rise, rel=0.02)


def test_density_rise_is_exact_where_the_scan_knows_its_own() -> None:
    scan = chest()
    before = np.where(scan.lesions > 0, np.float32(-850.0), scan.volume.hu)
    noise = np.random.default_rng(0).normal(0.0, 60.0, before.shape).astype(np.float32)
    noisy = replace(scan.volume, hu=scan.volume.hu + noise)
    known = replace(scan, volume=noisy, rise_hu=scan.volume.hu - before)
    found = density_rise(known)
    assert found is not None
    rise, grid = found
    exact = (hu_to_density(noisy.hu) - hu_to_density(noisy.hu - known.rise_hu))[scan.lesions > 0].sum()
    assert rise.sum() == pytest.approx(float(exact), rel=1e-4)
    assert grid.spacing_mm == scan.volume.grid.spacing_mm
    assert rise.max() > 0.8  # of air that became water


def test_a_lesion_on_the_right_leaves_nothing_left(made: LabelledRadiograph) -> None:
    masks = made.labels.masks
    assert masks["lesion_right"].any()
    assert not masks["lesion_left"].any()
    assert not made.labels.thickness_cm[masks["lung_field_left"]].any()
    assert not made.labels.rise_g_cm2[masks["lung_field_left"]].any()
    ratios = area_ratios(masks)
    assert ratios["ratio_right_percent"] > 0
    assert ratios["ratio_left_percent"] == ratios["whole_ratio_left_percent"] == 0
    assert {box.side for box in made.labels.boxes} == {"right"}


def test_right_is_on_the_left_of_the_image(made: LabelledRadiograph) -> None:
    right, left = (np.argwhere(made.labels.masks[f"lung_field_{s}"])[:, 1].mean() for s in ("right", "left"))
    assert right < left


def test_fields_leave_out_the_heart_and_what_lies_below_the_dome(made: LabelledRadiograph) -> None:
    masks = made.labels.masks
    for side in ("right", "left"):
        field, lung = masks[f"lung_field_{side}"], masks[f"lung_{side}"]
        assert not (field & ~lung).any()
        assert ndimage.label(field)[1] == 1
        column = int(np.argwhere(lung)[:, 1].mean())  # through the top of the dome
        hidden = np.flatnonzero(lung[:, column])[-1] - np.flatnonzero(field[:, column])[-1]
        assert hidden * made.geometry.pixel_mm > 30.0  # the dome is 48 mm high: lung before and behind the liver
    assert masks["heart"].any()
    fields = masks["lung_field_right"] | masks["lung_field_left"]
    assert (fields & masks["heart"]).sum() < 0.1 * masks["heart"].sum()
    assert (masks["lung_left"] & masks["heart"]).sum() > 0.3 * masks["heart"].sum()


def test_a_scan_without_organ_labels_has_the_same_fields_and_no_organs(
    prepared: PreparedScan, made: LabelledRadiograph
) -> None:
    bare = make_image(prepare(replace(prepared.scan, organs=None)), made.drawn, SETTINGS).labels.masks
    assert not bare["heart"].any()
    assert not bare["ribs"].any()
    assert made.labels.masks["ribs"].any()
    for side in ("right", "left"):
        assert np.array_equal(bare[f"lung_field_{side}"], made.labels.masks[f"lung_field_{side}"])


def test_boxes_are_tight_and_one_for_each_shadow(made: LabelledRadiograph) -> None:
    assert {box.kind for box in made.labels.boxes} == {"ggo", "consolidation"}
    for box in made.labels.boxes:
        rows, columns = np.nonzero(box.mask)
        assert (box.y, box.x) == (rows.min(), columns.min())
        assert (box.height, box.width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
        seen = made.labels.masks["lesion_right"] & made.labels.masks["lung_field_right"]
        assert not (box.mask & ~seen).any()


def test_shadows_that_are_small_have_no_box_and_near_ones_share_one(prepared: PreparedScan) -> None:
    drawn = draw_image(SETTINGS, 3)
    large = settings(labels={"box_min_cm2": 1000.0})
    assert make_image(prepared, drawn, large).labels.boxes == ()
    merged = settings(labels={"box_merge_mm": 50.0})
    labels = make_image(prepared, drawn, merged).labels
    (box,) = labels.boxes
    assert np.array_equal(box.mask, labels.masks["lesion_right"] & labels.masks["lung_field_right"])


def test_a_lateral_view_has_lungs_but_no_visible_fields(prepared: PreparedScan) -> None:
    lateral = settings(views={"LL": 1.0})
    masks = make_image(prepared, draw_image(lateral, 1), lateral).labels.masks
    assert tuple(masks) == MASK_NAMES
    assert masks["lung_right"].any()
    assert not masks["lung_field_right"].any()
    assert np.isnan(area_ratios(masks)["ratio_percent"])


def test_labels_are_empty_behind_the_collimator(prepared: PreparedScan) -> None:
    drawn = draw_image(SETTINGS, 3)
    closed = replace(drawn, overlays=replace(drawn.overlays, collimation=(0.5, 0.0, 0.0, 0.0)))
    image = make_image(prepared, closed, SETTINGS)
    covered = np.s_[:, : image.image.shape[1] // 2]
    assert not any(mask[covered].any() for mask in image.labels.masks.values())
    assert not image.labels.thickness_cm[covered].any()
    assert np.ptp(image.image[covered]) == 0


def test_a_scan_without_lungs_is_refused(prepared: PreparedScan) -> None:
    empty = replace(prepared.scan, lungs=np.zeros_like(prepared.scan.lungs))
    with pytest.raises(IntakeError, match=r"lung map is empty\. Give 1 for the right"):
        prepare(empty)
