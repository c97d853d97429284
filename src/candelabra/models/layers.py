"""Building blocks of the lean decoder: RMSNorm, RoPE, banded attention, SwiGLU.

Decisions: pre-norm, no biases; fused q-k-v and gate-up projections; attention by plain matrix products inside blocks of the band's
width (each block sees itself and the one before), which costs O(bars x width), is exact for a band and trains faster on CPUs than
fused kernels at these lengths; rotary angles are taken in float64, so positions may grow without loss.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Block", "Encoder", "RMSNorm", "rotary", "turn"]

_CHUNK_BLOCKS = 32  # blocks of the band attended to at once when no gradient is kept: bounds memory
_ANGLES = 1024  # positions whose angles are kept; longer passes compute theirs


def rotary(positions: Tensor, size: int) -> Tensor:
    """Tables ``(2, 2, positions, size)`` that turn queries and keys by their position (RoFormer, arXiv 2104.09864), float32.

    ``[0]`` cosines, ``[1]`` sines with the sign of each half; ``[:, 0]`` for queries, divided by sqrt(size), ``[:, 1]`` for keys.
    """
    frequency = 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64, device=positions.device) / size)
    angle = positions.to(torch.float64)[:, None] * frequency
    cos, sin = torch.cos(angle), torch.sin(angle)
    table = torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)))
    return torch.stack((table * size**-0.5, table), 1).float()


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """``x`` with each pair of its halves turned by the angles of `rotary`; a fresh tensor."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((b, a), dim=-1).mul_(sin).addcmul_(x, cos)


class _Rotation(torch.autograd.Function):
    """Rotation of the last axis; its gradient is the rotation back, without the zero-padded halves that autograd would add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return turn(grads[0], cos, -sin), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries and keys ``(2, ..., bars, size)`` turned, in order of memory as listed."""
    return _Rotation.apply(x, cos, sin) if torch.is_grad_enabled() else turn(x, cos, sin)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (arXiv 1910.07467) in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, 1e-6)


class Block(nn.Module):
    """One decoder layer with attention over the last ``band`` bars, the bar itself included."""

    def __init__(self, width: int, heads: int, band: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.band, self.size = heads, band, width // heads
        hidden = 8 * math.ceil(8 * width / 3 / 8)
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """``x`` ``(batch, bars, width)`` -> same shape; bar t reads bars t - band + 1 .. t; ``angles``: see `rotary`."""
        x = x + self._drop(self.out(self._attend(self.norm1(x), angles)))
        return x + self._drop(self._feed_forward(self.norm2(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return _dropout(x, self.dropout) if self.training and self.dropout > 0 else x

    def _feed_forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)

    def _attend(self, x: Tensor, angles: Tensor) -> Tensor:
        batch, bars, width = x.shape
        qkv = self.qkv(x).view(batch, bars, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        cos, sin = angles.to(qkv.dtype)[:, :, None, None]
        (q, k), v = _rotate(qkv[:2], cos, sin), qkv[2]
        if bars <= 2 * self.band:
            distance = torch.arange(bars, device=x.device)[:, None] - torch.arange(bars, device=x.device)
            out = _softmax_product(q, k, v, (distance < 0) | (distance >= self.band))
        else:
            out = self._attend_blocks(q, k, v)
        return out.transpose(1, 2).reshape(batch, bars, width)

    def _attend_blocks(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention in blocks of the band's width: block b reads blocks b - 1 and b under a triangular mask."""
        band, bars = self.band, q.shape[2]
        blocks = -(-bars // band)
        pad = blocks * band - bars
        q, k, v = (F.pad(t, (0, 0, 0, pad)) if pad else t for t in (q, k, v))
        k, v = F.pad(k, (0, 0, band, 0)), F.pad(v, (0, 0, band, 0))
        q = q.unflatten(2, (blocks, band))
        k = torch.cat((k[:, :, :-band].unflatten(2, (blocks, band)), k[:, :, band:].unflatten(2, (blocks, band))), dim=3)
        v = torch.cat((v[:, :, :-band].unflatten(2, (blocks, band)), v[:, :, band:].unflatten(2, (blocks, band))), dim=3)
        query, key = torch.arange(band, device=q.device)[:, None], torch.arange(2 * band, device=q.device)
        hidden = ((key <= query) | (key > query + band)).expand(blocks, band, 2 * band)
        first = torch.arange(blocks, device=q.device)[:, None, None] == 0
        hidden = hidden | (first & (key < band))
        if torch.is_grad_enabled() or blocks <= _CHUNK_BLOCKS:
            out = _softmax_product(q, k, v, hidden)
        else:
            parts = [slice(i, i + _CHUNK_BLOCKS) for i in range(0, blocks, _CHUNK_BLOCKS)]
            out = torch.cat([_softmax_product(q[:, :, p], k[:, :, p], v[:, :, p], hidden[p]) for p in parts], dim=2)
        return out.flatten(2, 3)[:, :, :bars]


def _softmax_product(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
    # the mask is the product's starting value: one pass less over the largest tensor there is
    bias = torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill_(hidden, float("-inf"))
    bias = bias.expand(*q.shape[:-1], k.shape[-2]).flatten(0, -3)
    scores = torch.baddbmm(bias, q.flatten(0, -3), k.flatten(0, -3).transpose(1, 2))
    return (torch.softmax(scores, dim=-1) @ v.flatten(0, -3)).view(*q.shape[:-1], v.shape[-1])


def _dropout(x: Tensor, share: float) -> Tensor:
    """Dropout with eight decisions from each random number: drawing them is a tenth of a step otherwise."""
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)[: x.numel()]
    keep = draws.to(x.device) >= round(share * 256)
    return x * keep.view(x.shape) * (256 / (256 - round(share * 256)))


class Encoder(nn.Module):
    """A stack of blocks over one timeframe's bars, with a last normalisation."""

    table: Tensor

    def __init__(self, width: int, layers: int, heads: int, band: int, dropout: float) -> None:
        super().__init__()
        self.size = width // heads
        self.blocks = nn.ModuleList(Block(width, heads, band, dropout) for _ in range(layers))
        self.norm = RMSNorm(width)
        # a buffer, for a compiled graph would work out the angles again for every head and layer
        self.register_buffer("table", rotary(torch.arange(_ANGLES), self.size), persistent=False)

    def angles(self, bars: int) -> Tensor:
        """Rotary tables of positions ``0 .. bars``."""
        return self.table[:, :, :bars] if bars <= _ANGLES else rotary(torch.arange(bars, device=self.table.device), self.size)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` ``(batch, bars, width)`` -> hidden states of the same shape."""
        angles = self.angles(x.shape[1])
        for block in self.blocks:
            x = block(x, angles)
        return self.norm(x)
