"""The torch side of regime networks: the convolution, which network is of which kind, and the task that all of them are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from candelabra.models.regime_encoder import EncoderKind, EncoderSettings, Mode, RegimeEncoder
from candelabra.models.regime_tcn import KERNEL, RegimeTcn, TcnSettings
from candelabra.training.regime_attention import TransformerNetwork
from candelabra.training.regime_loss import regime_loss, regime_worth
from candelabra.training.regime_module import RegimeModule
from candelabra.training.regime_problem import RegimeTargets
from candelabra.windows.batches import Batch

__all__ = ["RegimeTask", "TcnNetwork", "new_network", "thawed"]


class TcnNetwork(RegimeModule):
    """What `models.regime_tcn` computes, with gradients."""

    encoder = RegimeTcn

    def __init__(self, channels: int, settings: TcnSettings, heads: Mapping[str, tuple[str, ...]], mode: Mode) -> None:
        super().__init__(channels, settings, heads, mode)
        width = settings.width
        self.convolutions = nn.ModuleList(nn.Linear(KERNEL * width, width) for _ in settings.dilations)
        self.norms = nn.ParameterList(nn.Parameter(torch.ones(width)) for _ in settings.dilations)
        self.head = self._new_head()

    def forward(self, x: Tensor) -> Tensor:
        """See `RegimeModule.forward`."""
        hidden = self.embed(x)
        bars = hidden.shape[1]
        for dilation, layer, norm in zip(self.settings.dilations, self.convolutions, self.norms, strict=True):
            reach = (KERNEL - 1) * dilation
            normed = F.rms_norm(hidden, (hidden.shape[-1],), norm, 1e-6)
            padded = F.pad(normed, (0, 0, reach, 0) if self.mode == "filtered" else (0, 0, dilation, dilation))
            inner = F.silu(layer(torch.cat([padded[:, i * dilation : i * dilation + bars] for i in range(KERNEL)], dim=-1)))
            hidden = hidden + F.dropout(inner, self.settings.dropout, self.training)
        return self.head(hidden)


_NETWORKS: Final[Mapping[EncoderKind, type[RegimeModule]]] = {"convolution": TcnNetwork, "transformer": TransformerNetwork}


def new_network(channels: int, settings: EncoderSettings, heads: Mapping[str, tuple[str, ...]], mode: Mode) -> RegimeModule:
    """One of random weights, of the kind that the settings are of."""
    return _NETWORKS[settings.kind](channels, settings, heads, mode)


def thawed(encoder: RegimeEncoder) -> RegimeModule:
    """The torch side of a trained one."""
    module = new_network(encoder.channels, encoder.settings, encoder.heads, encoder.mode)
    module.take(encoder.weights)
    return module


class RegimeTask:
    """What the loop asks (`training.loop.Task`): cross-entropy weighted by confidence, boundaries, calm; validated by what is shown.

    The first ``masked`` bars of a training sequence are left out (and the last, for a smoothed network).
    """

    def __init__(self, network: RegimeModule, targets: RegimeTargets, masked: int) -> None:
        self.module: nn.Module = network
        self.device = torch.device("cpu")
        self._network, self._targets, self._masked = network, targets, masked

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `regime_loss`."""
        (x,) = batch.x.values()
        kept, settings = slice(self._masked, None if self._network.mode == "filtered" else -self._masked), self._network.settings
        out, targets = self._network(x)[:, kept].float(), batch.targets[:, kept]
        return regime_loss(out, targets, self._network.heads, settings.boundary_weight, settings.smooth_weight)

    def validate(self) -> tuple[float, list[float]]:
        """2 - (macro-F1 + covering), see `regime_worth`."""
        f1, cover = regime_worth(self._chances(), self._targets)
        return 2 - f1 - cover, [f1, cover]

    def _chances(self) -> Iterator[tuple[int, Mapping[str, NDArray[np.float64]]]]:
        frozen = self._network.frozen()
        for table, (first, stop) in zip(self._targets.tables, self._targets.ranges, strict=True):
            low = max(0, first - frozen.receptive_field)
            yield low, frozen.probabilities(table[low:stop])
