"""Which regime networks there are: read from a bundle by kind, and followed candle by candle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import BundleError, CandelabraError
from candelabra.models.regime_encoder import EncoderKind, EncoderSettings, Mode, RegimeEncoder
from candelabra.models.regime_tcn import RegimeTcn, TcnSettings
from candelabra.models.regime_transformer import RegimeTransformer, RegimeTransformerSettings
from candelabra.models.regime_transformer_stream import TransformerStream
from candelabra.models.ring_stream import RingStream
from candelabra.models.tcn_stream import TcnStream

__all__ = ["encoder_from_dict", "encoder_of", "encoder_stream"]


@dataclass(frozen=True)
class _Kind:
    settings: Callable[..., Any]
    network: type[RegimeEncoder]
    stream: Callable[[Any], RingStream]


_KINDS: Final[Mapping[EncoderKind, _Kind]] = {
    "convolution": _Kind(TcnSettings, RegimeTcn, TcnStream),
    "transformer": _Kind(RegimeTransformerSettings, RegimeTransformer, TransformerStream),
}


def encoder_of(
    settings: EncoderSettings, mode: Mode, heads: Mapping[str, tuple[str, ...]], weights: Mapping[str, NDArray[np.float32]]
) -> RegimeEncoder:
    """The network of the kind that the settings are of."""
    return _KINDS[settings.kind].network(settings, mode, heads, weights)


def encoder_stream(network: RegimeEncoder) -> RingStream:
    """The network between two bars; UsageError for one that reads later bars."""
    return _KINDS[network.kind].stream(network)


def encoder_from_dict(content: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]]) -> RegimeEncoder:
    """What `RegimeEncoder.to_dict` wrote, with its weights; BundleError when they do not fit.

    Without a kind, as bundles were written when there was one, it is a convolution.
    """
    kind = content.get("kind", "convolution")
    if kind not in _KINDS:
        raise BundleError(f"this bundle has a regime network of kind {kind!r}, this version knows {', '.join(_KINDS)}: update candelabra")
    try:
        heads = {tf: tuple(names) for tf, names in content["heads"].items()}
        made = encoder_of(_KINDS[kind].settings(**content["settings"]), content["mode"], heads, dict(weights))
        if made.mode not in get_args(Mode):
            raise ValueError(f"mode {made.mode!r}")
        found, wanted = {name: one.shape for name, one in made.weights.items()}, made.shapes()
        if found != wanted:
            wrong = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            raise ValueError(f"weights {', '.join(wrong[:3])} are not what its settings ask for")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, CandelabraError) as error:
        raise BundleError(f"this is not a regime network ({error!r}): the bundle is damaged, seal it again") from error
    return made
