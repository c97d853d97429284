"""`tcn`: a dilated causal convolution over bars with a head of regimes for each timeframe, one of boundaries, and the same without torch.

Decisions:
- dense: an answer at every base bar; a coarse timeframe's head says which of its segments the bar lies in;
- residual layers of kernel 3 with dilations 1, 2, 4 ...: the receptive field is 2 x (sum of dilations) + 1 bars, exact, so that a stream
  of that many bars gives what the history gives (van den Oord et al. 2016; Bai, Kolter and Koltun 2018);
- a filtered network pads the past alone, a smoothed one both sides: two sets of weights that never share a file;
- at inference a few matrix products: `RegimeTcn` is NumPy, so a bundle needs neither torch nor a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.models.regime_encoder import EncoderKind, RegimeEncoder

__all__ = ["RegimeTcn", "TcnSettings"]

Floats = NDArray[np.float32]
KERNEL = 3
_ROWS: Final = 1024


@dataclass(frozen=True)
class TcnSettings:
    """``width`` of every layer, ``layers`` (dilations 1, 2, 4 ...), ``dropout``; weights of losses beside the labels': ``boundary_weight``,
    ``smooth_weight`` (log probabilities of neighbouring bars, MS-TCN).
    """

    kind: ClassVar[EncoderKind] = "convolution"
    width: int = 48
    layers: int = 8
    dropout: float = 0.2
    boundary_weight: float = 0.2
    smooth_weight: float = 0.05

    def __post_init__(self) -> None:
        if self.width < 1 or not 1 <= self.layers <= 16:
            raise UsageError(f"width {self.width} and layers {self.layers} of a tcn: at least 1, and at most 16 layers")
        if not 0 <= self.dropout < 1 or min(self.boundary_weight, self.smooth_weight) < 0:
            raise UsageError(f"dropout {self.dropout} must lie in [0, 1), weights of losses must not be below 0")

    @property
    def dilations(self) -> tuple[int, ...]:
        """Bars between the three inputs of each layer."""
        return tuple(2**k for k in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """Bars back to the oldest that moves an answer, itself included."""
        return (KERNEL - 1) * sum(self.dilations) + 1


@dataclass(frozen=True, eq=False)
class RegimeTcn(RegimeEncoder):
    """See `RegimeEncoder`."""

    kind: ClassVar[EncoderKind] = "convolution"
    settings: TcnSettings

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `RegimeEncoder.shapes`."""
        width = self.settings.width
        found: dict[str, tuple[int, ...]] = {"embed.weight": (width, self.channels), "embed.bias": (width,)}
        for k in range(self.settings.layers):
            found |= {f"convolutions.{k}.weight": (width, KERNEL * width), f"convolutions.{k}.bias": (width,), f"norms.{k}": (width,)}
        return found | {"head.weight": (self.outputs, width), "head.bias": (self.outputs,)}

    def logits(self, x: Floats) -> Floats:
        """See `RegimeEncoder.logits`."""
        hidden = x @ self.weights["embed.weight"].T + self.weights["embed.bias"]
        n, width = hidden.shape
        for k, dilation in enumerate(self.settings.dilations):
            reach = (KERNEL - 1) * dilation
            back = reach if self.mode == "filtered" else dilation
            padded = np.zeros((n + reach, width), np.float32)
            scale = 1 / np.sqrt(np.einsum("nc,nc->n", hidden, hidden) / np.float32(width) + np.float32(1e-6))
            np.multiply(hidden, scale[:, None], out=padded[back : back + n])
            padded *= self.weights[f"norms.{k}"]
            kernel, bias = np.ascontiguousarray(self.weights[f"convolutions.{k}.weight"].T), self.weights[f"convolutions.{k}.bias"]
            for first in range(0, n, _ROWS):  # in pieces that stay in the cache
                stop = min(n, first + _ROWS)
                inner = np.broadcast_to(bias, (stop - first, width)).copy()
                for i in range(KERNEL):
                    inner += padded[i * dilation + first : i * dilation + stop] @ kernel[i * width : (i + 1) * width]
                with np.errstate(over="ignore"):  # far below 0 the gate is shut: 1 / infinity
                    gate = np.exp(-inner)
                gate += 1
                inner /= gate
                hidden[first:stop] += inner
        return np.asarray(hidden @ self.weights["head.weight"].T + self.weights["head.bias"])
