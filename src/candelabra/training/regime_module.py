"""`RegimeModule`: the torch side of any `RegimeEncoder`, and how one becomes the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from candelabra.models.regime_encoder import Mode, RegimeEncoder

__all__ = ["RegimeModule"]


class RegimeModule(nn.Module):
    """What an encoder computes, with gradients: ``encoder`` is its class, parameters have the names of its weights."""

    encoder: type[RegimeEncoder]

    def __init__(self, channels: int, settings: Any, heads: Mapping[str, tuple[str, ...]], mode: Mode) -> None:
        super().__init__()
        self.settings, self.heads, self.mode = settings, dict(heads), mode
        self.embed = nn.Linear(channels, settings.width)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """``(batch, bars, channels)`` -> logits of all heads and the boundaries, side by side."""

    def _new_head(self) -> nn.Linear:
        """Of zeros, so that every label is as likely at first; made last, for the order of random draws is part of a seed's weights."""
        head = nn.Linear(self.settings.width, sum(map(len, self.heads.values())) + len(self.heads))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return head

    def frozen(self) -> RegimeEncoder:
        """The same as arrays."""
        weights = {name: p.detach().cpu().numpy().copy() for name, p in self.named_parameters()}
        return self.encoder(self.settings, self.mode, self.heads, weights)

    def take(self, weights: Mapping[str, Any]) -> None:
        """The weights of an encoder."""
        self.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in weights.items()})
