"""Lesions as patterns spread them, their scaling, and the commands and files around them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import label

from drrval.disease import PATTERNS, Lesion, Pattern, draw_lesions, fit_extent
from drrval.disease.bronchogram import air_bronchograms
from drrval.disease.envelope import LungSpace
from drrval.disease.fissures import rough_lobes
from drrval.disease.lesion_file import read_lesions, write_lesions
from drrval.disease.masks import read_labels, read_lungs
from drrval.disease.spread import extent_percent
from drrval.disease.texture import lobules, smooth_noise
from drrval.errors import StudyError
from drrval.volume import CTVolume, Grid

GRID = Grid((70, 60, 100), (3.0, 3.0, 3.0), (-148.5, -88.5, -103.5))


@pytest.fixture(scope="module")
def lungs() -> np.ndarray:
    """Two ellipsoidal lungs of 2 litres each."""
    z, y, x = np.ogrid[:70, :60, :100]
    pair = np.zeros(GRID.shape, np.uint8)
    for number, middle in ((1, 27), (2, 72)):
        pair[((z - 35) / 33) ** 2 + ((y - 30) / 27) ** 2 + ((x - middle) / 20) ** 2 <= 1] = number
    return pair


def axes(spacing: float, count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axis = ((np.arange(count) - count // 2) * spacing).astype(np.float32)
    return axis, axis, axis


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_wanted_extent_is_reached_and_draws_repeat(pattern: Pattern, lungs: np.ndarray) -> None:
    wanted = 2.5
    drawn = draw_lesions(pattern, 3, wanted)
    assert drawn == draw_lesions(pattern, 3, wanted) != draw_lesions(pattern, 4, wanted)
    fitted = fit_extent(drawn, GRID, lungs, wanted)
    assert extent_percent(fitted, GRID, lungs) == pytest.approx(wanted, rel=0.02)
    ratios = {a.radii_mm[0] / b.radii_mm[0] for a, b in zip(fitted, drawn, strict=True)}
    assert max(ratios) - min(ratios) < 1e-9  # one factor for all


def test_covid_is_bilateral_peripheral_posterior_and_basal() -> None:
    drawn = [lesion for seed in range(60) for lesion in draw_lesions("covid", seed, 10.0)]
    centres = np.array([lesion.centre for lesion in drawn])
    peripheral = (centres[:, 0] > 0.85) | (centres[:, 1] > 0.85)
    assert peripheral.mean() > 0.75
    assert np.median(centres[:, 1]) > 0.7
    assert np.median(centres[:, 2]) < 0.5
    sides = [{lesion.side for lesion in draw_lesions("covid", seed, 10.0)} for seed in range(20)]
    assert all(found == {"right", "left"} for found in sides)
    kinds = [lesion.kind for lesion in drawn]
    assert kinds.count("ggo") > len(kinds) / 2
    late = [lesion.kind for seed in range(60) for lesion in draw_lesions("covid", seed, 40.0)]
    assert kinds.count("ggo") / len(kinds) > late.count("ggo") / len(late)


def test_lobar_pneumonia_fills_one_lobe_before_the_next(lungs: np.ndarray) -> None:
    for seed in range(10):
        one, many = draw_lesions("lobar", seed, 5.0), draw_lesions("lobar", seed, 60.0)
        assert len({lesion.lobe for lesion in one}) == 1 < len({lesion.lobe for lesion in many})
        assert many[0].lobe == one[0].lobe
        assert all(lesion.side == ("right" if lesion.lobe <= 3 else "left") for lesion in many)


def test_bronchopneumonia_has_many_small_foci(lungs: np.ndarray) -> None:
    lesions = fit_extent(draw_lesions("broncho", 2, 3.0), GRID, lungs, 3.0)
    inside = np.zeros(GRID.shape, bool)
    for lesion in lesions:
        envelope = LungSpace(GRID, lungs).envelope(lesion)
        assert envelope is not None
        inside[envelope.box] |= envelope.lesion
    assert label(inside)[1] >= 5
    assert np.median([max(lesion.radii_mm) for lesion in lesions]) < 25.0


def test_more_extent_is_more_disease(lungs: np.ndarray) -> None:
    lesion = Lesion("right", (0.7, 0.7, 0.4), (35.0, 30.0, 35.0), seed=8)
    volumes = [extent_percent([lesion.scaled(share)], GRID, lungs) for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert all(b > a for a, b in itertools.pairwise(volumes))
    assert volumes[0] / volumes[-1] == pytest.approx(0.1, abs=0.06)
    space = LungSpace(GRID, lungs)
    small, large = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    for mask, share in ((small, 0.5), (large, 1.0)):
        envelope = space.envelope(lesion.scaled(share))
        assert envelope is not None
        mask[envelope.box] = envelope.lesion
    assert (small & large).sum() > 0.97 * small.sum()  # a lesion grows over what it was


def test_scaling_keeps_the_place_and_stops_at_the_largest_radius() -> None:
    lesion = Lesion("left", (0.5, 0.5, 0.5), (20.0, 30.0, 40.0), seed=5)
    assert lesion.scaled(0.125).radii_mm == pytest.approx((10.0, 15.0, 20.0))
    assert lesion.scaled(1e6).radii_mm == (150.0, 150.0, 150.0)
    assert lesion.scaled(0.5).seed == 5
    with pytest.raises(StudyError, match=r"fraction=0\.0"):
        lesion.scaled(0.0)


def test_an_extent_out_of_reach_is_refused(lungs: np.ndarray) -> None:
    with pytest.raises(StudyError, match="out of reach: these 1 lesions"):
        fit_extent([Lesion("right", (0.5, 0.5, 0.5), (20.0,) * 3, lobe=2)], GRID, lungs, 40.0)


@pytest.mark.parametrize(
    ("pattern", "seed", "extent", "message"),
    [("viral", 0, 5.0, "pattern='viral'"), ("covid", -1, 5.0, "seed=-1"), ("covid", 0, 95.0, r"extent_percent=95\.0")],
)
def test_bad_draws_are_refused(pattern: str, seed: int, extent: float, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        draw_lesions(pattern, seed, extent)  # type: ignore[arg-type]


def test_noise_has_unit_spread_and_does_not_depend_on_the_grid() -> None:
    fine, coarse = smooth_noise(axes(1.0), 8.0, (1, 2)), smooth_noise(axes(2.0, 20), 8.0, (1, 2))
    wide = smooth_noise(axes(7.0), 8.0, (5, 2))
    assert 0.35 < fine.std() < 1.6
    assert abs(wide.mean()) < 0.1
    assert np.corrcoef(fine[::2, ::2, ::2].ravel(), coarse.ravel())[0, 1] > 0.98
    assert np.std([smooth_noise(axes(1.0, 2), 4.0, (n, 1))[0, 0, 0] for n in range(400)]) == pytest.approx(
        1.0, abs=0.15
    )


def test_lobules_are_one_to_two_and_a_half_centimetres_wide() -> None:
    wall_mm, own = lobules(axes(1.5), (3, 1), 1.5)
    assert wall_mm.min() < 0.3
    assert 4.0 < np.quantile(wall_mm, 0.99) < 12.5
    cells = label(wall_mm > 1.0)[1]
    assert 60.0**3 / 25.0**3 < cells < 60.0**3 / 8.0**3
    assert abs(own.mean()) < 0.6


def test_air_bronchograms_are_thin_and_branch() -> None:
    lumen = air_bronchograms(axes(1.0, 80), (0.0, 0.0, 60.0), (1,))
    assert lumen.min() >= 0.0
    assert lumen.max() == 1.0
    assert 0.002 < lumen.mean() < 0.05
    near, far = (label(lumen[:, :, column] > 0.3)[1] for column in (60, 30))
    assert far > near


def test_rough_lobes_divide_each_lung_about_as_anatomy_does(lungs: np.ndarray) -> None:
    lobes = rough_lobes(lungs)
    assert np.array_equal(lobes > 0, lungs > 0)
    assert set(np.unique(lobes[lungs == 1])) == {1, 2, 3}
    assert set(np.unique(lobes[lungs == 2])) == {4, 5}
    heights = [np.nonzero(lobes == n)[0].mean() for n in (1, 3)]
    rows = [np.nonzero(lobes == n)[1].mean() for n in (2, 3)]
    assert heights[0] > heights[1]
    assert rows[0] < rows[1]


def test_rough_fissures_are_curved_so_that_lobar_disease_has_no_straight_edge(lungs: np.ndarray) -> None:
    lobes = rough_lobes(lungs)
    on_border = (lobes[:-1] == 2) & (lobes[1:] == 1)
    heights = np.nonzero(on_border)[0]
    assert np.ptp(heights) * GRID.spacing_mm[2] > 8
    slope = np.polynomial.Polynomial.fit(np.nonzero(on_border)[2], heights, 1)
    assert np.std(heights - slope(np.nonzero(on_border)[2])) * GRID.spacing_mm[2] > 2


def test_lesions_survive_a_file(tmp_path: Path) -> None:
    lesions = draw_lesions("covid", 1, 5.0)
    write_lesions(tmp_path / "lesions.yaml", lesions)
    assert read_lesions(tmp_path / "lesions.yaml") == lesions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lesion: []", "one key 'lesions'"),
        ("lesions: [{side: right}]", "lesion 1: centre, radii_mm missing"),
        ("lesions: [{side: up, centre: [0, 0, 0], radii_mm: [1, 1, 1]}]", "side='up'"),
        ("lesions: [{size: 3}]", "must be a mapping of: side"),
        ("lesions: [{side: right, centre: middle, radii_mm: [1, 1, 1]}]", "lesion 1"),
    ],
)
def test_bad_lesion_files_name_the_lesion(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lesions.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=message):
        read_lesions(path)


def save(path: Path, labels: np.ndarray, grid: Grid) -> Path:
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    sitk.WriteImage(image, str(path))
    return path


def ct_of(lungs: np.ndarray) -> CTVolume:
    hu = np.where(lungs > 0, -850, 40).astype(np.float32)
    return CTVolume(hu, GRID, np.ones(hu.shape[1:], bool), "chest")


def test_lung_masks_are_read_on_the_grid_of_the_ct(tmp_path: Path, lungs: np.ndarray) -> None:
    assert np.array_equal(read_lungs(save(tmp_path / "a.nii.gz", lungs, GRID), ct_of(lungs)), lungs)
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    sitk.WriteImage(sitk.Flip(image, [True, True, False]), str(tmp_path / "b.nii.gz"))  # other storage, same place
    assert np.array_equal(read_lungs(tmp_path / "b.nii.gz", ct_of(lungs)), lungs)


@pytest.mark.parametrize("label", [1, 2])
def test_a_mask_with_one_label_for_both_lungs_is_split(
    tmp_path: Path, lungs: np.ndarray, caplog: pytest.LogCaptureFixture, label: int
) -> None:
    path = save(tmp_path / "both.nii.gz", np.where(lungs > 0, label, 0).astype(np.uint8), GRID)
    with caplog.at_level("INFO", logger="drrval"):
        assert np.array_equal(read_lungs(path, ct_of(lungs)), lungs)
    assert "one label for both lungs; they were split into right (1) and left (2)" in caplog.text


def test_lungs_that_touch_are_split_where_they_touch(tmp_path: Path, lungs: np.ndarray) -> None:
    joined = lungs > 0
    joined[20:50, 30, 40:60] = True  # a junction line seen as lung
    found = read_lungs(save(tmp_path / "joined.nii.gz", joined.astype(np.uint8), GRID), ct_of(joined))
    assert np.array_equal(found > 0, joined)
    assert np.mean(found[lungs > 0] == lungs[lungs > 0]) > 0.999


def test_the_mask_of_one_lung_is_not_cut(tmp_path: Path, lungs: np.ndarray) -> None:
    only_right = np.where(lungs == 1, 1, 0).astype(np.uint8)
    assert read_lungs(save(tmp_path / "one.nii.gz", only_right, GRID), ct_of(lungs)).max() == 1
    only_left = np.where(lungs == 2, 2, 0).astype(np.uint8)
    assert read_lungs(save(tmp_path / "two.nii.gz", only_left, GRID), ct_of(lungs)).max() == 2


def block() -> np.ndarray:
    """One joined thing across the middle of the body."""
    mask = np.zeros(GRID.shape, np.uint8)
    mask[20:50, 20:40, 30:70] = 1
    return mask


def test_a_mask_larger_than_any_lungs_is_refused(tmp_path: Path, lungs: np.ndarray) -> None:
    large = Grid(GRID.shape, (6.0, 6.0, 6.0), GRID.origin_mm)  # 33 litres
    ct = CTVolume(ct_of(lungs).hu, large, np.ones(lungs.shape[1:], bool), "chest")
    with pytest.raises(StudyError, match=r"marks 3\d\.\d litres"):
        read_lungs(save(tmp_path / "large.nii.gz", lungs, large), ct)


def test_lung_masks_that_do_not_fit_are_refused(tmp_path: Path, lungs: np.ndarray) -> None:
    shifted = Grid(GRID.shape, GRID.spacing_mm, (-140.0, -88.5, -103.5))
    cases = {
        "has .* voxels": save(tmp_path / "short.nii.gz", lungs[2:], GRID),
        "lies up to 2.8 voxels away": save(tmp_path / "shifted.nii.gz", lungs, shifted),
        "right and left swapped": save(tmp_path / "swapped.nii.gz", np.array([0, 2, 1], np.uint8)[lungs], GRID),
        "holds the value 7": save(tmp_path / "seven.nii.gz", np.where(lungs > 0, 7, 0).astype(np.uint8), GRID),
        "is empty": save(tmp_path / "empty.nii.gz", np.zeros_like(lungs), GRID),
        "no NIfTI, NRRD or MetaImage": tmp_path / "mask.png",
        "There is no lung mask": tmp_path / "absent.nii.gz",
        "one label only, 1, .* the patient's left side": save(
            tmp_path / "left_as_1.nii.gz", (lungs == 2).astype(np.uint8), GRID
        ),
        "one label only, 2, .* the patient's right side": save(
            tmp_path / "right_as_2.nii.gz", 2 * (lungs == 1).astype(np.uint8), GRID
        ),
        "one label only, 1, .* on both sides of the body": save(tmp_path / "block.nii.gz", block(), GRID),
        "100 percent of the CT's voxels": save(tmp_path / "all.nii.gz", np.ones_like(lungs), GRID),
    }
    (tmp_path / "mask.png").touch()
    for message, path in cases.items():
        with pytest.raises(StudyError, match=message):
            read_lungs(path, ct_of(lungs))
    with pytest.raises(StudyError, match=r"The lobe mask .* whole labels from 0 to 5"):
        read_labels(tmp_path / "seven.nii.gz", GRID, "lobe mask", 5)
