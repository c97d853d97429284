"""`RegimeEncoder`: what every network of regimes is, whatever it computes: inputs of base bars in, logits of all heads out; no torch.

A network is dense (an answer at every base bar), has an exact receptive field and one mode. Its columns: the labels of each timeframe's
head side by side, then each timeframe's boundary. Kinds are listed in `regime_encoders`; the torch side is `training.regime_network`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["EncoderKind", "EncoderSettings", "Mode", "RegimeEncoder", "split_logits"]

EncoderKind = Literal["convolution", "transformer"]
Mode = Literal["filtered", "smoothed"]
"""``filtered``: a bar's answer reads the past alone; ``smoothed``: both sides. Two sets of weights that never share a file."""
Floats = NDArray[np.float32]


class EncoderSettings(Protocol):
    """What training and bundles ask of the settings of any kind, which are a frozen dataclass."""

    @property
    def kind(self) -> EncoderKind:
        """Which network they are of."""
        ...

    @property
    def boundary_weight(self) -> float:
        """Of the boundaries' loss beside the labels'."""
        ...

    @property
    def smooth_weight(self) -> float:
        """Of the change of log probabilities between neighbouring bars (MS-TCN)."""
        ...

    @property
    def receptive_field(self) -> int:
        """Bars back to the oldest that moves an answer, itself included."""
        ...


@dataclass(frozen=True, eq=False)
class RegimeEncoder(ABC):
    """Trained weights: ``weights`` by the names of the network's parameters; ``heads``: labels of each timeframe, in the heads' order."""

    kind: ClassVar[EncoderKind]
    settings: Any  # an EncoderSettings; each kind says which
    mode: Mode
    heads: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, Floats]

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights that settings, mode, heads and `channels` ask for."""

    @abstractmethod
    def logits(self, x: Floats) -> Floats:
        """From inputs ``(n, C)`` to logits ``(n, labels of all timeframes + timeframes)``: the labels', then each timeframe's boundary."""

    @property
    def channels(self) -> int:
        """Numbers it reads of each bar."""
        return int(self.weights["embed.weight"].shape[1])

    @property
    def receptive_field(self) -> int:
        """Bars back to the oldest that moves an answer, itself included."""
        field: int = self.settings.receptive_field
        return field

    @property
    def outputs(self) -> int:
        """Logits it has for each bar."""
        return sum(map(len, self.heads.values())) + len(self.heads)

    def probabilities(self, x: Floats) -> dict[str, NDArray[np.float64]]:
        """Chances ``(n, K)`` by timeframe name."""
        return split_logits(self.logits(x), self.heads)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the weights."""
        heads = {tf: list(names) for tf, names in self.heads.items()}
        return {"kind": self.kind, "settings": asdict(self.settings), "mode": self.mode, "heads": heads}


def split_logits(logits: Floats, heads: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.float64]]:
    """Chances ``(n, K)`` by timeframe name from logits side by side (see `RegimeEncoder.logits`)."""
    ends = np.cumsum([len(labels) for labels in heads.values()])
    return {name: _softmax(logits[:, end - len(labels) : end]) for (name, labels), end in zip(heads.items(), ends, strict=True)}


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Rows that sum to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
