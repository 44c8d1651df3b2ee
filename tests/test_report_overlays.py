"""Masks drawn on radiographs and on the CT overview."""

from __future__ import annotations

import numpy as np
import pytest

from drrval.errors import DrrvalError
from drrval.report import ct_overview, drr_overlay
from drrval.report.ct_montage import PANEL_WIDTH, ct_montage
from drrval.report.overlays import LESION_COLOUR, LUNG_COLOUR


def box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(colour)).all(axis=-1)


def test_overlay_outlines_lungs_and_tints_lesion() -> None:
    image = np.full((60, 80), 100, dtype=np.uint8)
    lung, lesion = box((60, 80), (10, 50), (10, 40)), box((60, 80), (20, 30), (20, 30))
    drawn = drr_overlay(image, lung, lesion)
    assert drawn.shape == (60, 80, 3)
    assert drawn.dtype == np.uint8
    rim = lung & ~box((60, 80), (11, 49), (11, 39))
    assert (near(drawn, LUNG_COLOUR) == rim).all()
    assert tuple(drawn[25, 25]) == tuple(round(0.65 * 100 + 0.35 * c) for c in LESION_COLOUR)
    assert near(drawn, LESION_COLOUR)[20, 25]
    outside = ~(lung | lesion)
    assert (drawn[outside] == 100).all()
    assert (image == 100).all()


def test_overlay_without_masks_is_the_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (drr_overlay(image, None, None) == image[..., None]).all()


def test_overlay_refuses_wrong_input() -> None:
    image = np.zeros((4, 5), dtype=np.uint8)
    with pytest.raises(DrrvalError, match=r"needs a uint8 \[row, col\] image, got float64 with shape \(4, 5\)"):
        drr_overlay(image.astype(float), None, None)
    with pytest.raises(DrrvalError, match=r"lesion mask has shape \(5, 4\), the image \(4, 5\)"):
        drr_overlay(image, None, np.zeros((5, 4), dtype=bool))


def chest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Water body with two lungs; a bright block front-right-top tells the directions apart."""
    hu = np.full((40, 50, 60), -1000.0, dtype=np.float32)
    hu[:, 5:45, 5:55] = 0
    lungs = np.zeros(hu.shape, dtype=np.uint8)
    lungs[4:36, 10:40, 10:28], lungs[4:36, 10:40, 32:50] = 1, 2
    hu[lungs > 0] = -1350
    hu[20:36, 10:29, 10:19] = 150  # upper half, front, patient's right
    return hu, lungs, np.zeros(hu.shape, dtype=bool)


def test_overview_orientation_and_aspect() -> None:
    hu, lungs, lesion = chest()
    picture = ct_overview(hu, (2.0, 1.0, 1.0), np.zeros_like(lungs), lesion)
    assert abs(picture.shape[1] - 1200) <= 4
    width = (picture.shape[1] - 3 * 6) // 4
    # Axial slices are 50 x 60 mm, the coronal slice is 80 x 60 mm: its height gives the height of the picture.
    assert picture.shape[0] == pytest.approx(width * 80 / 60, abs=2)
    top_slice, coronal = picture[:, :width, 0], picture[:, 3 * (width + 6) :, 0]
    rows, columns = np.nonzero(top_slice == 255)
    assert columns.mean() < 0.35 * width  # patient's right on the left
    assert rows.mean() < 0.45 * picture.shape[0]  # front at the top
    rows, columns = np.nonzero(coronal == 255)
    assert rows.mean() < 0.4 * picture.shape[0]  # head at the top
    assert columns.mean() < 0.35 * width


def test_overview_draws_all_masks_and_takes_an_empty_lung() -> None:
    hu, lungs, lesion = chest()
    lesion[10:30, 20:30, 35:45] = True
    plain = ct_overview(hu, (2.0, 1.0, 1.0), lungs, lesion)
    with_body = ct_overview(hu, (2.0, 1.0, 1.0), lungs, lesion, hu > -1000)
    assert near(plain, LUNG_COLOUR).any()
    assert near(plain, LESION_COLOUR).any()
    assert not near(plain, (240, 228, 66)).any()
    assert near(with_body, (240, 228, 66)).any()
    assert ct_overview(hu, (2.0, 1.0, 1.0), np.zeros_like(lungs), lesion).shape[1] == plain.shape[1]


def test_overview_refuses_a_mask_of_another_grid() -> None:
    hu, lungs, lesion = chest()
    with pytest.raises(DrrvalError, match=r"lesion mask has shape \(39, 50, 60\), the CT \(40, 50, 60\)"):
        ct_overview(hu, (2.0, 1.0, 1.0), lungs, lesion[1:])


def sheet(**changes: np.ndarray | None) -> np.ndarray:
    hu, lungs, lesion = chest()
    given = {"hu": hu, "lungs": lungs, "lesion": lesion, "probability": None, **changes}
    return ct_montage(given["hu"], (5.0, 4.0, 4.0), given["lungs"], given["lesion"], given["probability"])


def test_montage_shows_the_right_lung_on_the_left_and_the_head_above() -> None:
    drawn = sheet().astype(int)
    assert drawn.ndim == 3
    bright = (drawn > 240).all(axis=-1)
    height = drawn.shape[0]
    panels = [slice(k * (PANEL_WIDTH + 6), k * (PANEL_WIDTH + 6) + PANEL_WIDTH) for k in range(4)]
    for panel in panels:  # the four axial slices nearest to the head are the upper row, and show the block
        upper, lower = bright[: height // 2, panel], bright[height // 2 + 6 :, panel]
        assert upper[:, : PANEL_WIDTH // 2].sum() > 1000 + upper[:, PANEL_WIDTH // 2 :].sum()
        assert lower.sum() < 1000
    coronal = bright[:, panels[-1].stop + 6 : -180]
    assert coronal[: height // 2].sum() > 5 * coronal[height // 2 :].sum()


def test_montage_outlines_lesions_and_draws_both_courses() -> None:
    hu, _, lesion = chest()
    lesion[6:12, 20:30, 34:44] = True
    plain, drawn = sheet(), sheet(lesion=lesion, probability=np.linspace(0, 1, len(hu), dtype=np.float32))
    assert not near(plain[:, :-180], LESION_COLOUR).any()
    axial = near(drawn, LESION_COLOUR)[:, : 4 * PANEL_WIDTH + 18]
    rows, columns = np.nonzero(axial)
    assert rows.min() > drawn.shape[0] // 2  # only slices near the feet hold the lesion
    assert (columns % (PANEL_WIDTH + 6) > PANEL_WIDTH / 2).all()  # it lies in the left lung
    profile = drawn[:, -160:]
    green = (profile == np.array((120, 220, 120))).all(axis=-1)
    top, bottom = (np.nonzero(green[rows])[1].mean() for rows in (np.s_[40:80], np.s_[-80:-40]))
    assert top > bottom + 60  # probability grows to the head


def test_montage_without_lungs_shows_the_whole_volume() -> None:
    _, lungs, _ = chest()
    drawn = sheet(lungs=np.zeros_like(lungs))
    assert not near(drawn, LUNG_COLOUR).any()
    assert drawn.shape[0] == 2 * PANEL_WIDTH * 50 // 60 + 6  # two rows of panels with the aspect of the volume
