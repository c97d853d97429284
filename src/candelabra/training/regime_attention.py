"""The torch side of `regime_transformer`: banded attention at a stride, SwiGLU, and the same names of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from candelabra.models.regime_encoder import Mode
from candelabra.models.regime_transformer import UNSEEN, RegimeTransformer, RegimeTransformerSettings, distances
from candelabra.training.regime_module import RegimeModule

__all__ = ["TransformerNetwork"]


class TransformerNetwork(RegimeModule):
    """What `models.regime_transformer` computes, with gradients."""

    encoder = RegimeTransformer

    def __init__(self, channels: int, settings: RegimeTransformerSettings, heads: Mapping[str, tuple[str, ...]], mode: Mode) -> None:
        super().__init__(channels, settings, heads, mode)
        self.blocks = nn.ModuleList(_Block(settings, mode, stride) for stride in settings.strides)
        self.norm = nn.Parameter(torch.ones(settings.width))
        self.head = self._new_head()

    def forward(self, x: Tensor) -> Tensor:
        """See `RegimeModule.forward`."""
        hidden = self.embed(x)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(_normed(hidden, self.norm))


class _Block(nn.Module):
    """One layer: attention to bars ``stride`` apart, then SwiGLU."""

    def __init__(self, settings: RegimeTransformerSettings, mode: Mode, stride: int) -> None:
        super().__init__()
        width, band = settings.width, settings.attention_width
        self.settings, self.mode, self.stride = settings, mode, stride
        self.norm1, self.norm2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.distance = nn.Parameter(torch.zeros(settings.heads, band if mode == "filtered" else 2 * band - 1))
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * settings.hidden, bias=False)
        self.down = nn.Linear(settings.hidden, width, bias=False)
        for last in (self.out, self.down):  # what is read begins as what is said: layers join as they learn
            nn.init.normal_(last.weight, std=0.5 / math.sqrt(last.in_features * settings.layers))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, bars, width)`` -> same shape."""
        share = self.settings.dropout
        x = x + F.dropout(self.out(self._attend(self.qkv(_normed(x, self.norm1)))), share, self.training)
        gate, value = self.gate_up(_normed(x, self.norm2)).chunk(2, dim=-1)
        return x + F.dropout(self.down(F.silu(gate) * value), share, self.training)

    def _attend(self, qkv: Tensor) -> Tensor:
        settings, stride = self.settings, self.stride
        band, heads, size = settings.attention_width, settings.heads, settings.width // settings.heads
        batch, bars, _ = qkv.shape
        blocks = -(-bars // (band * stride))
        fill = blocks * band * stride - bars
        folded = F.pad(qkv, (0, 0, 0, fill)).view(batch, blocks, band, stride, 3, heads, size).permute(4, 0, 3, 1, 5, 2, 6)
        query = folded[0] * size**-0.5  # (batch, stride, blocks, heads, band, size)
        keys, values = (_windows(part, 2, self.mode) for part in folded[1:])
        there = (torch.arange(blocks * band * stride, device=qkv.device) < bars).view(blocks, band, stride).permute(2, 0, 1)
        real = _windows(there[:, :, None, :, None], 1, self.mode)[..., 0]  # (stride, blocks, 1, keys)
        place = torch.from_numpy(distances(band, self.mode)).to(qkv.device)
        bias = torch.where(place < 0, float(UNSEEN), self.distance[:, place.clamp(min=0)])
        hidden = torch.where(real, 0.0, float(np.float32(UNSEEN)))[..., None, :]  # (stride, blocks, 1, 1, keys)
        scores = query @ keys.transpose(-1, -2) + (bias + hidden)
        told = torch.softmax(scores, dim=-1) @ values
        return told.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, settings.width)[:, :bars]


def _normed(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-6)


def _windows(x: Tensor, axis: int, mode: Mode) -> Tensor:
    """Each block's neighbours and itself, along the axis of bars (the last but one); ``axis``: that of the blocks."""
    empty = torch.zeros_like(x.narrow(axis, 0, 1))
    blocks = x.shape[axis]
    padded = torch.cat([empty, x, *([empty] if mode == "smoothed" else [])], dim=axis)
    return torch.cat([padded.narrow(axis, i, blocks) for i in range(2 if mode == "filtered" else 3)], dim=-2)
