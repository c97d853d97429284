"""`arms`, the flagship: one causal encoder per timeframe, joined on the base timeframe's bars.

Decisions:
- dense: an output and a loss at every base bar of a sequence, so one pass over a history gives every forecast in it;
- a coarse arm's state reaches base bar t only through the as-of index: the last coarse bar *closed* by the close of t;
- fusion ``cross`` (default): separate encoders; half-way up, the base arm attends to the coarse arms' as-of states and a null state;
  ``hierarchical``: each coarse arm's state is added to the input of the next finer arm; ``concat``: no coarse encoders, the
  coarse features are placed beside the base features at the input;
- finer timeframes enter as patches: the fine bars that closed inside a base bar, flattened and projected;
- coarse arms are narrow and are silenced as a whole at random in training: they see few distinct bars and would overfit first;
- banded attention: what a stream with a cache of ``attention_width`` bars computes is exactly what the pass over a history computes;
- new paths start at zero: at the first step the network *is* its anchor;
- regimes, where labels are given, are read from the same state as the forecast, as a correction of what a small convolution says of
  them: a forecast never waits for that one's inputs, which remember far longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from candelabra.models.heads import ForecastHead, RegimeHead
from candelabra.models.layers import Encoder
from candelabra.models.settings import ArmsSettings
from candelabra.windows.auxiliary import AUXILIARY_SPANS

__all__ = ["REGIMES", "ArmsLayout", "ArmsNetwork", "link"]

REGIMES: Final = "regimes"
"""Name of the table of the anchor's logits of regimes, on the base grid, beside the timeframes' tables."""


def link(finer: str, coarser: str) -> str:
    """Name of the as-of index from one timeframe's bars to a coarser one's."""
    return f"{finer}>{coarser}"


@dataclass(frozen=True)
class ArmsLayout:
    """Which timeframes there are and how many channels each brings; ``coarse`` from fine to coarse; ``fine`` counts patch values.

    ``regimes``: labels of each timeframe whose regimes are learned beside the forecast, none by default.
    """

    base: str
    coarse: tuple[str, ...]
    fine: tuple[str, ...]
    channels: Mapping[str, int]
    regimes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def links(self, settings: ArmsSettings) -> tuple[tuple[str, str], ...]:
        """As-of indices the network reads."""
        if settings.fusion == "hierarchical":
            return tuple(pairwise((self.base, *self.coarse)))
        return tuple((self.base, tf) for tf in self.coarse)


def gather(states: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` ``(batch, bars)`` of ``states`` ``(batch, rows, width)``; zero where the index is -1."""
    rows = index.clamp(min=0)[..., None].expand(-1, -1, states.shape[-1])
    return torch.gather(states, 1, rows) * (index >= 0)[..., None]


class CrossFusion(nn.Module):
    """Each base bar attends to the as-of state of every coarse arm and to a null state (its own gate)."""

    def __init__(self, width: int, coarse_width: int, arms: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.keys = nn.ModuleList(nn.Linear(coarse_width, width, bias=False) for _ in range(arms))
        self.values = nn.ModuleList(nn.Linear(coarse_width, width, bias=False) for _ in range(arms))
        self.null = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, states: list[Tensor]) -> Tensor:
        """``x`` ``(..., width)``, ``states`` per arm ``(..., coarse width)``."""
        query = self.query(F.rms_norm(x, (x.shape[-1],)))
        keys = torch.stack([*(k(s) for k, s in zip(self.keys, states, strict=True)), self.null.to(query.dtype).expand_as(query)], -2)
        values = torch.stack([*(v(s) for v, s in zip(self.values, states, strict=True)), torch.zeros_like(query)], -2)
        weights = torch.softmax((query[..., None, :] * keys).sum(-1).float() * x.shape[-1] ** -0.5, -1)
        return x + self.out((weights.to(values.dtype)[..., None] * values).sum(-2))


class ArmsNetwork(nn.Module):
    """The network behind ``arms``; inputs are scaled features, outputs are in the anchor's units (see heads)."""

    def __init__(
        self, settings: ArmsSettings, layout: ArmsLayout, reference: NDArray[np.float32], volatility_scale: NDArray[np.float32]
    ) -> None:
        super().__init__()
        s = self.settings = settings
        self.layout = layout
        self.embed = nn.Linear(layout.channels[layout.base], s.width)
        self.patches = nn.ModuleDict({tf: _patch(layout.channels[tf], s.width) for tf in layout.fine})
        self.encoder = Encoder(s.width, s.layers, s.heads, s.attention_width, s.dropout)
        self.coarse_embeds, self.coarse_encoders, self.bridges = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.fuse: CrossFusion | None = None
        for tf in layout.coarse:
            if s.fusion == "concat":
                self.bridges[tf] = nn.Linear(layout.channels[tf], s.width, bias=False)
                continue
            self.coarse_embeds[tf] = nn.Linear(layout.channels[tf], s.coarse_width)
            self.coarse_encoders[tf] = Encoder(s.coarse_width, s.coarse_layers, s.coarse_heads, s.coarse_attention_width, s.dropout)
        if s.fusion == "hierarchical":
            for finer, _ in layout.links(s):
                self.bridges[finer] = nn.Linear(s.coarse_width, s.width if finer == layout.base else s.coarse_width, bias=False)
        elif s.fusion == "cross" and layout.coarse:
            self.fuse = CrossFusion(s.width, s.coarse_width, len(layout.coarse))
        self.head = ForecastHead(s.width, reference, volatility_scale)
        self.auxiliary = nn.Linear(s.width, len(AUXILIARY_SPANS))
        self.regimes = RegimeHead(s.width, layout.regimes) if layout.regimes else None

    def forward(self, x: Mapping[str, Tensor], asof: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """``x[tf]`` ``(batch, bars, channels)``, ``asof[link]`` ``(batch, finer bars)`` -> quantiles, volatility at each base bar."""
        return self.head(self.hidden(x, asof))

    def hidden(self, x: Mapping[str, Tensor], asof: Mapping[str, Tensor]) -> Tensor:
        """States of the base arm that the heads read, ``(batch, bars, width)``."""
        return self.base_states(x, asof, self.coarse_states(x, asof))

    def coarse_states(self, x: Mapping[str, Tensor], asof: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each coarse arm says at each of its own bars, coarsest first; whole arms silenced at random in training."""
        states: dict[str, Tensor] = {}
        above: str | None = None
        for tf in reversed(self.layout.coarse):
            if self.settings.fusion == "concat":
                states[tf] = x[tf]
            else:
                embedded = self.coarse_embeds[tf](x[tf])
                if self.settings.fusion == "hierarchical" and above is not None:
                    embedded = embedded + self.bridges[tf](gather(states[above], asof[link(tf, above)]))
                states[tf] = self.coarse_encoders[tf](embedded)
            states[tf] = self._silence(states[tf])
            above = tf
        return states

    def base_states(self, x: Mapping[str, Tensor], asof: Mapping[str, Tensor], states: Mapping[str, Tensor]) -> Tensor:
        """Hidden states of the base arm, ``(batch, bars, width)``."""
        base, s = self.layout.base, self.settings
        gathered = {c: gather(states[c], asof[link(f, c)]) for f, c in self.layout.links(s) if f == base}
        hidden = self.embed_base({tf: x[tf] for tf in (base, *self.layout.fine)}, gathered)
        angles = self.encoder.angles(hidden.shape[1])
        for depth, block in enumerate(self.encoder.blocks):
            if depth == s.layers // 2:
                hidden = self.fuse_states(hidden, gathered)
            hidden = block(hidden, angles)
        return self.encoder.norm(hidden)

    def embed_base(self, x: Mapping[str, Tensor], gathered: Mapping[str, Tensor]) -> Tensor:
        """Input of the base arm: base features, patches of finer bars, and (concat, hierarchical) what coarse arms say."""
        base = self.layout.base
        hidden = self.embed(x[base])
        for tf in self.layout.fine:
            hidden = hidden + self._silence(self.patches[tf](x[tf]))
        if self.settings.fusion == "concat":
            for tf in self.layout.coarse:
                hidden = hidden + self.bridges[tf](gathered[tf])
        elif self.settings.fusion == "hierarchical" and self.layout.coarse:
            hidden = hidden + self.bridges[base](gathered[self.layout.coarse[0]])
        return hidden

    def fuse_states(self, hidden: Tensor, gathered: Mapping[str, Tensor]) -> Tensor:
        """Half-way fusion (``cross`` only)."""
        if self.fuse is None:
            return hidden
        return self.fuse(hidden, [gathered[tf] for tf in self.layout.coarse])

    def _silence(self, states: Tensor) -> Tensor:
        share = self.settings.arm_dropout
        if not self.training or share == 0:
            return states
        keep = (torch.rand(states.shape[0], 1, 1, device=states.device) >= share).to(states.dtype)
        return states * keep / (1 - share)


def _patch(values: int, width: int) -> nn.Module:
    last = nn.Linear(width, width, bias=False)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Linear(values, width), nn.SiLU(), last)
