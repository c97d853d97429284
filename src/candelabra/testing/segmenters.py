"""`example_segmenter`: a segmenter with every source of chances, of untrained networks, for checks of what follows a market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np

from candelabra.candles.regime_markets import RegimeMarket, regime_market
from candelabra.candles.timeframe import timeframe
from candelabra.models.regime_encoder import EncoderSettings, Mode, RegimeEncoder
from candelabra.models.regime_encoders import encoder_of
from candelabra.models.regime_features import SPANS, WINDOWS
from candelabra.models.regime_inputs import candles_at, fit_regime_inputs
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.segmenter import Segmenter, Source, TimeframeReader
from candelabra.models.switching import SwitchingModel, SwitchingSettings, fit_switching
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.segmentation import REGIME_LABELS

__all__ = ["example_regime_market", "example_segmenter"]

READERS: Final[Mapping[str, tuple[Source, DecoderSettings]]] = {
    "1h": ("mean", DecoderSettings("hysteresis", enter=0.3, confirm=2)),
    "4h": ("network", DecoderSettings("markov", power=0.6, enter=0.3)),
    "12h": ("switching", DecoderSettings("duration")),
}
_BARS: Final = 4_000
_TRAIN: Final = 2_400


def example_regime_market(bars: int = _BARS, seed: int = 11) -> RegimeMarket:
    """A simulated hourly market whose regimes are known."""
    return regime_market(bars, seed)


def example_segmenter(
    readers: Mapping[str, tuple[Source, DecoderSettings]] | None = None,
    *,
    mode: Mode = "filtered",
    network: EncoderSettings | None = None,
    networks: int = 2,
    seed: int = 0,
    spans: Sequence[int] = SPANS,
    windows: Sequence[int] = WINDOWS,
) -> Segmenter:
    """A segmenter of `example_regime_market`: switching models learned in a second, networks of random weights.

    ``readers``: source and decoder settings by timeframe; default: a timeframe for each source, and a decoder of each kind.
    """
    chosen = dict(readers or READERS)
    labels, models = REGIME_LABELS, {name: model for name, model in _switching().items() if readers is None or name in readers}
    candles = example_regime_market().candles
    inputs = fit_regime_inputs([candles], [np.arange(300, _TRAIN)], "1h", models, spans=spans, windows=windows)
    heads = dict.fromkeys(chosen, tuple(labels))
    width = len(inputs.centre)
    made = tuple(_network(width, network or TcnSettings(width=16, layers=5), heads, mode, seed + k) for k in range(networks))
    decoders = {name: Decoder(settings, tuple(labels), models[name].durations) for name, (_, settings) in chosen.items()}
    return Segmenter(mode, inputs, made, {name: TimeframeReader(chosen[name][0], one) for name, one in decoders.items()})


@cache
def _switching() -> dict[str, SwitchingModel]:
    """Models of 1h, 4h and 12h bars, learned from the regimes that made the market."""
    market, found = example_regime_market(), {}
    settings = SwitchingSettings(spans=(24,), iterations=8)
    for name in ("1h", "4h", "12h"):
        own = candles_at(market.candles, timeframe(name))
        place = np.searchsorted(market.candles.close_time, own.close_time)
        found[name] = fit_switching([own], [market.regime[place].astype(np.int16)], REGIME_LABELS, settings)
    return found


def _network(channels: int, settings: EncoderSettings, heads: Mapping[str, tuple[str, ...]], mode: Mode, seed: int) -> RegimeEncoder:
    random = np.random.default_rng(seed)
    shapes = encoder_of(settings, mode, heads, {"embed.weight": np.empty((0, channels), np.float32)}).shapes()
    weights = {
        name: np.ones(shape, np.float32) if "norm" in name else random.normal(0, 1.5 / np.sqrt(shape[-1]), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    return encoder_of(settings, mode, heads, weights)
