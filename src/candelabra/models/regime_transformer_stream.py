"""`TransformerStream`: a filtered `RegimeTransformer` bar by bar, keys and values in a ring; equal to the whole history within rounding."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.models.product import add_product
from candelabra.models.regime_encoder import split_logits
from candelabra.models.regime_transformer import RegimeTransformer
from candelabra.models.ring_stream import RingStream

__all__ = ["TransformerStream"]

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


class TransformerStream(RingStream):
    """A network between two bars: for each layer the keys and values that its attention reads."""

    def __init__(self, network: RegimeTransformer) -> None:
        """UsageError for a network that reads later bars."""
        super().__init__(network, network.receptive_field - 1, 2 * network.settings.width)
        w, settings = network.weights, network.settings
        layers = range(settings.layers)

        def stacked(name: str, *, turned: bool = True) -> Floats:
            parts = [w[f"blocks.{k}.{name}"] for k in layers]
            return np.ascontiguousarray(np.stack([part.T if turned else part for part in parts]))

        self._embed = np.ascontiguousarray(w["embed.weight"].T), w["embed.bias"]
        self._attention = stacked("norm1"), stacked("qkv.weight"), stacked("distance", turned=False), stacked("out.weight")
        self._forward = stacked("norm2"), stacked("gate_up.weight"), stacked("down.weight")
        self._head = w["norm"], np.ascontiguousarray(w["head.weight"].T), w["head.bias"]
        self._strides = np.array(settings.strides, np.int64)

    def _run(self, x: Floats) -> dict[str, NDArray[np.float64]]:
        out = np.empty((len(x), len(self._head[2])), np.float32)
        _steps(x, *self._embed, *self._attention, *self._forward, *self._head, self._strides, self._ring, self._bars, out)
        return split_logits(out, self._network.heads)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _normed(row: Floats, weight: Floats, out: Floats) -> None:
    """``out`` = the row by its root mean square, weighted."""
    square = np.float32(0.0)
    for j in range(len(row)):
        square += row[j] * row[j]
    scale = np.float32(1.0) / np.sqrt(square / np.float32(len(row)) + np.float32(1e-6))
    for j in range(len(row)):
        out[j] = row[j] * scale * weight[j]


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _attended(qkv: Floats, distance: Floats, ring: Floats, bars: int, stride: int, scores: Floats, out: Floats) -> None:
    """``out``: what a bar's heads read of itself and of the bars ``stride`` apart in ``ring`` (row number t at t % its length)."""
    heads, band = distance.shape
    width = len(out)
    size, reach = width // heads, len(ring)
    seen = min(band, bars // stride + 1)
    root = np.float32(1.0) / np.sqrt(np.float32(size))
    for h in range(heads):
        first = h * size
        top = np.float32(-np.inf)
        for i in range(seen):
            score = np.float32(0.0)
            if i == 0:
                for j in range(size):
                    score += qkv[first + j] * qkv[width + first + j]
            else:
                key = ring[(bars - i * stride) % reach]
                for j in range(size):
                    score += qkv[first + j] * key[first + j]
            scores[i] = score * root + distance[h, i]
            top = max(top, scores[i])
        total = np.float32(0.0)
        for i in range(seen):
            scores[i] = np.exp(scores[i] - top)
            total += scores[i]
        for j in range(size):
            out[first + j] = scores[0] * qkv[2 * width + first + j]
        for i in range(1, seen):
            value = ring[(bars - i * stride) % reach]
            for j in range(size):
                out[first + j] += scores[i] * value[width + first + j]
        for j in range(size):
            out[first + j] /= total


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _steps(
    x: Floats, embed: Floats, embed_bias: Floats, norm1: Floats, to_qkv: Floats, distance: Floats, to_out: Floats, norm2: Floats,
    gate_up: Floats, down: Floats, norm: Floats, head: Floats, head_bias: Floats, strides: Whole, ring: Floats, bars: Whole, out: Floats,
) -> None:  # fmt: skip
    """Logits ``out`` of bars that come next; ``ring`` and ``bars`` are carried on in place."""
    width, inside = embed.shape[1], down.shape[1]
    hidden, normed, told = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    qkv, inner, scores = np.empty(3 * width, np.float32), np.empty(2 * inside, np.float32), np.empty(distance.shape[2], np.float32)
    one = np.float32(1.0)
    for t in range(len(x)):
        hidden[:] = embed_bias
        add_product(x[t], embed, hidden)
        first = 0
        for k in range(len(strides)):
            reach = strides[k] * (distance.shape[2] - 1)
            own = ring[first : first + reach]
            _normed(hidden, norm1[k], normed)
            qkv[:] = np.float32(0.0)
            add_product(normed, to_qkv[k], qkv)
            _attended(qkv, distance[k], own, bars[0], strides[k], scores, told)
            own[bars[0] % reach] = qkv[width:]  # in the place of the oldest, which has just been read
            add_product(told, to_out[k], hidden)
            _normed(hidden, norm2[k], normed)
            inner[:] = np.float32(0.0)
            add_product(normed, gate_up[k], inner)
            for j in range(inside):
                inner[j] = inner[j] / (one + np.exp(-inner[j])) * inner[inside + j]
            add_product(inner[:inside], down[k], hidden)
            first += reach
        _normed(hidden, norm, normed)
        out[t] = head_bias
        add_product(normed, head, out[t])
        bars[0] += 1
