"""The torch side of `tcn`: the network, and the loss of labels, boundaries and calm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segment_bounds import covering
from candelabra.metrics.segments import macro_f1
from candelabra.models.regime_tcn import KERNEL, Mode, RegimeTcn, TcnSettings
from candelabra.regimes.hysteresis import HysteresisSettings, hysteresis
from candelabra.windows.batches import Batch

__all__ = ["COLUMNS", "RegimeTask", "TcnNetwork"]

COLUMNS = 3
"""Targets of a timeframe, side by side: code, weight, nearness of a boundary; NaN where unlabelled."""

_CALM = HysteresisSettings(0.0, 3, 0)  # covering of single bars' labels is all noise: three in a row count
_CLIP = 16.0  # of a squared difference of log probabilities: a real boundary costs no more


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

    ``tables``, ``truths[tf]``: inputs and codes ``(n,)`` of each symbol; ``ranges``: rows judged in validation. The first ``masked``
    bars of a training sequence are left out (and the last, for a smoothed network).
    """

    def __init__(
        self,
        network: TcnNetwork,
        tables: Sequence[NDArray[np.float32]],
        truths: Mapping[str, Sequence[NDArray[np.int16]]],
        ranges: Sequence[tuple[int, int]],
        masked: int,
    ) -> None:
        self.module: nn.Module = network
        self.device = torch.device("cpu")
        self._network, self._tables, self._truths, self._ranges, self._masked = network, tables, truths, ranges, masked

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean over timeframes of the labels' loss, with boundaries and calm; parts: labels, boundaries."""
        (x,) = batch.x.values()
        kept = slice(self._masked, None if self._network.mode == "filtered" else -self._masked)
        out, targets = self._network(x)[:, kept].float(), batch.targets[:, kept]
        total, labels_part, boundary_part, at = out.new_zeros(()), out.new_zeros(()), out.new_zeros(()), 0
        settings, count = self._network.settings, len(self._network.heads)
        first_boundary = out.shape[-1] - count
        for k, names in enumerate(self._network.heads.values()):
            logits, at = out[..., at : at + len(names)], at + len(names)
            code, weight, near = targets[..., COLUMNS * k : COLUMNS * (k + 1)].unbind(-1)
            known = torch.isfinite(code)
            weight = torch.where(known, weight, 0.0)
            logs = torch.log_softmax(logits, -1)
            right = logs.gather(-1, torch.where(known, code, 0.0).long()[..., None])[..., 0]
            labels = -(right * weight).sum() / weight.sum().clamp(min=1e-6)
            seen = torch.isfinite(near)
            boundary = F.binary_cross_entropy_with_logits(out[..., first_boundary + k], torch.where(seen, near, 0.0), reduction="none")
            boundary = (boundary * seen).sum() / seen.sum().clamp(min=1)
            calm = (logs[:, 1:] - logs[:, :-1].detach()).square().clamp(max=_CLIP).mean()
            total = total + labels + settings.boundary_weight * boundary + settings.smooth_weight * calm
            labels_part, boundary_part = labels_part + labels.detach(), boundary_part + boundary.detach()
        return total / count, torch.stack((labels_part, boundary_part)) / count

    def validate(self) -> tuple[float, list[float]]:
        """2 - (macro-F1 + covering), a mean over timeframes and symbols, of the likeliest labels held for three bars."""
        frozen, worth = self._network.frozen(), []
        for number, (table, (first, stop)) in enumerate(zip(self._tables, self._ranges, strict=True)):
            low = max(0, first - self._network.settings.receptive_field)
            chances = frozen.probabilities(table[low:stop])
            for name, p in chances.items():
                held = hysteresis(p, _CALM)[first - low :]
                bars = judged_bars(self._truths[name][number][first:stop], held)
                if len(bars):
                    worth.append((macro_f1(bars, p.shape[1]), covering(bars)))
        if not worth:
            return 2.0, [0.0, 0.0]
        f1, cover = np.nanmean(np.array(worth), axis=0)
        return float(2 - f1 - cover), [float(f1), float(cover)]
