"""Grad-CAM of the slice classifiers: closed form against autograd, polarity, any layer; refinement to voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ct_models.localisation import disease_probability, head_cam, layer_cam
from ct_models.networks.slice_net import VARIANTS, SliceNet, make_slice_net
from neural.gradcam import grad_cam


class GreyNet(SliceNet):
    """Averages the picture itself; the head looks at the middle slice with a given weight."""

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.same = nn.Identity()
        self.fc = nn.Linear(3, 1)
        self.fc.weight = nn.Parameter(torch.tensor([[0.0, weight, 0.0]]))

    @property
    def backbone(self) -> nn.Module:
        return self.same

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def activation(self, images: Tensor) -> Tensor:
        return self.same(images)


def images(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_closed_form_equals_backpropagated_grad_cam(variant: str) -> None:
    torch.manual_seed(0)
    network = make_slice_net(variant).eval()
    highest = []
    for sign in (1.0, -1.0):  # what one head is for, the other is against
        network.head.weight.data *= sign
        reading = network(images())
        wanted = grad_cam(reading.logit, reading.activation)
        torch.testing.assert_close(head_cam(network, reading), wanted, rtol=1e-4, atol=float(1e-5 * wanted.max()))
        highest.append(float(wanted.max()))
    assert max(highest) > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_slice_logit_is_mean_evidence_plus_bias(variant: str) -> None:
    torch.manual_seed(0)
    network = make_slice_net(variant).eval()
    with torch.inference_mode():
        reading = network(images())
        head = network.head(reading.activation.mean(dim=(2, 3)))[:, 0]
    torch.testing.assert_close(reading.logit, head, rtol=1e-4, atol=1e-3)


def test_cam_shows_what_raises_the_logit_and_nothing_else() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, 1, 4:8, 20:24] = 1.0
    cam = head_cam(GreyNet(10.0), GreyNet(10.0)(picture)).detach()
    assert (cam[0, 4:8, 20:24] > 0).all()
    assert cam.sum() == pytest.approx(float(cam[0, 4:8, 20:24].sum()))
    assert not head_cam(GreyNet(-10.0), GreyNet(-10.0)(picture)).any()


def test_cam_of_any_layer_by_backpropagation() -> None:
    grey = GreyNet(3.0).eval()
    torch.testing.assert_close(layer_cam(grey, grey.same, images()), head_cam(grey, grey(images())).detach())
    torch.manual_seed(0)
    network = make_slice_net("ct-slices-light").eval()
    coarse = layer_cam(network, network.backbone.get_submodule("_blocks.10"), images())
    assert coarse.shape == (2, 4, 4)
    assert (coarse >= 0).all()


def test_probability_follows_the_evidence() -> None:
    locations = 4 * 4
    evidence = torch.tensor([0.0, 400.0, 800.0])
    cam = (evidence / locations).view(3, 1, 1).expand(3, 4, 4)
    probability = disease_probability(cam, (16, 16))
    assert probability.shape == (3, 16, 16)
    wanted = 1.0 / (1.0 + np.exp(4.0 - evidence.numpy() / 100.0))
    np.testing.assert_allclose(probability[:, 8, 8].numpy(), wanted, rtol=1e-5)


def test_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected one of: ct-slices, ct-slices-light"):
        make_slice_net("ct-slice")
