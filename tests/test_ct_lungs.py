"""Lung segmentation on synthetic thoraces whose lungs are known, and on CT with reference masks."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from ct_models.lungs import segment_lungs

SPACING = (4.0, 3.0, 3.0)  # z, y, x
SHAPE = (70, 100, 120)
Mask = npt.NDArray[np.bool_]


def ellipsoid(centre_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> Mask:
    """Ellipsoid given in millimetres from the middle of the volume, order z, y, x."""
    axes = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    parts = [
        ((axis - (n - 1) / 2) * spacing - centre) / radius
        for axis, n, spacing, centre, radius in zip(axes, SHAPE, SPACING, centre_mm, radii_mm, strict=True)
    ]
    return sum(part**2 for part in parts) <= 1  # type: ignore[return-value]


def thorax(lung_x_mm: float = 70.0) -> tuple[npt.NDArray[np.float32], Mask, Mask]:
    """Body, lungs, trachea, spine, table and stomach gas with 15 HU of noise; and the truth of both lungs."""
    hu = np.full(SHAPE, -1000.0, np.float32)
    hu[ellipsoid((0, 0, 0), (1e4, 120, 165))] = 40.0
    right, left = (ellipsoid((10, 0, side * lung_x_mm), (95, 75, 55)) for side in (-1, 1))
    left &= ~right
    hu[right | left] = -850.0
    hu[ellipsoid((0, 95, 0), (1e4, 15, 18))] = 600.0
    trachea = ellipsoid((0, -5, 0), (1e4, 8, 8)) & (np.arange(SHAPE[0]) > 40)[:, None, None]
    hu[trachea & ~right & ~left] = -990.0
    hu[ellipsoid((-110, -40, 60), (22, 30, 30))] = -990.0
    hu[:, -10:-8, 10:-10] = 100.0  # table plates with foam between
    hu[:, -8:-5, 10:-10] = -950.0
    hu[:, -5:-3, 10:-10] = 100.0
    hu += np.random.default_rng(0).normal(0, 15, SHAPE).astype(np.float32)
    return hu, right, left


def dice(a: Mask, b: Mask) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_both_lungs_are_found_on_their_sides_and_nothing_else() -> None:
    hu, right, left = thorax()
    result = segment_lungs(hu, SPACING)
    assert result.labels.dtype == np.uint8
    assert result.flags == ()
    assert dice(result.labels == 1, right) > 0.97
    assert dice(result.labels == 2, left) > 0.97
    outside = result.labels[ellipsoid((-110, -40, 60), (22, 30, 30))]
    assert np.count_nonzero(outside) == 0, "stomach gas counts as lung"
    assert np.count_nonzero(result.labels[:, -10:]) == 0, "table counts as lung"
    assert np.count_nonzero(result.labels[-3:]) == 0, "trachea counts as lung"


def test_full_grid_border_follows_the_hounsfield_values() -> None:
    hu, right, left = thorax()
    fine = np.repeat(np.repeat(hu, 2, axis=1), 2, axis=2)
    truth = np.repeat(np.repeat(right | left, 2, axis=1), 2, axis=2)
    labels = segment_lungs(fine, (4.0, 1.5, 1.5)).labels
    assert labels.shape == fine.shape
    assert dice(labels > 0, truth) > 0.98


@pytest.mark.parametrize(("lung_x_mm", "septum_hu"), [(54.4, None), (52.0, -600.0)])
def test_lungs_that_touch_are_parted_at_the_junction(lung_x_mm: float, septum_hu: float | None) -> None:
    hu, right, left = thorax(lung_x_mm)
    assert (right[:, :, :-1] & left[:, :, 1:]).any(), "the lungs of this test must touch"
    if septum_hu is not None:  # a pleura thinner than a voxel
        hu[:, :, 59:61][(right | left)[:, :, 59:61]] = septum_hu
    result = segment_lungs(hu, SPACING)
    assert "lungs_joined" not in result.flags
    assert dice(result.labels == 1, right) > 0.95
    assert dice(result.labels == 2, left) > 0.95


def test_lungs_without_a_neck_are_cut_at_the_midline_and_flagged() -> None:
    hu, _, _ = thorax()
    hu[ellipsoid((10, 0, 0), (95, 75, 125)) & (hu > -900)] = -850.0
    result = segment_lungs(hu, SPACING)
    assert "lungs_joined" in result.flags
    assert set(np.unique(result.labels)) == {0, 1, 2}


def test_stomach_gas_that_touches_the_lung_is_parted_from_it() -> None:
    hu, right, left = thorax()
    gas = ellipsoid((-95, 0, 75), (40, 35, 35)) & ~left
    hu[gas] = -990.0
    labels = segment_lungs(hu, SPACING).labels
    assert np.mean(labels[gas] > 0) < 0.1
    assert dice(labels > 0, right | left) > 0.95


@pytest.mark.parametrize("hounsfield", [-500.0, 30.0])
def test_disease_counts_as_lung(hounsfield: float) -> None:
    hu, right, _ = thorax()
    cage = ellipsoid((10, 0, -70), (110, 90, 68)) & ~ellipsoid((10, 0, -70), (100, 80, 60))
    hu[cage & (np.arange(SHAPE[2]) < 35)] = 500.0
    nodule = ellipsoid((0, 0, -70), (25, 25, 25))
    along_wall = ellipsoid((0, 0, -125), (15, 15, 15)) & right
    hu[nodule | along_wall] = hounsfield
    labels = segment_lungs(hu, SPACING).labels
    assert np.mean(labels[nodule] == 1) > 0.99
    assert np.mean(labels[along_wall] == 1) > 0.6


def test_a_scan_that_clips_the_lungs_is_flagged_at_that_end() -> None:
    hu, _, _ = thorax()
    assert segment_lungs(hu[25:], SPACING).flags == ("lungs_touch_first_slice",)
    assert segment_lungs(hu[:45], SPACING).flags == ("lungs_touch_last_slice",)


def test_small_lungs_are_flagged() -> None:
    hu, right, left = thorax()
    hu[(right | left) & ~ellipsoid((10, 0, -70), (50, 50, 40)) & ~ellipsoid((10, 0, 70), (50, 50, 40))] = 40.0
    assert segment_lungs(hu, SPACING).flags == ("lung_volume_small",)


def test_one_lung_alone_is_not_cut_in_two() -> None:
    hu, right, left = thorax()
    hu[left] = 40.0
    labels = segment_lungs(hu, SPACING).labels
    assert dice(labels == 1, right) > 0.97
    assert not (labels == 2).any()


def test_no_lungs_is_an_error_with_a_remedy() -> None:
    hu, right, left = thorax()
    hu[right | left] = 40.0
    with pytest.raises(
        ValueError, match=r"no lungs found: .* needs more than 150 cm3. Check that the volume is a chest CT"
    ):
        segment_lungs(hu, SPACING)
    with pytest.raises(ValueError, match="no lungs found"):
        segment_lungs(np.full((20, 20, 20), -1000.0, np.float32), SPACING)


def test_not_a_volume_or_no_spacing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 4\).* needs a \[z, y, x\] volume"):
        segment_lungs(np.zeros((4, 4), np.float32), SPACING)
    with pytest.raises(ValueError, match="three positive spacings"):
        segment_lungs(np.zeros((4, 4, 4), np.float32), (0.0, 1.0, 1.0))


@pytest.mark.data
@pytest.mark.parametrize("scan", ["lowres_01", "lowres_02", "lowres_03", "lowres_04"])
def test_dice_on_real_ct(data_root: Path, scan: str) -> None:
    def read(path: Path) -> sitk.Image:
        return sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")

    image = read(data_root / "ct" / f"{scan}.nii.gz")
    truth = sitk.GetArrayFromImage(read(data_root / "ct" / f"{scan}_lungs.nii.gz")) > 0
    sx, sy, sz = image.GetSpacing()
    result = segment_lungs(sitk.GetArrayFromImage(image).astype(np.float32), (sz, sy, sx))
    assert dice(result.labels > 0, truth) >= 0.97
    right, left = (np.nonzero(result.labels == side)[2].mean() for side in (1, 2))
    assert right < left
    assert 0.4 < np.mean(result.labels[result.labels > 0] == 1) < 0.7
