"""`TcnStream`: a filtered `RegimeTcn` bar by bar, one compiled pass over its weights a bar; equal to the whole history within rounding."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.models.product import add_product
from candelabra.models.regime_tcn import KERNEL, RegimeTcn
from candelabra.models.ring_stream import RingStream

__all__ = ["TcnStream"]

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


class TcnStream(RingStream):
    """A network between two bars: for each layer the rows that its convolution reads."""

    def __init__(self, network: RegimeTcn) -> None:
        """UsageError for a network that reads later bars."""
        w, dilations, width = network.weights, network.settings.dilations, network.settings.width
        super().__init__(network, (KERNEL - 1) * sum(dilations), width)
        self._embed = np.ascontiguousarray(w["embed.weight"].T), w["embed.bias"]
        kernels = np.stack([w[f"convolutions.{k}.weight"].T.reshape(KERNEL, width, width) for k in range(len(dilations))])
        biases = np.stack([w[f"convolutions.{k}.bias"] for k in range(len(dilations))])
        self._layers = np.ascontiguousarray(kernels), biases, np.stack([w[f"norms.{k}"] for k in range(len(dilations))])
        self._head = np.ascontiguousarray(w["head.weight"].T), w["head.bias"]
        self._dilations = np.array(dilations, np.int64)
        self._ends = np.cumsum([len(labels) for labels in network.heads.values()])

    def _run(self, x: Floats) -> dict[str, NDArray[np.float64]]:
        out = np.empty((len(x), int(self._ends[-1])))
        _steps(x, *self._embed, *self._layers, *self._head, self._dilations, self._ends, self._ring, self._bars, out)
        firsts = [0, *self._ends[:-1]]
        return {name: out[:, a:b] for name, a, b in zip(self._network.heads, firsts, self._ends, strict=True)}


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _steps(
    x: Floats, embed: Floats, embed_bias: Floats, kernels: Floats, biases: Floats, norms: Floats, head: Floats, head_bias: Floats,
    dilations: Whole, ends: Whole, ring: Floats, bars: Whole, out: NDArray[np.float64],
) -> None:  # fmt: skip
    """Chances ``out`` of bars that come next; ``ring`` (row number t of a layer at t % its reach) and ``bars`` are carried on in place."""
    width = embed.shape[1]
    hidden, inner, logits = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(len(head_bias), np.float32)
    one, least = np.float32(1.0), np.float32(1e-6)
    for t in range(len(x)):
        hidden[:] = embed_bias
        add_product(x[t], embed, hidden)
        first = 0
        for k in range(len(dilations)):
            reach = 2 * dilations[k]
            now, middle = first + bars[0] % reach, first + (bars[0] + dilations[k]) % reach
            square = np.float32(0.0)
            for j in range(width):
                square += hidden[j] * hidden[j]
            scale = one / np.sqrt(square / np.float32(width) + least)
            inner[:] = biases[k]
            add_product(ring[now], kernels[k, 0], inner)  # two dilations back: what this bar takes the place of
            add_product(ring[middle], kernels[k, 1], inner)
            for j in range(width):
                ring[now, j] = hidden[j] * scale * norms[k, j]
            add_product(ring[now], kernels[k, 2], inner)
            for j in range(width):
                hidden[j] += inner[j] / (one + np.exp(-inner[j]))
            first += reach
        logits[:] = head_bias
        add_product(hidden, head, logits)
        first = 0
        for end in ends:
            top, total = logits[first:end].max(), 0.0
            for j in range(first, end):
                out[t, j] = np.exp(np.float64(logits[j]) - top)
                total += out[t, j]
            for j in range(first, end):
                out[t, j] /= total
            first = end
        bars[0] += 1
