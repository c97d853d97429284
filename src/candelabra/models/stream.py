"""One new candle at a time: `ArmsStream` keeps keys and values of the last bars and gives what the banded pass would give.

A bar costs some eighty small operations, so their number is what counts: norms are folded into the matrices behind them, residuals are
added by the product itself, keys and values rest in one ring, and what the base arm reads of a coarse bar is worked out when that closes.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from candelabra.errors import UsageError
from candelabra.models.arms import ArmsNetwork, CrossFusion
from candelabra.models.layers import Block, Encoder, rotary, turn

__all__ = ["ArmsStream"]

_AHEAD: Final = 512  # positions whose angles are worked out at once


def _normed_product(weight: Tensor, x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """``weight @ rms_norm(x)`` without the norm's own passes: it is a factor."""
    return torch.addmv(x.new_empty(len(weight)), weight, x, beta=0, alpha=1 / math.sqrt(float(x.dot(x)) / len(x) + epsilon))


class _Layer:
    """One block and a ring of the keys and values ``(2, heads, band, size)`` of its last bars."""

    def __init__(self, block: Block) -> None:
        self.heads, self.size, self.band = block.heads, block.size, block.band
        self.qkv = block.qkv.weight * block.norm1.weight
        self.gate_up = block.gate_up.weight * block.norm2.weight
        self.out, self.down = block.out.weight, block.down.weight
        self.ring = torch.zeros(2, self.heads, self.band, self.size)

    def step(self, x: Tensor, cos: Tensor, sin: Tensor, bars: int) -> Tensor:
        """Bar number ``bars`` ``(width,)``: the last row that the block would give over all bars so far."""
        qkv = turn(_normed_product(self.qkv, x).view(3, self.heads, 1, self.size), cos, sin)
        self.ring[:, :, bars % self.band] = qkv[1:, :, 0]
        keys, values = self.ring[:, :, : bars + 1]
        weights = torch.softmax(torch.bmm(qkv[0], keys.transpose(1, 2)), dim=-1)
        x = torch.addmv(x, self.out, torch.bmm(weights, values).view(-1))
        gate, up = _normed_product(self.gate_up, x).chunk(2)
        return torch.addmv(x, self.down, F.silu(gate) * up)


class _EncoderStream:
    """An encoder's layers; the cost of a bar does not depend on how many came before."""

    def __init__(self, encoder: Encoder) -> None:
        self.norm = encoder.norm
        self.layers = [_Layer(block) for block in encoder.blocks]  # type: ignore[arg-type]
        self.size, self.bars = encoder.size, 0

    def angles(self) -> tuple[Tensor, Tensor]:
        """Rotary factors of the coming bar for queries, keys and (nothing turned) values."""
        if self.bars % _AHEAD == 0:
            table = rotary(torch.arange(self.bars, self.bars + _AHEAD), self.size).permute(2, 0, 1, 3)
            still = torch.tensor([1.0, 0.0])[:, None, None].expand(_AHEAD, 2, 1, self.size)
            self._table = torch.cat((table, still), 2)[..., None, None, :]
        cos, sin = self._table[self.bars % _AHEAD]
        return cos, sin

    def step(self, x: Tensor) -> Tensor:
        """The encoder's state at the coming bar."""
        cos, sin = self.angles()
        for layer in self.layers:
            x = layer.step(x, cos, sin, self.bars)
        self.bars += 1
        return self.norm(x)


class _Fusion:
    """What the base arm reads of the newest coarse states: their keys and values, and the null state's."""

    def __init__(self, fuse: CrossFusion) -> None:
        self.fuse = fuse
        width = len(fuse.null)
        self.keys, self.values = torch.zeros(len(fuse.keys) + 1, width), torch.zeros(len(fuse.keys) + 1, width)
        self.keys[-1] = fuse.null

    def know(self, arm: int, state: Tensor) -> None:
        self.keys[arm], self.values[arm] = self.fuse.keys[arm](state), self.fuse.values[arm](state)

    def __call__(self, x: Tensor) -> Tensor:
        query = _normed_product(self.fuse.query.weight, x, torch.finfo(x.dtype).eps)
        weights = torch.softmax(torch.mv(self.keys, query) * len(x) ** -0.5, -1)
        return torch.addmv(x, self.fuse.out.weight, weights @ self.values)


class ArmsStream:
    """Feeds an `ArmsNetwork` bar by bar; equal to `history_pass` within 1e-5 once both have seen the receptive field.

    At each close, push the bars that closed then from the coarsest timeframe to the base; pushing the base bar gives the forecast.
    Rows are scaled features ``(channels,)`` float32, as `InputSpec.prepare` makes them. The weights are read once, here.
    """

    @torch.inference_mode()
    def __init__(self, network: ArmsNetwork) -> None:
        self.network = network.eval()
        layout, settings = network.layout, network.settings
        self._base = _EncoderStream(network.encoder)
        self._coarse = {tf: _EncoderStream(network.coarse_encoders[tf]) for tf in network.coarse_encoders}  # type: ignore[arg-type]
        self._fusion = _Fusion(network.fuse) if network.fuse is not None else None
        width = settings.coarse_width
        self._states = {tf: torch.zeros(layout.channels[tf] if settings.fusion == "concat" else width) for tf in layout.coarse}

    @property
    def bars(self) -> int:
        """Base bars seen so far."""
        return self._base.bars

    @torch.inference_mode()
    def push_coarse(self, timeframe: str, row: Tensor) -> None:
        """A bar of a coarser timeframe has closed."""
        network = self.network
        if timeframe not in self._states:
            raise UsageError(f"this network has no {timeframe} arm: its coarse timeframes are {', '.join(network.layout.coarse) or 'none'}")
        if network.settings.fusion == "concat":
            self._states[timeframe] = row
            return
        x = network.coarse_embeds[timeframe](row)
        arm = network.layout.coarse.index(timeframe)
        if network.settings.fusion == "hierarchical" and arm + 1 < len(network.layout.coarse):
            x = x + network.bridges[timeframe](self._states[network.layout.coarse[arm + 1]])
        self._states[timeframe] = self._coarse[timeframe].step(x)
        if self._fusion is not None:
            self._fusion.know(arm, self._states[timeframe])

    @torch.inference_mode()
    def push(self, row: Tensor, patches: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """A base bar has closed: quantiles ``(horizons, levels)`` and volatility ``(horizons,)`` in the head's units."""
        network, stream = self.network, self._base
        x = network.embed_base({network.layout.base: row, **(patches or {})}, self._states)
        cos, sin = stream.angles()
        for depth, layer in enumerate(stream.layers):
            if self._fusion is not None and depth == network.settings.layers // 2:
                x = self._fusion(x)
            x = layer.step(x, cos, sin, stream.bars)
        stream.bars += 1
        quantiles, volatility = network.head(stream.norm(x))
        return quantiles, volatility
