"""The torch side of `tcn`: the network, and the loss of labels, boundaries and calm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from candelabra.models.regime_tcn import KERNEL, Mode, RegimeTcn, TcnSettings
from candelabra.training.regime_loss import regime_loss, regime_worth
from candelabra.training.regime_problem import RegimeTargets
from candelabra.windows.batches import Batch

__all__ = ["RegimeTask", "TcnNetwork"]


class TcnNetwork(nn.Module):
    """What `models.regime_tcn` computes, with gradients."""

    def __init__(self, channels: int, settings: TcnSettings, heads: Mapping[str, tuple[str, ...]], mode: Mode) -> None:
        super().__init__()
        self.settings, self.heads, self.mode = settings, dict(heads), mode
        width = settings.width
        self.embed = nn.Linear(channels, width)
        self.convolutions = nn.ModuleList(nn.Linear(KERNEL * width, width) for _ in settings.dilations)
        self.norms = nn.ParameterList(nn.Parameter(torch.ones(width)) for _ in settings.dilations)
        self.head = nn.Linear(width, sum(map(len, heads.values())) + len(heads))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, bars, channels)`` -> logits of all heads and the boundaries, side by side."""
        hidden = self.embed(x)
        bars = hidden.shape[1]
        for dilation, layer, norm in zip(self.settings.dilations, self.convolutions, self.norms, strict=True):
            reach = (KERNEL - 1) * dilation
            normed = F.rms_norm(hidden, (hidden.shape[-1],), norm, 1e-6)
            padded = F.pad(normed, (0, 0, reach, 0) if self.mode == "filtered" else (0, 0, dilation, dilation))
            inner = F.silu(layer(torch.cat([padded[:, i * dilation : i * dilation + bars] for i in range(KERNEL)], dim=-1)))
            hidden = hidden + F.dropout(inner, self.settings.dropout, self.training)
        return self.head(hidden)

    def frozen(self) -> RegimeTcn:
        """The same as arrays."""
        weights = {name: p.detach().cpu().numpy().copy() for name, p in self.named_parameters()}
        return RegimeTcn(self.settings, self.mode, self.heads, weights)


class RegimeTask:
    """What the loop asks (`training.loop.Task`): cross-entropy weighted by confidence, boundaries, calm; validated by what is shown.

    The first ``masked`` bars of a training sequence are left out (and the last, for a smoothed network).
    """

    def __init__(self, network: TcnNetwork, targets: RegimeTargets, masked: int) -> None:
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
            low = max(0, first - self._network.settings.receptive_field)
            yield low, frozen.probabilities(table[low:stop])
