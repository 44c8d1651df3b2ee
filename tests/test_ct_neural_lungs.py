"""Grids, label clean-up and the way from slices to lungs with a stand-in network; the bundled weights on a phantom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import torch
from test_ct_lungs import SPACING, dice, ellipsoid, thorax
from torch import Tensor, nn

from ct_models.grid import axis_weights, resample, resampled_shape
from ct_models.lung_split import split_right_left
from ct_models.networks.lung_net import VARIANTS, LungNet
from ct_models.neural_lungs import WEIGHTS, NeuralLungSegmenter, lung_labels, lung_probability

FINE = (2.0, 0.7, 0.8)


@pytest.mark.parametrize(
    ("n", "step", "n_out", "step_out"), [(40, 3.0, 60, 2.0), (40, 3.0, 41, 3.0), (60, 1.0, 15, 4.0)]
)
def test_resampling_keeps_a_ramp(n: int, step: float, n_out: int, step_out: float) -> None:
    weights = axis_weights(n, step, n_out, step_out, shift_mm=1.3)
    given = (np.arange(n) - (n - 1) / 2) * step
    wanted = (np.arange(n_out) - (n_out - 1) / 2) * step_out + 1.3
    inside = np.abs(wanted) < given[-1] - max(step, step_out)
    assert inside.sum() > 5
    np.testing.assert_allclose((weights @ given)[inside], wanted[inside], atol=0.06 * step_out)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)


def test_resampling_towards_finer_voxels_is_linear_interpolation() -> None:
    values = np.random.default_rng(0).normal(size=20)
    found = axis_weights(20, 2.0, 50, 0.8) @ values
    wanted = np.interp((np.arange(50) - 24.5) * 0.8, (np.arange(20) - 9.5) * 2.0, values)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_resampled_volume_has_its_axes_in_order() -> None:
    volume = np.zeros((10, 20, 30), np.float32)
    volume[7, 3, 25] = 1.0
    shape = resampled_shape((10, 20, 30), (4.0, 1.5, 1.5), (2.0, 3.0, 1.5))
    assert shape == (20, 10, 30)
    found = resample(volume, (4.0, 1.5, 1.5), shape, (2.0, 3.0, 1.5))
    z, y, x = np.unravel_index(found.argmax(), found.shape)
    assert (z in (14, 15), y, x) == (True, 1, 25)


@pytest.mark.parametrize("variant", VARIANTS)
def test_network_gives_three_maps_of_the_slice(variant: str) -> None:
    network = LungNet(variant).eval()
    with torch.inference_mode():
        assert network(torch.full((1, 3, 32, 64), -800.0)).shape == (1, 3, 32, 64)


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="No lung network is called 'unet'"):
        LungNet("unet")


class StandIn(LungNet):
    """Calls lung what is as dense as lung, and right what lies on the spine's right-hand side of the image."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.anchor = nn.Parameter(torch.zeros(1))
        self.slices = 0

    def forward(self, hu: Tensor) -> Tensor:
        """Lung below -400 HU; the spine parts right and left."""
        self.slices += len(hu)
        lung = ((hu[:, 1] > -1000) & (hu[:, 1] < -400)).float()
        columns = torch.arange(hu.shape[-1])
        spine = (hu[:, 1] > 400).float().sum(dim=1)
        middle = (spine * columns).sum(dim=1) / spine.sum(dim=1)
        side = (columns[None] < middle[:, None]).float()[:, None]
        return torch.stack([1 - lung, lung * side, lung * (1 - side)], dim=1) * 20


def _lungs_alone() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The phantom with tissue in place of all air that is not lung: none of it may confuse the stand-in."""
    hu, right, left = thorax()
    hu[~(right | left) & (hu < 300.0)] = 40.0
    return hu, right, left


def _segmenter(network: LungNet) -> NeuralLungSegmenter:
    segmenter = NeuralLungSegmenter.__new__(NeuralLungSegmenter)
    segmenter.network = network
    return segmenter


@pytest.mark.parametrize("factor", [1, 2])
def test_slices_come_back_to_where_they_were_cut(factor: int) -> None:
    hu, right, left = _lungs_alone()
    fine = hu.repeat(factor, axis=1).repeat(factor, axis=2)[:, :, :-1]  # odd: blocks stick out
    truth = (right + 2 * left).repeat(factor, axis=1).repeat(factor, axis=2)[:, :, :-1]
    result = _segmenter(StandIn().eval())(fine, (SPACING[0], SPACING[1] / factor, SPACING[2] / factor))
    assert result.labels.shape == fine.shape
    assert result.labels.dtype == np.uint8
    assert dice(result.labels == 1, truth == 1) > 0.97
    assert dice(result.labels == 2, truth == 2) > 0.97
    assert result.flags == ()


def test_slices_without_lung_are_not_read() -> None:
    hu, _, _ = _lungs_alone()
    below = np.full((100, *hu.shape[1:]), 40.0, np.float32)
    below[:, 60:65, 58:62] = 600.0
    network = StandIn().eval()
    probability = lung_probability(network, np.concatenate([below, hu]), SPACING)
    assert probability.shape[0] == 2
    assert network.slices < 170
    assert not probability[:, :80].any()


def test_a_mirrored_chest_keeps_right_on_the_same_side_of_the_image() -> None:
    hu, right, left = _lungs_alone()
    labels = _segmenter(StandIn().eval())(hu[:, :, ::-1].copy(), SPACING).labels
    assert dice(labels == 1, left[:, :, ::-1]) > 0.97
    assert dice(labels == 2, right[:, :, ::-1]) > 0.97


def test_islands_join_the_lung_around_them_and_specks_go() -> None:
    shape, spacing = (40, 60, 80), (4.0, 3.0, 3.0)
    right, left = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    right[5:30, 10:50, 5:35] = 1.0
    left[5:30, 10:50, 45:75] = 1.0
    left[10:14, 20:30, 60:66] = 0.0
    right[10:14, 20:30, 60:66] = 1.0  # a piece of the left lung that the network calls right
    right[38, 2, 2] = 1.0  # a speck
    right[33:38, 10:30, 5:35] = 1.0  # the apex, parted from the rest by a layer of disease
    labels = lung_labels(right, left, right + left > 0.5, spacing)
    assert (labels[10:14, 20:30, 60:66] == 2).all()
    assert labels[38, 2, 2] == 0
    assert (labels[33:38, 10:30, 5:35] == 1).all()


def test_air_is_lung_at_a_lower_probability_than_tissue() -> None:
    right = np.zeros((20, 40, 40), np.float32)
    right[:, 5:35, 5:20], right[:, 5:35, 20:25] = 1.0, 0.35
    air = np.zeros(right.shape, bool)
    air[:, :20] = True
    labels = lung_labels(right, np.zeros_like(right), air, (4.0, 3.0, 3.0))
    assert (labels[:, 5:20, 20:22] == 1).all()
    assert not labels[:, 5:20, 23:].any(), "air far from any lung counts as lung"
    assert not labels[:, 20:35, 20:].any(), "tissue counts as lung"


def test_a_scan_without_lungs_is_refused() -> None:
    with pytest.raises(ValueError, match="no lungs found in a volume"):
        lung_probability(StandIn().eval(), np.full((20, 64, 64), 40.0, np.float32), SPACING)
    with pytest.raises(ValueError, match="the network calls 0 cm3 lung"):
        lung_labels(*np.zeros((2, 10, 10, 10), np.float32), np.ones((10, 10, 10), bool), SPACING)


def test_input_that_is_no_volume_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a \[z, y, x\] volume"):
        _segmenter(StandIn())(np.zeros((4, 4), np.float32), SPACING)
    with pytest.raises(ValueError, match="three positive spacings"):
        _segmenter(StandIn())(np.zeros((4, 4, 4), np.float32), (1.0, 0.0, 1.0))


def test_weights_of_another_store_are_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="No weights are called 'ct-lungs-light'"):
        NeuralLungSegmenter(tmp_path)


def test_bundled_weights_find_both_lungs_of_a_phantom() -> None:
    hu, right, left = thorax()
    labels = NeuralLungSegmenter(device="cpu")(hu, SPACING).labels
    assert dice(labels == 1, right) > 0.9
    assert dice(labels == 2, left) > 0.9
    assert np.count_nonzero(labels[ellipsoid((-110, -40, 60), (22, 30, 30))]) == 0, "stomach gas counts as lung"
    assert (WEIGHTS / "ct-lungs-light.md").is_file()


@pytest.mark.data
def test_lungs_of_a_real_chest_agree_with_its_mask(data_root: Path) -> None:
    image = sitk.ReadImage(str(data_root / "ct" / "lowres_04.nii.gz"))
    image, mask = (
        sitk.DICOMOrient(i, "LPS") for i in (image, sitk.ReadImage(str(data_root / "ct" / "lowres_04_lungs.nii.gz")))
    )
    hu, lungs = sitk.GetArrayFromImage(image).astype(np.float32), sitk.GetArrayFromImage(mask) > 0
    x, y, z = image.GetSpacing()
    sides, _ = split_right_left(hu, lungs, hu.shape[2] / 2, (z, y, x))
    labels = NeuralLungSegmenter(device="cpu")(hu, (z, y, x)).labels
    for side in (1, 2):
        assert dice(labels == side, sides == side) > 0.96
