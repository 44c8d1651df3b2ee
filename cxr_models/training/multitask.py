"""DLNet as it is trained: with an auxiliary head, and with its first layers held still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from cxr_models.data.tables import NIH_FINDINGS
from cxr_models.networks.dlnet import DLNet, DLNetOutput


class TrainingOutput(NamedTuple):
    """DLNet's output, and the logits ``[N, finding]`` of :data:`cxr_models.data.tables.NIH_FINDINGS`."""

    dlnet: DLNetOutput
    findings: Tensor


class MultitaskDLNet(nn.Module):
    """DLNet with a linear head for the NIH findings, which is thrown away after training.

    Few images have a radiologist's label of pneumonia; many have findings from their report. Learning those too gives
    the backbone more to learn from (Caruana 1997, 10.1023/A:1007379606734).

    Args:
        dlnet: the network.
        frozen: how many of the encoder's first layers keep their weights and statistics (a stem's convolution and its
            normalisation count one each, and so does each block). They are the costliest, and see edges only.
    """

    def __init__(self, dlnet: DLNet, frozen: int = 0) -> None:
        super().__init__()
        self.dlnet = dlnet
        self.findings = nn.Linear(dlnet.encoder.channels[-1], len(NIH_FINDINGS))
        self._still = _layers(dlnet.encoder)[:frozen]
        for layer in self._still:
            layer.requires_grad_(False)

    def load_findings(self, state: Mapping[str, Tensor]) -> None:
        """Take the auxiliary head from a checkpoint's weights, if they hold one."""
        own = {key.removeprefix("findings."): value for key, value in state.items() if key.startswith("findings.")}
        if own:
            self.findings.load_state_dict(own)

    def train(self, mode: bool = True) -> MultitaskDLNet:
        """Training or evaluation mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        for layer in self._still:
            layer.eval()
        return self

    def forward(self, images: Tensor) -> TrainingOutput:
        """Both outputs for grey images ``[N, H, W]`` (:class:`cxr_models.networks.dlnet.DLNet`)."""
        output = self.dlnet(images)
        return TrainingOutput(output, self.findings(output.pooled))


def _layers(encoder: nn.Module) -> list[nn.Module]:
    """An encoder's layers in their order, blocks one by one."""
    layers: list[nn.Module] = []
    for child in encoder.children():
        layers += list(child) if isinstance(child, nn.ModuleList | nn.Sequential) else [child]
    return layers
