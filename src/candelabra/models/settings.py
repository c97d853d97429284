"""Settings of the network models (torch-free), and the one size dial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from candelabra.errors import UsageError

__all__ = ["SIZES", "ArmsSettings", "Fusion", "Gpt2Settings", "Size", "receptive_field", "sized"]

Size = Literal["tiny", "small", "base"]
Fusion = Literal["concat", "hierarchical", "cross"]
Anchor = Literal["ewma", "har", "harx"]


@dataclass(frozen=True)
class ArmsSettings:
    """The flagship: a causal encoder per timeframe, joined on the base timeframe.

    ``width, layers, heads``: the base arm; ``coarse_*``: each coarser arm, kept narrow because it sees few distinct bars.
    ``attention_width``: how many bars one layer looks back (the band); after ``layers`` layers the receptive field is layers x
    (width - 1) + 1 bars.
    ``fusion``: how coarse arms reach the base arm. ``arm_dropout``: probability that a whole arm is silenced for a training sequence.
    ``anchor``: the linear model whose volatility forecast the network corrects. Weights of losses beside the quantile loss:
    ``volatility_weight`` of log volatility, ``qlike_weight`` of its variance's QLIKE, ``auxiliary_weight`` of the ranges of many spans to
    come, learned beside the forecast (`windows.auxiliary`), ``regime_weight`` of the regimes, where labels are given.
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    coarse_width: int = 64
    coarse_layers: int = 2
    coarse_heads: int = 2
    attention_width: int = 128
    coarse_attention_width: int = 32
    fusion: Fusion = "cross"
    dropout: float = 0.2
    arm_dropout: float = 0.2
    anchor: Anchor = "harx"
    volatility_weight: float = 1.0
    qlike_weight: float = 0.3
    auxiliary_weight: float = 1.0
    regime_weight: float = 0.3

    def __post_init__(self) -> None:
        for width, heads, name in ((self.width, self.heads, "width"), (self.coarse_width, self.coarse_heads, "coarse_width")):
            if width % heads or (width // heads) % 2:
                raise UsageError(f"model.{name} = {width} cannot be shared by {heads} heads of even size: choose a multiple of {2 * heads}")
        for name in ("layers", "coarse_layers", "attention_width", "coarse_attention_width"):
            if getattr(self, name) < 1:
                raise UsageError(f"model.{name} = {getattr(self, name)}: it must be at least 1")
        for name in ("dropout", "arm_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"model.{name} = {getattr(self, name)}: a probability in [0, 1) is needed")


@dataclass(frozen=True)
class Gpt2Settings:
    """Hugging Face GPT-2 on ``inputs_embeds``: multi-scale inputs at each base bar, quantile and volatility heads.

    ``weights``: "" trains from nothing; a local folder or a hub name loads pretrained blocks (``width, layers, heads`` are then theirs).
    ``context_length``: bars seen by one forecast (absolute positions).
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    context_length: int = 128
    dropout: float = 0.1
    weights: str = ""
    anchor: Anchor = "harx"
    volatility_weight: float = 1.0
    qlike_weight: float = 0.3
    auxiliary_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UsageError(f"model.width = {self.width} cannot be shared by {self.heads} heads: choose a multiple")
        if self.context_length < 2:
            raise UsageError(f"model.context_length = {self.context_length}: at least 2 bars are needed")


SIZES: Final[dict[Size, dict[str, int]]] = {
    "tiny": {"width": 32, "layers": 2, "heads": 2, "coarse_width": 16, "coarse_layers": 1, "coarse_heads": 1, "attention_width": 32,
             "coarse_attention_width": 8},
    "small": {},
    "base": {"width": 256, "layers": 6, "heads": 8, "coarse_width": 96, "coarse_layers": 2, "coarse_heads": 3},
}  # fmt: skip


def sized(settings: ArmsSettings | Gpt2Settings, size: Size) -> ArmsSettings | Gpt2Settings:
    """``settings`` with the dimensions of a size; dimensions already changed from the defaults are kept.

    >>> sized(ArmsSettings(), "tiny").width, sized(ArmsSettings(width=64), "tiny").width
    (32, 64)
    """
    if size not in SIZES:
        raise UsageError(f"size = {size!r}: choose one of {', '.join(SIZES)}")
    default = type(settings)()
    changes = {k: v for k, v in SIZES[size].items() if hasattr(settings, k) and getattr(settings, k) == getattr(default, k)}
    return replace(settings, **changes)  # type: ignore[arg-type]


def receptive_field(layers: int, attention_width: int) -> int:
    """Bars that can move an output of ``layers`` banded attention layers.

    >>> receptive_field(4, 128)
    509
    """
    return layers * (attention_width - 1) + 1
