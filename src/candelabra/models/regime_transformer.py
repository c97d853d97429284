"""`transformer`: banded attention over base bars with a head of regimes for each timeframe, one of boundaries, and the same without torch.

Decisions:
- pre-norm blocks of attention and SwiGLU, RMSNorm, no biases but at the ends, dense: an answer at every base bar;
- layer k attends to ``attention_width`` bars that lie ``reach_growth ** k`` bars apart (a sliding window, dilated as in Longformer, Beltagy
  et al. 2020): regimes last for hundreds of bars, and the far layers see them at the cost of a short window. The receptive field is
  (attention_width - 1) x (sum of strides) + 1 bars, exact; a growth of 1 gives layers x (attention_width - 1) + 1;
- a position is a distance: each head learns a bias for each bar back (Raffel et al. 2020), so there is no angle that grows with history
  and a stream is the same arithmetic at any bar;
- a filtered network attends to the past alone, a smoothed one to both sides; bars before the first (or after the last) are not there;
- at inference blocks of the band as matrix products in NumPy: memory O(bars), and a bundle needs neither torch nor a graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.models.regime_encoder import EncoderKind, Mode, RegimeEncoder

__all__ = ["RegimeTransformer", "RegimeTransformerSettings", "distances"]

Floats = NDArray[np.float32]
UNSEEN: Final = np.float32(-1e9)  # not infinity: a padded row that sees nothing must not become NaN
_ROWS: Final = 1024
_BLOCKS: Final = 16


@dataclass(frozen=True)
class RegimeTransformerSettings:
    """``width`` of every layer, ``layers``, ``heads``; ``attention_width``: bars a layer looks at, itself included, ``reach_growth`` times
    as far apart from layer to layer; ``dropout``; weights of losses beside the labels' as in `TcnSettings`.
    """

    kind: ClassVar[EncoderKind] = "transformer"
    width: int = 48
    layers: int = 3
    heads: int = 4
    attention_width: int = 32
    reach_growth: int = 4
    dropout: float = 0.2
    boundary_weight: float = 0.2
    smooth_weight: float = 0.05

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.reach_growth) < 1 or self.attention_width < 2 or self.layers > 16:
            raise UsageError(
                f"width {self.width}, layers {self.layers}, heads {self.heads}, reach_growth {self.reach_growth} of a regime transformer: "
                f"at least 1, and at most 16 layers; attention_width {self.attention_width}: at least 2"
            )
        if self.width % self.heads:
            raise UsageError(
                f"width {self.width} of a regime transformer must be a multiple of its heads ({self.heads}): change one of them"
            )
        if self.receptive_field > 100_000:
            raise UsageError(
                f"layers {self.layers} of attention_width {self.attention_width} with reach_growth {self.reach_growth} look back "
                f"{self.receptive_field:,} bars, and at most 100,000 can be: lower one of them"
            )
        if not 0 <= self.dropout < 1 or min(self.boundary_weight, self.smooth_weight) < 0:
            raise UsageError(f"dropout {self.dropout} must lie in [0, 1), weights of losses must not be below 0")

    @property
    def strides(self) -> tuple[int, ...]:
        """Bars between the inputs of each layer's attention."""
        return tuple(self.reach_growth**k for k in range(self.layers))

    @property
    def hidden(self) -> int:
        """Width inside SwiGLU."""
        return 8 * math.ceil(8 * self.width / 3 / 8)

    @property
    def receptive_field(self) -> int:
        """Bars back to the oldest that moves an answer, itself included."""
        return (self.attention_width - 1) * sum(self.strides) + 1


def distances(band: int, mode: Mode) -> NDArray[np.int64]:
    """Where in a head's table of distances each key of a block stands ``(band, keys)``, -1 where a query does not see it.

    A block of ``band`` queries has the keys of the block before, its own, and (smoothed) the next. Tables begin at distance 0, or at the
    furthest key ahead.
    """
    blocks, ahead = (2, 0) if mode == "filtered" else (3, band - 1)
    back = np.arange(band)[:, None] - (np.arange(blocks * band) - band)
    return np.where((back >= -ahead) & (back < band), back + ahead, -1)


@dataclass(frozen=True, eq=False)
class RegimeTransformer(RegimeEncoder):
    """See `RegimeEncoder`."""

    kind: ClassVar[EncoderKind] = "transformer"
    settings: RegimeTransformerSettings

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `RegimeEncoder.shapes`."""
        s = self.settings
        seen = s.attention_width if self.mode == "filtered" else 2 * s.attention_width - 1
        block = {
            "norm1": (s.width,), "qkv.weight": (3 * s.width, s.width), "distance": (s.heads, seen), "out.weight": (s.width, s.width),
            "norm2": (s.width,), "gate_up.weight": (2 * s.hidden, s.width), "down.weight": (s.width, s.hidden),
        }  # fmt: skip
        found: dict[str, tuple[int, ...]] = {"embed.weight": (s.width, self.channels), "embed.bias": (s.width,)}
        found |= {f"blocks.{k}.{name}": shape for k in range(s.layers) for name, shape in block.items()}
        return found | {"norm": (s.width,), "head.weight": (self.outputs, s.width), "head.bias": (self.outputs,)}

    def logits(self, x: Floats) -> Floats:
        """See `RegimeEncoder.logits`."""
        w = self.weights
        hidden = x @ w["embed.weight"].T + w["embed.bias"]
        for k, stride in enumerate(self.settings.strides):
            self._attend(hidden, k, stride)
            up, down = np.ascontiguousarray(w[f"blocks.{k}.gate_up.weight"].T), np.ascontiguousarray(w[f"blocks.{k}.down.weight"].T)
            for first in range(0, len(hidden), _ROWS):  # in pieces that stay in the cache
                piece = hidden[first : first + _ROWS]
                inner = _normed(piece, w[f"blocks.{k}.norm2"]) @ up
                gate, value = inner[:, : self.settings.hidden], inner[:, self.settings.hidden :]
                with np.errstate(over="ignore"):  # far below 0 the gate is shut: 1 / infinity
                    value *= gate / (1 + np.exp(-gate))
                piece += value @ down
        return np.asarray(_normed(hidden, w["norm"]) @ w["head.weight"].T + w["head.bias"])

    def _attend(self, hidden: Floats, k: int, stride: int) -> None:
        """Add a layer's attention to ``hidden``: bars ``stride`` apart are a sequence of their own, cut into blocks of the band."""
        settings, w = self.settings, self.weights
        band, heads, size = settings.attention_width, settings.heads, settings.width // settings.heads
        n, sides = len(hidden), 1 if self.mode == "filtered" else 2
        rows = -(-n // stride)  # of a sequence
        blocks = -(-rows // band)
        qkv = np.zeros((blocks * band * stride, 3 * settings.width), np.float32)
        qkv[:n] = _normed(hidden, w[f"blocks.{k}.norm1"]) @ w[f"blocks.{k}.qkv.weight"].T
        qkv[:n, : settings.width] *= np.float32(size**-0.5)
        folded = qkv.reshape(blocks, band, stride, 3, heads, size)
        there = np.zeros(blocks * band * stride, bool)
        there[:n] = True
        present = there.reshape(blocks, band, stride)
        place = distances(band, self.mode)
        bias = np.where(place < 0, UNSEEN, w[f"blocks.{k}.distance"][:, place])
        out = np.empty((blocks, band, stride, heads, size), np.float32)
        for residue in range(stride):
            query = np.ascontiguousarray(folded[:, :, residue, 0].transpose(0, 2, 1, 3))  # (blocks, heads, band, size)
            keys, values = (_padded(folded[:, :, residue, part].transpose(0, 2, 1, 3), sides) for part in (1, 2))
            seen = _padded(present[:, None, :, residue, None], sides)[..., 0, :, 0]
            for first in range(0, blocks, _BLOCKS):
                stop = min(blocks, first + _BLOCKS)
                near, told, real = (_windows(one, first, stop, sides) for one in (keys, values, seen[:, None, :, None]))
                scores = query[first:stop] @ near.swapaxes(-1, -2)
                scores += bias
                if not real.all():
                    scores += np.where(real, np.float32(0), UNSEEN).swapaxes(-1, -2)
                scores -= scores.max(axis=-1, keepdims=True)
                np.exp(scores, out=scores)
                total = scores.sum(axis=-1, keepdims=True)
                out[first:stop, :, residue] = (scores @ told / total).transpose(0, 2, 1, 3)
        hidden += out.reshape(-1, settings.width)[:n] @ w[f"blocks.{k}.out.weight"].T


def _normed(x: Floats, weight: Floats) -> Floats:
    """Root-mean-square normalisation of rows."""
    scale = 1 / np.sqrt(np.einsum("nc,nc->n", x, x) / np.float32(x.shape[1]) + np.float32(1e-6))
    return np.asarray(x * scale[:, None] * weight)


def _padded(blocks: NDArray[Any], sides: int) -> NDArray[Any]:
    """Blocks with an empty one before them, and one behind where both ``sides`` are read."""
    empty = np.zeros_like(blocks[:1])
    return np.concatenate([empty, blocks, *([empty] if sides == 2 else [])])


def _windows(padded: NDArray[Any], first: int, stop: int, sides: int) -> NDArray[Any]:
    """The keys of blocks ``first`` to ``stop``: each its neighbours and itself, along the axis of bars."""
    return np.concatenate([padded[first + i : stop + i] for i in range(sides + 1)], axis=-2)
