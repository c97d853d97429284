"""One new candle at a time: `ArmsStream` keeps keys and values of the last bars and gives what the banded pass would give."""

from __future__ import annotations

import torch
from torch import Tensor

from candelabra.errors import UsageError
from candelabra.models.arms import ArmsNetwork
from candelabra.models.layers import Cache, Encoder, rotary

__all__ = ["ArmsStream"]


class _EncoderStream:
    """The caches of one encoder; the cost of a bar does not depend on how many came before."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.caches: list[Cache] = [block.cache() for block in encoder.blocks]  # type: ignore[operator]
        self.bars = 0

    def angles(self) -> Tensor:
        return rotary(torch.tensor([self.bars]), self.encoder.size)


class ArmsStream:
    """Feeds an `ArmsNetwork` bar by bar; equal to `history_pass` within 1e-5 once both have seen the receptive field.

    At each close, push the bars that closed then from the coarsest timeframe to the base; pushing the base bar gives the forecast.
    Rows are scaled features ``(channels,)`` float32, as `InputSpec.prepare` makes them.
    """

    def __init__(self, network: ArmsNetwork) -> None:
        self.network = network.eval()
        layout, settings = network.layout, network.settings
        self._base = _EncoderStream(network.encoder)
        self._coarse = {tf: _EncoderStream(network.coarse_encoders[tf]) for tf in network.coarse_encoders}  # type: ignore[arg-type]
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
        above = network.layout.coarse.index(timeframe) + 1
        if network.settings.fusion == "hierarchical" and above < len(network.layout.coarse):
            x = x + network.bridges[timeframe](self._states[network.layout.coarse[above]])
        stream = self._coarse[timeframe]
        angles = stream.angles()
        for block, cache in zip(stream.encoder.blocks, stream.caches, strict=True):
            x = block.step(x, angles, cache, stream.bars % block.band)  # type: ignore[operator]
        stream.bars += 1
        self._states[timeframe] = stream.encoder.norm(x)

    @torch.inference_mode()
    def push(self, row: Tensor, patches: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """A base bar has closed: quantiles ``(horizons, levels)`` and volatility ``(horizons,)`` in the head's units."""
        network, stream = self.network, self._base
        x = network.embed_base({network.layout.base: row, **(patches or {})}, self._states)
        angles = stream.angles()
        for depth, (block, cache) in enumerate(zip(stream.encoder.blocks, stream.caches, strict=True)):
            if depth == network.settings.layers // 2:
                x = network.fuse_states(x, self._states)
            x = block.step(x, angles, cache, stream.bars % block.band)  # type: ignore[operator]
        stream.bars += 1
        quantiles, volatility = network.head(stream.encoder.norm(x))
        return quantiles, volatility
